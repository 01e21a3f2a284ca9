"""The folder of a training run: which files it has, and how each is written and read."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..runtime import output_file
from ..runtime.errors import PscrError, Status
from .config import Config
from .databases import Database


class RunFolder:
    """RUN of `pscr train`. Every file in it is whole or not there, also after a power cut or on a full disk.

    last, selected: the checkpoints to go on from and of the selected epoch, see checkpoint.py. cache: frozen layers,
    where no other folder is named for them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.last = path / "last.safetensors"
        self.selected = path / "best.safetensors"
        self.cache = path / "cache"

    def config(self) -> Config:
        """What the run was trained with.

        Raises:
            PscrError: FILE_NOT_FOUND or MODEL_INVALID.
        """
        file = self.path / "config.json"
        entries = self.options()
        try:
            if "label_column" not in entries:  # runs from before labels could be chosen: there it was the column
                entries.pop("label", None)
            return Config.of(entries)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PscrError(Status.MODEL_INVALID, f"{file}: not a configuration of pscr train ({error!r})") from error
        except PscrError as error:
            raise PscrError(error.status, f"{file}: {error}") from error

    @property
    def has_options(self) -> bool:
        """Whether there is a config.json."""
        return (self.path / "config.json").is_file()

    def options(self) -> dict[str, Any]:
        """The entries of config.json, of whatever method.

        Raises:
            PscrError: FILE_NOT_FOUND or MODEL_INVALID.
        """
        file = self.path / "config.json"
        if not self.has_options:
            raise PscrError(Status.FILE_NOT_FOUND, f"{self.path}: not a run of pscr train (it has no config.json)")
        try:
            return dict(json.loads(file.read_text()))
        except (ValueError, TypeError) as error:
            raise PscrError(Status.MODEL_INVALID, f"{file}: not a configuration of pscr train ({error!r})") from error

    def write_options(self, options: Mapping[str, Any]) -> None:
        """Write config.json."""
        self._write_json("config.json", options)

    def write_config(self, config: Config, database: Database) -> None:
        """Write config.json: the options, and what the database that they name is."""
        named = {"database": database.name, "scale": database.scale, "label_column": database.label}
        self.write_options({**asdict(config), **named})

    def split(self) -> dict[str, list[str]]:
        """The names of the images of each part, "train" among them.

        Raises:
            PscrError: MODEL_INVALID.
        """
        file = self.path / "split.json"
        try:
            parts = json.loads(file.read_text())
            return {"train": list(parts["train"]), **{part: list(names) for part, names in parts.items()}}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise PscrError(Status.MODEL_INVALID, f"{file}: not a split of pscr train ({error!r})") from error

    def write_split(self, parts: Mapping[str, Sequence[str]]) -> None:
        """Write split.json; see `split`."""
        self._write_json("split.json", dict(parts))

    def results(self) -> dict[str, Any]:
        """The figures of results.json; empty where there are none yet."""
        file = self.path / "results.json"
        return dict(json.loads(file.read_text())) if file.is_file() else {}

    @property
    def finished(self) -> bool:
        """Whether the run is at its end and its last reports are written."""
        return bool(self.results().get("finished"))

    def write_results(self, results: Mapping[str, Any], summary: str) -> None:
        """Write summary.md, and results.json after it."""
        self._write("summary.md", summary.encode())
        self._write_json("results.json", results)

    def summary(self) -> str:
        """The text of summary.md."""
        return (self.path / "summary.md").read_text()

    def write_metrics(self, header: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
        """Write metrics.csv: a row for each epoch, or of a self-supervised run for each step."""
        self._write("metrics.csv", _csv(header, rows))

    def write_predictions(self, rows: Iterable[tuple[str, str, str, str]]) -> None:
        """Write predictions.csv: name, part, opinion and score of each image that was scored."""
        self._write("predictions.csv", _csv(("name", "part", "opinion", "score"), rows))

    def draw_scatter(self, draw: Callable[[Path], None]) -> None:
        """Let `draw` write scatter.png."""
        self._draw("scatter.png", draw)

    def draw_curves(self, draw: Callable[[Path], None]) -> None:
        """Let `draw` write curves.png."""
        self._draw("curves.png", draw)

    def of_seed(self, seed: int) -> RunFolder:
        """Where one of several runs lies, which differ in their seed."""
        return RunFolder(self.path / f"seed-{seed}")

    def _write_json(self, name: str, entries: Mapping[str, Any]) -> None:
        self._write(name, json.dumps(entries, indent=1).encode())

    def _write(self, name: str, data: bytes) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        output_file.write(self.path / name, data)

    def _draw(self, name: str, draw: Callable[[Path], None]) -> None:
        """Let `draw` write a file beside the old one, then put it in its place."""
        temporary = self.path / f".{name}"
        try:
            draw(temporary)
            temporary.replace(self.path / name)
        finally:
            temporary.unlink(missing_ok=True)


def _csv(header: Iterable[str], rows: Iterable[Iterable[Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()
