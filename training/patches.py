"""What a training step is fed: patches of images, as pixels or as cached activations of frozen layers."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..runtime.image import load
from ..runtime.sampling import Pixels
from .databases import Item
from .model import PSCR
from .progress import progress

Choice = NDArray[np.int64]
Indices = Sequence[int] | NDArray[np.int64]


class PatchSource(Protocol):
    """Pooled features of chosen patches of chosen images.

    The variants of an image are the P patches that its sampling cuts followed by the same P mirrored, so a choice is
    in 0..2P-1.
    """

    def pooled(self, model: PSCR, images: Indices, choices: Choice) -> Tensor:
        """images: n indices; choices: [n, p] variants.

        Returns [n, C] float32 on the model's device, averaged over the p patches, with gradients.
        """
        ...

    def draw(self, rng: np.random.Generator, images: int, per_image: int) -> Choice:
        """Random choices for a training step: `per_image` different patches for each image, all mirrored or none."""
        ...


def every_patch(images: int, patches: int, mirrored: bool = False) -> Choice:
    """All grid patches of each image: [images, patches]."""
    return np.tile(np.arange(patches) + (patches if mirrored else 0), (images, 1))


def draw_from_grid(rng: np.random.Generator, patches: int, images: int, per_image: int) -> Choice:
    """Variants [images, per_image]: different patches of a grid of `patches`, of each image all mirrored or none."""
    drawn = np.stack([rng.permutation(patches)[:per_image] for _ in range(images)])
    mirrored: Choice = drawn + patches * rng.integers(0, 2, (images, 1))
    return mirrored


class CropSource:
    """Decodes and cuts when asked; nothing is kept.

    grid: draw from the grid of this many patches; 0 to draw from anywhere in the image. A choice is then
    [top, left, mirrored], the corner as a fraction of the room to move in 1/65536, 0 to 65535.
    """

    def __init__(self, items: Sequence[Item], blocks: int, threads: int, grid: int = 0) -> None:
        self.items = items
        self.grid = grid
        self.blocks = blocks
        self.pool = ThreadPoolExecutor(threads)

    def pooled(self, model: PSCR, images: Indices, choices: Choice) -> Tensor:
        """See PatchSource; choices are [n, p, 3] corners, or [n, p] variants of the grid."""

        def cut(image: int, chosen: NDArray[np.int64]) -> Pixels:
            if chosen.ndim == 1:
                return variants(model, self.items[image])[chosen]
            return crops(model.sampling.frame(load(self.items[image].path)), model.sampling.patch, chosen)

        pixels = torch.from_numpy(np.stack(list(self.pool.map(cut, images, choices))))
        with torch.no_grad():
            pixels = pixels.to(model.mean.device, non_blocking=True)
            x = model.normalise(pixels.flatten(0, 1)).contiguous(memory_format=torch.channels_last)
            if self.blocks:
                x = model.backbone.stem(x, self.blocks)
        features = model.backbone.trunk(x, self.blocks) if self.blocks else model.backbone(x)
        return features.float().reshape(*choices.shape[:2], -1).mean(1)

    def draw(self, rng: np.random.Generator, images: int, per_image: int) -> Choice:
        """See PatchSource; corners are uniform."""
        if self.grid:
            return draw_from_grid(rng, self.grid, images, per_image)
        corners = rng.integers(0, 65536, (images, per_image, 2))
        mirrored = np.broadcast_to(rng.integers(0, 2, (images, 1, 1)), (images, per_image, 1))
        return np.concatenate([corners, mirrored], 2)


class StemCache:
    """The activations of the frozen first blocks for every variant of every image, in half precision on disk.

    The cache is a plain .npy file of [images, 2P, h, w, c] float16, mapped into memory; a .json beside it says
    which images, weights and block it was made from, and it is made anew where that differs. Each sampling but the
    published one has files of its own name, so that one folder serves them all.
    """

    def __init__(self, model: PSCR, items: Sequence[Item], blocks: int, folder: Path, key: str) -> None:
        self.blocks = blocks
        name = "stem" if model.sampling.method == "ops" else f"stem-{model.sampling.method}"
        data, note = folder / f"{name}.npy", folder / f"{name}.json"
        stamp = json.dumps({"key": key, "blocks": blocks, "images": [str(item.path) for item in items]})
        if not (data.is_file() and note.is_file() and note.read_text() == stamp):
            folder.mkdir(parents=True, exist_ok=True)
            note.unlink(missing_ok=True)
            self._fill(model, items, data)
            note.write_text(stamp)
        self.activations = np.load(data, mmap_mode="r")

    def _fill(self, model: PSCR, items: Sequence[Item], file: Path) -> None:
        out: np.memmap | None = None
        with torch.inference_mode(), ThreadPoolExecutor(2) as pool:
            decoded = _ahead(pool, model, items)
            for index, pixels in enumerate(progress(decoded, len(items), "frozen layers")):
                x = model.normalise(torch.from_numpy(pixels).to(model.mean.device))
                x = x.contiguous(memory_format=torch.channels_last)
                y = model.backbone.stem(x, self.blocks).permute(0, 2, 3, 1).half().cpu().numpy()
                if out is None:
                    shape = (len(items), *y.shape)
                    out = np.lib.format.open_memmap(file, mode="w+", dtype=np.float16, shape=shape)
                    _reserve(file)
                out[index] = y
        if out is not None:
            out.flush()

    def draw(self, rng: np.random.Generator, images: int, per_image: int) -> Choice:
        """See PatchSource; the patches are those of the grid."""
        return draw_from_grid(rng, self.activations.shape[1] // 2, images, per_image)

    def pooled(self, model: PSCR, images: Indices, choices: Choice) -> Tensor:
        """See PatchSource."""
        rows = np.asarray(images)[:, None]
        stem = torch.from_numpy(self.activations[rows, choices]).to(model.mean.device)
        stem = stem.float().flatten(0, 1).permute(0, 3, 1, 2)
        features = model.backbone.trunk(stem, self.blocks)
        return features.float().reshape(*choices.shape, -1).mean(1)


def crops(image: Pixels, side: int, chosen: NDArray[np.int64]) -> Pixels:
    """Crops [p,S,S,3] of one image [H,W,3], no side below S, at `chosen` [p,3] as `CropSource` has them."""
    room = np.array(image.shape[:2]) - side
    out = np.empty((len(chosen), side, side, 3), np.uint8)
    for patch, (top, left, mirrored) in zip(out, chosen, strict=True):
        y, x = np.array([top, left]) * (room + 1) >> 16
        patch[...] = image[y : y + side, x : x + side][:, :: -1 if mirrored else 1]
    return out


def variants(model: PSCR, item: Item) -> Pixels:
    """All variants of an image: [2P,S,S,3] uint8, the P patches and their mirror images."""
    patches = model.sampling.cut(load(item.path))
    return np.concatenate([patches, patches[:, :, ::-1]])


def _reserve(file: Path) -> None:
    """Claim the disk space of a sparse file: too little is an OSError here, where a later write would be SIGBUS."""
    with file.open("r+b") as stream:
        os.posix_fallocate(stream.fileno(), 0, file.stat().st_size)


def _ahead(pool: ThreadPoolExecutor, model: PSCR, items: Sequence[Item], depth: int = 8) -> Iterator[Pixels]:
    """Decode `depth` images ahead of the consumer, in order."""
    waiting = [pool.submit(variants, model, item) for item in items[:depth]]
    for item in [*items[depth:], *[None] * min(depth, len(items))]:
        yield waiting.pop(0).result()
        if item is not None:
            waiting.append(pool.submit(variants, model, item))
