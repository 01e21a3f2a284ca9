"""Which images train, which select, which test."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ..runtime.errors import PscrError, Status
from ..runtime.image import load
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
    if by not in BY or not 0 <= fraction < 1:
        raise PscrError(Status.INVALID_ARGUMENT, f"cannot split by {by!r} at {fraction}; expected {BY} and 0 to 1")
    clusters = _clusters([[item.group] if by == "prompt" else [] for item in items], pixel_hashes(items))
    order = np.random.default_rng(seed).permutation(len(clusters))
    smaller: list[int] = []
    for index in order:
        if len(smaller) >= round(fraction * len(items)):
            break
        smaller += clusters[index]
    taken = set(smaller)
    return [i for i in range(len(items)) if i not in taken], sorted(smaller)


def pixel_hashes(items: Sequence[Item]) -> list[str]:
    """A hash of each image's decoded pixels and size: equal for identical images in different files."""

    def digest(item: Item) -> str:
        pixels = load(item.path)
        return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()

    with ThreadPoolExecutor() as pool:
        return list(pool.map(digest, items))


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
