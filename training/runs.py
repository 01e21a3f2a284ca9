"""Training runs from their configuration: one, or several that differ in their seed, each with its reports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from ..runtime.errors import PscrError, Status
from . import checkpoint, processes
from .config import Config
from .databases import Database
from .interrupts import Stopped
from .mixture import divide, drawn
from .processes import Processes
from .repeats import write as summarise
from .run_folder import RunFolder
from .run_report import Reporter, RunDescription
from .trainer import Trainer

Say = Callable[[str], None]


def train(
    config: Config, output: Path, *, repeats: int = 1, cache: Path | None = None, say: Say = lambda line: None
) -> None:
    """Train to the end, from where the run stands, and write the run folder.

    output: the run folder; with `repeats` above 1 it has one for each seed, from the configuration's on.
    cache: where frozen layers are cached, None for the run folder. say: is given each line for people.

    Raises:
        PscrError: data, options, weights or a device that cannot be used. Stopped: see `Trainer.fit`.
        OSError: a full disk; what was saved before is whole.
    """
    if repeats < 1 or (config.protocol == "published" and config.split_by != "image"):
        raise PscrError(
            Status.INVALID_ARGUMENT, "expected --repeats of 1 or more, and --split-by image in the published protocol"
        )
    team = processes.start(config.device)
    database = config.load_database()
    for note in database.notes:
        say(note)
    whole = RunFolder(output)
    if repeats == 1:
        train_one(config, database, whole, cache, team, say)
        return
    seeds = range(config.seed, config.seed + repeats)
    for seed in seeds:
        one = replace(config, seed=seed, shuffle=config.shuffle + seed - config.seed)
        train_one(one, database, whole.of_seed(seed), cache or whole.cache, team, say)
    if team.first:
        summarise(whole, [whole.of_seed(seed) for seed in seeds])
        say(whole.summary())


def train_one(
    config: Config, database: Database, run: RunFolder, cache: Path | None, team: Processes, say: Say
) -> None:
    """Train one run to its end, from where it stands, and write its reports. Arguments and errors as `train`."""
    if run.last.is_file():  # before anything in the folder is overwritten
        config.check_same(Config.of(checkpoint.read(run.last)[1]["config"]), run.last)
    parts: dict[str, list[int]] = team.broadcast(divide(config, database) if team.first else {})
    others = [(other, drawn(config, other)["train"]) for other in config.load_others()]
    scored = parts.get(config.selection_part, [])
    trainer = Trainer(config, database, parts["train"], scored, run, cache, team, others)
    reporter = None
    if team.first:
        run.write_split({part: [database.items[i].name for i in chosen] for part, chosen in parts.items()})
        reporter = Reporter(RunDescription(run, config, database, parts, _device(config, team)))
        run.write_config(config, database)
    for other, some in others:
        say(f"{len(some)} images of {other.name} train along")
    counts = ", ".join(f"{len(chosen)} images {part}" for part, chosen in parts.items())
    say(f"{counts} (seed {config.seed}, {config.protocol})")
    try:
        for row in trainer.fit():
            say(", ".join(f"{key} {value:.4g}" for key, value in row.items()))
            if reporter:
                reporter.epoch(trainer.rows)
    except Stopped:
        if reporter:
            reporter.write(trainer.rows)
        raise
    _finish(trainer, reporter, parts.get("test", []) if config.protocol == "held-out" else [])


def _finish(trainer: Trainer, reporter: Reporter | None, test: list[int]) -> None:
    """Score the test part with the selected weights, once for the run, and write the last reports."""
    if trainer.processes.broadcast(trainer.run.finished):
        return
    scores = trainer.test(test) if len(test) > 1 else None
    if reporter:
        reporter.write(trainer.rows, scores, finished=True)


def _device(config: Config, team: Processes) -> str:
    name = torch.cuda.get_device_name(team.device) if team.device.type == "cuda" else f"cpu, {config.threads} threads"
    return name if team.count == 1 else f"{team.count} processes on {name}"
