"""Result files: rows, and a header that says what they were measured with; JSON and CSV of the same name."""

from __future__ import annotations

import csv
import importlib.metadata
import io
import json
import platform
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..runtime import cores
from ..runtime.errors import PscrError, Status, one_line
from ..runtime.scorer import Scorer

Row = dict[str, Any]
PACKAGES = (
    "pscr",
    "numpy",
    "opencv-python-headless",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "torch",
    "tensorrt",
)
HIDDEN = "samples_ms"  # a list: in the JSON only
BUSY = 0.1  # of the processor's time spent on other programs, above which a measurement is not to be believed


@dataclass(frozen=True)
class Record:
    """One measurement.

    instrument: what measured. command: what repeats it. keys: the columns that say what a row is about.
    facts: figures that belong to the whole measurement and not to a row.
    """

    instrument: str
    command: str
    environment: dict[str, Any]
    keys: Sequence[str]
    rows: Sequence[Row]
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The files' name: instrument, model, precision, library, threads and processor."""
        where = self.environment
        model = where.get("model", {})
        parts = [self.instrument, model.get("name"), model.get("precision"), model.get("library"), model.get("device")]
        parts += [f"{where['threads']}threads", where["processor"]]
        return "-".join(re.sub(r"[^a-z0-9.]+", "_", str(part).lower()).strip("_") for part in parts if part)

    def save(self, folder: Path) -> Path:
        """Write NAME.json and NAME.csv into `folder`, which is made; returns the JSON's path."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}.json"
        path.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n", "utf-8")
        path.with_name(f"{self.name}.csv").write_text(self.as_csv(), "utf-8")
        return path

    def as_csv(self) -> str:
        """The environment as comment lines, then a header and the rows."""
        text = io.StringIO()
        for key, value in (("command", self.command), *self.environment.items(), *self.facts.items()):
            text.write(f"# {key}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}\n")
        columns = [key for key in self.rows[0] if key != HIDDEN]
        writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        return text.getvalue()

    @classmethod
    def read(cls, path: Path) -> Record:
        """Read a JSON file that `save` wrote.

        Raises:
            PscrError: FILE_NOT_FOUND; INVALID_ARGUMENT for another file.
        """
        try:
            record = cls(**json.loads(path.read_text("utf-8")))
        except OSError as error:
            raise PscrError(Status.FILE_NOT_FOUND, f"{path}: cannot be read ({error.strerror})") from error
        except (ValueError, TypeError) as error:
            found = f"{path}: not a result file ({one_line(error)}); expected the JSON of a benchmark"
            raise PscrError(Status.INVALID_ARGUMENT, found) from error
        if not record.rows:
            raise PscrError(Status.INVALID_ARGUMENT, f"{path}: has no rows; run the benchmark again")
        return record


def environment(threads: int, scorer: Scorer | None = None) -> dict[str, Any]:
    """What a result depends on, without the machine's name or paths.

    busy: the part of the processor's time that other programs took in half a second before the measurement (1 where
    the system does not say); idle is False where that was above a tenth, and the figures are then not to be published.
    """
    usable = cores.usable()
    busy = others()
    found: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "processor": cores.processor(),
        "cores": usable,
        "threads": threads,
        "busy": busy,
        "idle": busy <= BUSY,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": packages(),
    }
    if scorer is not None:
        info, manifest = scorer.info, scorer.manifest
        found["model"] = {
            **{key: info[key] for key in ("version", "backbone", "precision", "sampling", "bank", "library")},
            **{"name": manifest.name, "device": info["device"], "provider": info["provider"]},
            "sha256": manifest.files["model.onnx"].sha256,
        }
    return found


def others(seconds: float = 0.5) -> float:
    """The part of the processor's time, 0 to 1, that others take while this process sleeps; 1 where it is not known.

    Not the load average, in which the benchmark that ran a moment ago still counts.
    """
    stat = Path("/proc/stat")
    if not stat.exists():
        return 1.0
    marks = []
    for pause in (seconds, 0.0):
        ticks = [int(word) for word in stat.read_text(encoding="utf-8").splitlines()[0].split()[1:]]
        marks.append((ticks[3] + ticks[4], sum(ticks[:8])))  # idle and iowait; guest time is part of user time
        time.sleep(pause)
    idle, total = (after - before for before, after in zip(*marks, strict=True))
    return round(1 - idle / total, 3) if total > 0 else 1.0


def packages(names: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Versions of those of the distributions `names` that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def command(program: str, words: Sequence[str] | None = None) -> str:
    """What was typed, with the last part only of absolute paths: a result file names nobody's folders."""
    given = sys.argv[1:] if words is None else words
    return " ".join([program, *(re.sub(r"(^|[:=])/\S*/([^/]+)/?$", r"\1\2", word) for word in given)])


def table(rows: Sequence[Row]) -> str:
    """Rows of the same keys, aligned, as Markdown; lists of samples are left out."""
    keys = [key for key in rows[0] if key != HIDDEN]
    cells = [keys, ["-"] * len(keys), *([str(row[key]) for key in keys] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(keys))]
    lines = (
        "| " + " | ".join(c.ljust(w, "-" if c == "-" else " ") for c, w in zip(r, widths, strict=True)) + " |"
        for r in cells
    )
    return "\n".join(lines)
