"""What a training step is fed: patches of images, as pixels or as cached activations of frozen layers."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..runtime.errors import PscrError, Status
from ..runtime.image import load
from ..runtime.pipeline import results
from ..runtime.sampling import Pixels
from .databases import Item
from .model import PSCR
from .progress import progress

GRAIN = 8  # positions: what the deeper layers stride over, at half size too
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
            stems = model.stems(x, self.blocks) if self.blocks else []
        return model.trunk(stems or model.stems(x, 0), self.blocks, *choices.shape[:2])

    def draw(self, rng: np.random.Generator, images: int, per_image: int) -> Choice:
        """See PatchSource; corners are uniform."""
        if self.grid:
            return draw_from_grid(rng, self.grid, images, per_image)
        corners = rng.integers(0, 65536, (images, per_image, 2))
        mirrored = np.broadcast_to(rng.integers(0, 2, (images, 1, 1)), (images, per_image, 1))
        return np.concatenate([corners, mirrored], 2)


class StemCache:
    """The activations of the frozen first blocks for every variant of every image, in half precision on disk.

    The cache is a plain .npy file of [images, 2P, h, w, c] float16, mapped into memory, and another one for each
    further scale; a .json beside them says which images, weights and block they were made from, and they are made
    anew where that differs. Each sampling but the published one has files of its own name, so that one folder serves
    them all.

    window: below 1, training steps see a part of each patch: a square whose side, a multiple of GRAIN positions, is
    drawn for the step from that share of the whole up, at a place drawn for every patch.
    """

    def __init__(
        self, model: PSCR, items: Sequence[Item], blocks: int, folder: Path, key: str, window: float = 1.0
    ) -> None:
        self.blocks, self.window = blocks, window
        name = "stem" if model.sampling.method == "ops" else f"stem-{model.sampling.method}"
        files = [folder / f"{name}{suffix}.npy" for suffix in ("", "-half")[: model.scales]]
        note = folder / (f"{name}.json" if model.scales == 1 else f"{name}-{model.scales}.json")
        stamp = json.dumps({"key": key, "blocks": blocks, "images": [str(item.path) for item in items]})
        if not (all(file.is_file() for file in files) and note.is_file() and note.read_text() == stamp):
            folder.mkdir(parents=True, exist_ok=True)
            for other in folder.glob(f"{name}*.json"):
                other.unlink()
            self._fill(model, items, files)
            note.write_text(stamp)
        self.activations = [np.load(file, mmap_mode="r") for file in files]

    def _fill(self, model: PSCR, items: Sequence[Item], files: Sequence[Path]) -> None:
        out: list[np.memmap] = []
        decoded = results(lambda item: variants(model, item), items, workers=2, ahead=8)
        with torch.inference_mode(), closing(decoded):
            for index, pixels in enumerate(progress(decoded, len(items), "frozen layers")):
                x = model.normalise(torch.from_numpy(pixels).to(model.mean.device))
                stems = model.stems(x.contiguous(memory_format=torch.channels_last), self.blocks)
                found = [stem.permute(0, 2, 3, 1).half().cpu().numpy() for stem in stems]
                for file, y in zip(files, found, strict=True):
                    if len(out) < len(files):
                        shape = (len(items), *y.shape)
                        out.append(np.lib.format.open_memmap(file, mode="w+", dtype=np.float16, shape=shape))
                        _reserve(file)
                for memory, y in zip(out, found, strict=True):
                    memory[index] = y
        for memory in out:
            memory.flush()

    def draw(self, rng: np.random.Generator, images: int, per_image: int) -> Choice:
        """See PatchSource; the patches are those of the grid. With a window: [n, p, 4] of variant, top, left, side."""
        variants = draw_from_grid(rng, self.activations[0].shape[1] // 2, images, per_image)
        if self.window == 1:
            return variants
        whole = self.activations[0].shape[2] // GRAIN
        side = GRAIN * int(rng.integers(math.ceil(self.window * whole), whole + 1))
        corners = 2 * rng.integers(0, (GRAIN * whole - side) // 2 + 1, (images, per_image, 2))
        return np.concatenate([variants[..., None], corners, np.full((images, per_image, 1), side)], 2)

    def pooled(self, model: PSCR, images: Indices, choices: Choice) -> Tensor:
        """See PatchSource; choices are [n, p] variants or [n, p, 4] as `draw` gives them."""
        rows, places = np.repeat(images, choices.shape[1]), choices.reshape(-1, *choices.shape[2:])
        stems = []
        for scale, stored in enumerate(self.activations):
            if places.ndim == 1:
                taken = stored[rows, places]
            else:
                parts = zip(rows, places[:, 0], places[:, 1:] >> scale, strict=True)
                taken = np.stack([stored[i, v, y : y + side, x : x + side] for i, v, (y, x, side) in parts])
            stems.append(torch.from_numpy(taken).to(model.mean.device).float().permute(0, 3, 1, 2))
        return model.trunk(stems, self.blocks, *choices.shape[:2])


def crops(image: Pixels, side: int, chosen: NDArray[np.int64]) -> Pixels:
    """Crops [p,S,S,3] of one image [H,W,3], no side below S, at `chosen` [p,3] as `CropSource` has them."""
    room = np.array(image.shape[:2]) - side
    out = np.empty((len(chosen), side, side, 3), np.uint8)
    for patch, (top, left, mirrored) in zip(out, chosen, strict=True):
        y, x = np.array([top, left]) * (room + 1) >> 16
        patch[...] = image[y : y + side, x : x + side][:, :: -1 if mirrored else 1]
    return out


def variants(model: PSCR, item: Item) -> Pixels:
    """All variants of an image: [2P,S,S,3] uint8, the P patches and their mirror images.

    Raises:
        PscrError: INVALID_ARGUMENT for an image that gives more patches than one of the reference size.
    """
    patches = model.sampling.cut(load(item.path))
    if len(patches) != model.sampling.count:
        side = model.sampling.reference_side
        raise PscrError(
            Status.INVALID_ARGUMENT,
            f"{item.path}: gives {len(patches)} patches; training with {model.sampling.method} takes images of up to "
            f"{side}x{side} pixels: scale them down, or choose --sampling ops",
        )
    return np.concatenate([patches, patches[:, :, ::-1]])


def _reserve(file: Path) -> None:
    """Claim the disk space of a sparse file: too little is an OSError here, where a later write would be SIGBUS."""
    with file.open("r+b") as stream:
        os.posix_fallocate(stream.fileno(), 0, file.stat().st_size)
