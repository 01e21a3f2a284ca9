"""`pscr train`: train a model on a database and leave a run folder.

Several GPUs or machines: `accelerate launch -m pscr.training.train ...`.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path

import torch

from ..runtime.errors import PscrError, Status, one_line
from . import checkpoint, processes, repeats
from .config import Config, check_resumable
from .databases import Database
from .memory import keep_freed
from .mixture import divide, drawn
from .options import parse
from .processes import Processes
from .report import Reporter, Story
from .trainer import Stopped, Trainer

UNUSABLE = (Status.MODEL_INVALID, Status.DEVICE_UNAVAILABLE)
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # a full disk, or a limit that stands for one


def main(argv: Sequence[str] | None = None) -> int:
    """Run `pscr train`. Returns the exit code: 0, 1 for data that cannot be used or a disk that is full, 3 for weights
    or a device that cannot be used, 130 after Ctrl-C.
    """
    arguments = parse(argv)
    keep_freed()
    try:
        return _train(arguments)
    except PscrError as error:
        _say(f"pscr train: error: {error}")
        return 3 if error.status in UNUSABLE else 1
    except Stopped:
        _say("pscr train: stopped and saved; the same command goes on from here")
        return 130
    except KeyboardInterrupt:
        _say("pscr train: stopped; the same command goes on from the last finished epoch")
        return 130
    except OSError as error:
        _say(
            f"pscr train: error: cannot write {error.filename or 'the run'} ({error.strerror or one_line(error)}); "
            f"what was saved before is whole: {'make room' if error.errno in FULL else 'mend that'}, and the same "
            "command goes on from the last finished epoch"
        )
        return 1


def _train(arguments: Namespace) -> int:
    config = Config(**{field.name: getattr(arguments, field.name) for field in fields(Config)})
    if arguments.repeats < 1 or (config.protocol == "published" and config.split_by != "image"):
        raise PscrError(
            Status.INVALID_ARGUMENT, "expected --repeats of 1 or more, and --split-by image in the published protocol"
        )
    team = processes.start(config.device)
    database = config.load_database()
    for note in database.notes:
        _say(note)
    run: Path = arguments.output
    if arguments.repeats == 1:
        train_one(config, database, run, arguments.cache, team)
        return 0
    seeds = range(config.seed, config.seed + arguments.repeats)
    folders = [run / f"seed-{seed}" for seed in seeds]
    for seed, folder in zip(seeds, folders, strict=True):
        one = replace(config, seed=seed, shuffle=config.shuffle + seed - config.seed)
        train_one(one, database, folder, arguments.cache or run / "cache", team)
    if team.first:
        repeats.write(run, folders)
        _say((run / "summary.md").read_text())
    return 0


def train_one(config: Config, database: Database, run: Path, cache: Path | None, team: Processes) -> None:
    """Train one run to its end, from where it stands, and write its reports.

    Raises:
        PscrError: data, options or weights that cannot be used. Stopped: see `Trainer.fit`. OSError: a full disk.
    """
    check_resumable(config, run)
    parts: dict[str, list[int]] = team.told(divide(config, database) if team.first else {})
    others = [(other, drawn(config, other)["train"]) for other in config.load_others()]
    description = {**asdict(config), "database": database.name, "scale": database.scale}
    description["label_column"] = database.label
    trainer = Trainer(config, database, parts["train"], parts.get(config.judged, []), run, cache, team, others)
    if team.first:
        run.mkdir(parents=True, exist_ok=True)
        names = {part: [database.items[i].name for i in chosen] for part, chosen in parts.items()}
        checkpoint.write_atomically(run / "split.json", json.dumps(names, indent=1).encode())
    reporter = Reporter(Story(run, config, database, parts, _device(config, team))) if team.first else None
    if team.first:
        checkpoint.write_atomically(run / "config.json", json.dumps(description, indent=1).encode())
    for other, some in others:
        _say(f"{len(some)} images of {other.name} train along")
    counts = ", ".join(f"{len(chosen)} images {part}" for part, chosen in parts.items())
    _say(f"{counts} (seed {config.seed}, {config.protocol})")
    try:
        for row in trainer.fit():
            _say(", ".join(f"{key} {value:.4g}" for key, value in row.items()))
            if reporter:
                reporter.epoch(trainer.rows)
    except Stopped:
        if reporter:
            reporter.write(trainer.rows)
        raise
    _finish(trainer, reporter, parts.get("test", []) if config.protocol == "held-out" else [])


def _finish(trainer: Trainer, reporter: Reporter | None, test: list[int]) -> None:
    """Score the test part with the selected weights, once for the run, and write the last reports."""
    done = trainer.run / "results.json"
    if trainer.processes.told(done.is_file() and bool(json.loads(done.read_text()).get("finished"))):
        return
    scores = trainer.test(test) if len(test) > 1 else None
    if reporter:
        reporter.write(trainer.rows, scores, finished=True)


def _device(config: Config, team: Processes) -> str:
    name = torch.cuda.get_device_name(team.device) if team.device.type == "cuda" else f"cpu, {config.threads} threads"
    return name if team.count == 1 else f"{team.count} processes on {name}"


def _say(line: str) -> None:
    """Write a line, in the first process only; also before the processes have met."""
    if os.environ.get("RANK", "0") == "0":
        sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
