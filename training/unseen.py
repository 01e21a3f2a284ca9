"""Which images of a database count for a model, and what must be said of those that do."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ..runtime.errors import PscrError, Status
from ..runtime.families.pscr import exemplars
from ..runtime.manifest import Manifest
from ..runtime.scorer import Scorer
from . import splits
from .databases import Database
from .label_files import Item


def chosen(database: Database, split: str) -> list[Item]:
    """The images that `split` names, in the database's order: "all", "FILE:PART" of a split.json, or
    "image:FRACTION:SEED" for the part that `pscr train --split-by image --val FRACTION --seed SEED` holds out.

    Raises:
        PscrError: FILE_NOT_FOUND or INVALID_ARGUMENT: no such file or part, or one of another database.
    """
    if split == "all":
        return list(database.items)
    made = re.fullmatch(r"(image|prompt):(0\.\d+):(\d+)", split)
    if made:
        held_out = splits.split(database.items, made[1], float(made[2]), int(made[3]))[1]
        return [database.items[place] for place in held_out]
    file, _, part = split.rpartition(":")
    if not file:
        raise PscrError(Status.INVALID_ARGUMENT, f"split {split!r} is not known; expected all or RUN/split.json:val")
    return [database.items[index] for index in splits.read(Path(file), database.items, part)[part]]


def without(items: Sequence[Item], exemplars: Sequence[str]) -> list[Item]:
    """The images that are no exemplars: none whose path ends in an exemplar's name, folders included where it has any.

    A bank keeps names as its database's label file had them, so only the end of a path can be compared.
    """
    ends = {Path(name).parts for name in exemplars}
    lengths = sorted({len(end) for end in ends})
    return [item for item in items if not any(item.path.parts[-length:] in ends for length in lengths)]


def unseen(scorer: Scorer, items: Sequence[Item]) -> None:
    """See that none of the images is an exemplar of the model, as it would be had it trained.

    Raises:
        PscrError: INVALID_ARGUMENT naming the first that is.
    """
    kept = set(without(items, exemplars(scorer.head)))
    seen = [item.name for item in items if item not in kept]
    if seen:
        raise PscrError(
            Status.INVALID_ARGUMENT,
            f"{scorer.manifest.name} has {len(seen)} of the {len(items)} held-out images in its bank ({seen[0]} is the "
            "first); give a model that was trained without them",
        )


def warnings(manifest: Manifest, database: Database, split: str, left_out: int, own_bank: bool = True) -> list[str]:
    """What a reader of the figures must know of how they came about, in whole sentences.

    left_out: images that are exemplars. own_bank: whether the scores are those of the model's own bank.
    """
    found = []
    if left_out:
        found.append(f"{left_out} images are left out: the model's bank has exemplars of the same name")
    if split == "all" and (left_out or manifest.training.get("database") == database.name):
        found.append(
            f"{manifest.name} was trained on images of {manifest.training.get('database')}, and figures on images that "
            "trained it flatter it; choose others with --split RUN/split.json:val"
        )
    if own_bank and manifest.score.database == database.name and database.meaning not in manifest.score.meaning:
        found.append(f"the model predicts the {manifest.score.meaning}, these labels are the {database.meaning}")
    return found


def same_scale(scorer: Scorer, database: Database, own_bank: bool) -> bool:
    """Whether scores and labels are numbers of one scale, so that their difference is an error.

    Of a csv: file and of a bank only the labels that are there are known: one of the two ranges must lie nearly whole
    in the other, and fill a good part of it.
    """
    (low, high), (lowest, highest) = scorer.scale.range, database.scale
    if own_bank and database.declared:
        return (low, high) == (lowest, highest)
    common = min(high, highest) - max(low, lowest)
    shares = sorted(common / width for width in (high - low, highest - lowest) if width > 0)
    return len(shares) == 2 and shares[0] >= 1 / 3 and shares[1] >= 0.9
