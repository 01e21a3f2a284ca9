"""What a training step is fed: patches of images, as pixels or as cached activations of frozen layers."""

from __future__ import annotations

import json
import math
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..runtime.errors import PscrError, Status
from ..runtime.image import size_of
from ..runtime.ordered import results
from ..runtime.samplings import Pixels, Sampling
from .copies import Copy, pixels
from .databases import Item
from .digests import sha256
from .model import PSCR
from .progress_bar import progress_bar
from .terminal import say, visible

GRAIN = 8  # positions: what the deeper layers stride over
Choice = NDArray[np.int64]
Indices = NDArray[np.int64]
Source = Item | Copy


class PatchSource(ABC):
    """Pooled features of chosen patches of chosen images.

    counts: [images], how many patches P each image's sampling cuts. Its variants are those followed by the same P
    mirrored, so a choice is in 0..2P-1; of a copy there are only the first P.
    """

    counts: Indices

    @abstractmethod
    def draw(self, rng: np.random.Generator, images: Indices, per_image: int) -> Choice:
        """Random choices for a training step: `per_image` different patches for each image, all mirrored or none."""

    @abstractmethod
    def fetch(self, model: PSCR, images: Indices, choices: Choice) -> Tensor:
        """What `features` needs of n images and their choices [n, p], on the host; any thread may call it."""

    @abstractmethod
    def features(self, model: PSCR, fetched: Tensor, images: int, patches: int) -> Tensor:
        """What was fetched of so many images and patches of each, now on the model's device, to their features.

        Returns [images, C] float32 on the model's device, averaged over the patches, with gradients.
        """

    def pooled(self, model: PSCR, images: Indices, choices: Choice) -> Tensor:
        """The features [n, C] of n images, of their choices [n, p] alone; see `features`."""
        found = self.fetch(model, images, choices).to(model.mean.device)
        return self.features(model, found, *choices.shape[:2])


def every_patch(images: int, patches: int, mirrored: bool = False) -> Choice:
    """All patches of images that have equally many: [images, patches]."""
    return np.tile(np.arange(patches) + (patches if mirrored else 0), (images, 1))


def draw_from_grid(rng: np.random.Generator, counts: Indices, mirrors: NDArray[np.bool_], per_image: int) -> Choice:
    """Variants [images, per_image]: different patches of the `counts` of each image, of one all mirrored or none.

    mirrors: [images], whether an image has mirrored variants. An image with fewer than `per_image` patches gives some
    of them again.
    """
    drawn = np.stack([np.resize(rng.permutation(count)[:per_image], per_image) for count in counts])
    mirrored: Choice = drawn + (counts * mirrors)[:, None] * rng.integers(0, 2, (len(drawn), 1))
    return mirrored


def patch_counts(sampling: Sampling, sources: Sequence[Source]) -> NDArray[np.int64]:
    """How many patches each image gives, [images], from the sizes in the files' headers.

    Raises:
        PscrError: those of `load`, for the first file that cannot be used: before hours have gone into the others.
    """
    sizes: dict[Path, tuple[int, int]] = {}
    counts = []
    for source in sources:
        path = _path(source)
        if path not in sizes:
            sizes[path] = size_of(path)
        size = sizes[path]
        counts.append(sampling.patches(*(source.size(*size) if isinstance(source, Copy) else size)))
    return np.array(counts, np.int64)


