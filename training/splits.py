"""Which images train, which select, which test."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..runtime.errors import PscrError, Status, one_line
from ..runtime.image import load
from ..runtime.ordered import results
from .databases import Item

BY = ("image", "prompt")


def split(items: Sequence[Item], by: str, fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """Divide a database into a larger and a smaller part.

    by: "image": single images are drawn; "prompt": all images of a prompt go together.
    fraction: the share of images in the smaller part, 0 <= fraction < 1; reached or just passed.
    Images with identical pixels always stand on the same side, whichever way the split is made.

    Returns the indices of the larger and of the smaller part, each ascending.
    Raises:
        PscrError: INVALID_ARGUMENT for another `by` or fraction; decoding errors of the images.
    """
    rest, smaller = draw(items, by, (fraction,), seed)
    return rest, smaller


def draw(items: Sequence[Item], by: str, fractions: Sequence[float], seed: int) -> list[list[int]]:
    """Divide a database into parts: first what is left over, then one for each of `fractions`, as `split` does.

    The first fraction's part does not depend on the others.
    """
    if by not in BY or not all(0 <= fraction < 1 for fraction in fractions) or sum(fractions) >= 1:
        shares = " and ".join(map(str, fractions))
        raise PscrError(Status.INVALID_ARGUMENT, f"cannot split by {by!r} at {shares}; expected {BY} and 0 to 1")
    clusters = _clusters([[item.group] if by == "prompt" else [] for item in items], pixel_hashes(items))
    order = np.random.default_rng(seed).permutation(len(clusters))
    parts: list[list[int]] = [[] for _ in fractions]
    wanted = [round(fraction * len(items)) for fraction in fractions]
    for index in order:
        short = (part for part, size in zip(parts, wanted, strict=True) if len(part) < size)
        part = next(short, None)
        if part is None:
            break
        part += clusters[index]
    taken = {index for part in parts for index in part}
    return [[i for i in range(len(items)) if i not in taken], *(sorted(part) for part in parts)]


def published(items: Sequence[Item], seed: int = 1) -> tuple[list[int], list[int]]:
    """The published 80/20 split: the list of images is shuffled after `numpy.random.seed(seed)`; the first 80 % train.

    The paper's own split is that of seed 1 and the whole database in the order of its label file. Identical images
    may stand on both sides of it.

    Returns the indices of the training and of the test images, each ascending.
    """
    order = list(range(len(items)))
    np.random.RandomState(seed).shuffle(order)  # what numpy.random.shuffle does after numpy.random.seed
    count = int(0.8 * len(order))
    return sorted(order[:count]), sorted(order[count:])


def read(file: Path, items: Sequence[Item], only: str | None = None) -> dict[str, list[int]]:
    """Read a split.json, as `pscr train` writes it: {"train": [names], "val": [names], "test": [names]}.

    only: the one part that is wanted; the others are then not looked at.

    Returns the indices of the images of each part, ascending.
    Raises:
        PscrError: FILE_NOT_FOUND; INVALID_ARGUMENT: not such a file, without that part, with an image that the database
            does not have, or one in two parts.
    """
    try:
        entries = json.loads(file.read_text("utf-8"))
        parts = {str(part): [str(name) for name in names] for part, names in entries.items()}
    except OSError as error:
        raise PscrError(Status.FILE_NOT_FOUND, f"{file}: cannot be read ({error.strerror})") from error
    except (ValueError, TypeError, AttributeError) as error:
        found = f"{file}: not a split ({one_line(error)}); expected a split.json that pscr train wrote"
        raise PscrError(Status.INVALID_ARGUMENT, found) from error
    if only is not None:
        if only not in parts:
            found = f"{file}: has no part {only!r}; it has {', '.join(parts) or 'none'}"
            raise PscrError(Status.INVALID_ARGUMENT, found)
        parts = {only: parts[only]}
    places = {item.name: index for index, item in enumerate(items)}
    owner: dict[str, str] = {}
    for part, names in parts.items():
        unknown = sorted(set(names) - set(places))
        if unknown:
            found = (
                f"{file}: {len(unknown)} of its {len(names)} {part} images are not in the database, first {unknown[0]}"
            )
            raise PscrError(Status.INVALID_ARGUMENT, f"{found}; is it the split of another database?")
        for name in names:
            if owner.setdefault(name, part) != part:
                found = f"{file}: {name} is in {owner[name]!r} and in {part!r}; expected every image in one part"
                raise PscrError(Status.INVALID_ARGUMENT, found)
    return {part: sorted({places[name] for name in names}) for part, names in parts.items()}


def pixel_hashes(items: Sequence[Item]) -> list[str]:
    """A hash of each image's decoded pixels and size: equal for identical images in different files."""

    def digest(item: Item) -> str:
        pixels = load(item.path)
        return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()

    return list(results(digest, items, workers=os.cpu_count() or 1, ahead=64))


def _clusters(keys: Sequence[Sequence[str]], hashes: Sequence[str]) -> list[list[int]]:
    """Indices joined wherever two share a key or a hash, in order of their first member (union-find)."""
    parent = list(range(len(keys)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first: dict[tuple[str, str], int] = {}
    for index, (own, pixel_hash) in enumerate(zip(keys, hashes, strict=True)):
        for key in [*(("group", k) for k in own), ("pixels", pixel_hash)]:
            a, b = root(first.setdefault(key, index)), root(index)
            parent[max(a, b)] = min(a, b)
    clusters: dict[int, list[int]] = {}
    for index in range(len(keys)):
        clusters.setdefault(root(index), []).append(index)
    return list(clusters.values())