class CropSource(PatchSource):
    """Decodes and cuts when asked; nothing is kept.

    grid: draw from the patches that the sampling cuts, and not from anywhere in the image. Else a choice is
    [top, left, mirrored], the corner as a fraction of the room to move in 1/65536, 0 to 65535.
    """

    def __init__(
        self, sources: Sequence[Source], counts: NDArray[np.int64], blocks: int, threads: int, grid: bool = False
    ) -> None:
        self.sources, self.counts, self.mirrors = sources, counts, _mirrors(sources)
        self.grid = grid
        self.blocks = blocks
        self.pool = ThreadPoolExecutor(threads)

    def fetch(self, model: PSCR, images: Indices, choices: Choice) -> Tensor:
        """See PatchSource; choices are [n, p, 3] corners, or [n, p] variants of the grid. Gives [n,p,S,S,3] uint8."""

        def cut(image: int, chosen: NDArray[np.int64]) -> Pixels:
            if chosen.ndim == 1:
                return variants(model, self.sources[image])[chosen]
            return crops(model.sampling.frame(pixels(self.sources[image])), model.sampling.patch, chosen)

        return torch.from_numpy(np.stack(list(self.pool.map(cut, images, choices))))

    def features(self, model: PSCR, fetched: Tensor, images: int, patches: int) -> Tensor:
        """See PatchSource."""
        with torch.no_grad():
            x = model.normalise(fetched.flatten(0, 1)).contiguous(memory_format=torch.channels_last)
            stem = model.backbone.stem(x, self.blocks) if self.blocks else None
        return model.trunk(model.backbone.stem(x, 0) if stem is None else stem, self.blocks, images, patches)

    def draw(self, rng: np.random.Generator, images: Indices, per_image: int) -> Choice:
        """See PatchSource; corners are uniform."""
        if self.grid:
            return draw_from_grid(rng, self.counts[images], self.mirrors[images], per_image)
        corners = rng.integers(0, 65536, (len(images), per_image, 2))
        mirrored = np.broadcast_to(rng.integers(0, 2, (len(images), 1, 1)), (len(images), per_image, 1))
        return np.concatenate([corners, mirrored], 2)


class StemCache(PatchSource):
    """The activations of the frozen first blocks for every variant of every image, in half precision on disk.

    The cache is a plain .npy file of [variants of all images, h, w, c] float16, an image's behind those of the one
    before, mapped into memory; a .json beside it says which images (by their files' bytes, wherever they lie), copies,
    weights and block it was made from. Where that differs it is made anew, which is said on stderr. Each
    sampling but the published one has a file of its own name, so that one folder serves them all.

    window: below 1, training steps see a part of each patch: a square whose side, a multiple of GRAIN positions, is
    drawn for the step from that share of the whole up, at a place drawn for every patch.
    """

    def __init__(
        self,
        model: PSCR,
        sources: Sequence[Source],
        counts: NDArray[np.int64],
        blocks: int,
        folder: Path,
        key: str,
        window: float = 1.0,
    ) -> None:
        self.blocks, self.window, self.counts, self.mirrors = blocks, window, counts, _mirrors(sources)
        self.rows = counts * (1 + self.mirrors)
        self.first = np.concatenate([[0], np.cumsum(self.rows)[:-1]])
        name = "stem" if model.sampling.method == "ops" else f"stem-{model.sampling.method}"
        file, note = folder / f"{name}.npy", folder / f"{name}.json"
        stamp = json.dumps(
            {
                "key": key,
                "blocks": blocks,
                "sampling": model.sampling.to_dict(),
                "images": _identities(sources),
            }
        )
        kept = note.read_text() if file.is_file() and note.is_file() else None
        if kept != stamp:
            if kept is not None:
                say(f"{visible(file)}: made anew, it was of other images, weights or settings\n", sys.stderr)
            folder.mkdir(parents=True, exist_ok=True)
            note.unlink(missing_ok=True)
            self._fill(model, sources, file)
            note.write_text(stamp)
        self.activations: NDArray[np.float16] = np.load(file, mmap_mode="r")

    def _fill(self, model: PSCR, sources: Sequence[Source], file: Path) -> None:
        out: np.memmap | None = None
        decoded = results(lambda source: variants(model, source), sources, workers=2, ahead=8)
        rows = int(self.rows.sum())
        with torch.inference_mode(), closing(decoded):
            bar = progress_bar(decoded, len(sources), "frozen layers")
            for source, first, count, cuts in zip(sources, self.first, self.rows, bar, strict=True):
                if len(cuts) != count:
                    found = f"{_path(source)}: gives {len(cuts)} variants, by the size in its header {count}"
                    raise PscrError(Status.DECODE_FAILED, f"{found}; save the image again")
                x = model.normalise(torch.from_numpy(cuts).to(model.mean.device))
                stem = model.backbone.stem(x.contiguous(memory_format=torch.channels_last), self.blocks)
                y = stem.permute(0, 2, 3, 1).half().cpu().numpy()
                if out is None:
                    out = np.lib.format.open_memmap(file, mode="w+", dtype=np.float16, shape=(rows, *y.shape[1:]))
                    _reserve(file)
                out[first : first + len(y)] = y
        if out is not None:
            out.flush()

    def draw(self, rng: np.random.Generator, images: Indices, per_image: int) -> Choice:
        """See PatchSource; the patches are those of the grid. With a window: [n, p, 4] of variant, top, left, side."""
        variants = draw_from_grid(rng, self.counts[images], self.mirrors[images], per_image)
        if self.window == 1:
            return variants
        whole = self.activations.shape[1] // GRAIN
        side = GRAIN * int(rng.integers(math.ceil(self.window * whole), whole + 1))
        corners = 2 * rng.integers(0, (GRAIN * whole - side) // 2 + 1, (len(images), per_image, 2))
        return np.concatenate([variants[..., None], corners, np.full((len(images), per_image, 1), side)], 2)

    def fetch(self, model: PSCR, images: Indices, choices: Choice) -> Tensor:
        """See PatchSource; choices are [n, p] variants or [n, p, 4] as `draw` gives them. Gives [n*p,h,w,c] float16."""
        first, places = np.repeat(self.first[images], choices.shape[1]), choices.reshape(-1, *choices.shape[2:])
        if places.ndim == 1:
            taken = self.activations[first + places]
        else:
            parts = zip(first + places[:, 0], places[:, 1:], strict=True)
            taken = np.stack([self.activations[row, y : y + side, x : x + side] for row, (y, x, side) in parts])
        return torch.from_numpy(taken)

    def features(self, model: PSCR, fetched: Tensor, images: int, patches: int) -> Tensor:
        """See PatchSource."""
        return model.trunk(fetched.float().permute(0, 3, 1, 2), self.blocks, images, patches)


def crops(image: Pixels, side: int, chosen: NDArray[np.int64]) -> Pixels:
    """Crops [p,S,S,3] of one image [H,W,3], no side below S, at `chosen` [p,3] as `CropSource` has them."""
    room = np.array(image.shape[:2]) - side
    out = np.empty((len(chosen), side, side, 3), np.uint8)
    for patch, (top, left, mirrored) in zip(out, chosen, strict=True):
        y, x = np.array([top, left]) * (room + 1) >> 16
        patch[...] = image[y : y + side, x : x + side][:, :: -1 if mirrored else 1]
    return out


def variants(model: PSCR, source: Source) -> Pixels:
    """All variants: [2P,S,S,3] uint8, the P patches of an image and their mirror images; [P,S,S,3] of a copy.

    Errors as `load`.
    """
    patches = model.sampling.cut(pixels(source))
    return patches if isinstance(source, Copy) else np.concatenate([patches, patches[:, :, ::-1]])


def _mirrors(sources: Sequence[Source]) -> NDArray[np.bool_]:
    """Whether each source has mirrored variants, [images]."""
    return np.array([not isinstance(source, Copy) for source in sources])


def _identities(sources: Sequence[Source]) -> list[list[str | int]]:
    """What each source's activations depend on: the bytes of its file, and which copy it is."""
    digests = {path: sha256(path) for path in {_path(source) for source in sources}}
    return [
        [digests[_path(source)], *((source.number, source.seed) if isinstance(source, Copy) else ())]
        for source in sources
    ]


def _path(source: Source) -> Path:
    return source.item.path if isinstance(source, Copy) else source.path


def _reserve(file: Path) -> None:
    """Claim the disk space of a sparse file: too little is an OSError here, where a later write would be SIGBUS.

    A system that cannot claim it (macOS, Windows) is left to find out.
    """
    if not hasattr(os, "posix_fallocate"):
        return
    with file.open("r+b") as stream:
        os.posix_fallocate(stream.fileno(), 0, file.stat().st_size)
