"""The nodes. ComfyUI's IMAGE is a float tensor [B,H,W,C] of 0 to 1, its LATENT a dict with `samples` [B,...].

torch is not imported: what goes back is made by the methods of the tensors that came.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np

import pscr
from pscr.runtime import map_picture
from pscr.runtime.devices import DEVICES
from pscr.runtime.models import packaged
from pscr.runtime.pixels import HostBatch
from pscr.runtime.ranking import best_first
from pscr.runtime.scorer import DEFAULT_MODEL

Latents = dict[str, Any]
OVERSHOOT = 0.5  # by which values may leave 0 to 1, as those of resized images do; SaveImage clips them too


class Node:
    """What the nodes share: where they stand in the menu, and the inputs of each."""

    CATEGORY = "image/quality (pscr)"
    FUNCTION = "run"

    @classmethod
    def inputs(cls, required: dict[str, Any], optional: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """The images, inputs of the node's own, and what scores them: every model and device there is."""
        models = sorted(packaged(), key=lambda name: (name != DEFAULT_MODEL, name))
        scoring = {"model": (models,), "device": (["cpu", "auto", *(name for name in DEVICES if name != "cpu")],)}
        return {"required": {"images": ("IMAGE",), **required, **scoring}, "optional": optional}


class Score(Node):
    """The score of each image of a batch."""

    DESCRIPTION = __doc__
    RETURN_TYPES = ("FLOAT", "STRING")
    RETURN_NAMES = ("scores", "text")
    OUTPUT_IS_LIST = (True, False)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, dict[str, Any]]:  # noqa: N802
        """As ComfyUI asks for them."""
        return cls.inputs({}, {})

    def run(self, images: Any, model: str, device: str) -> tuple[list[float], str]:
        """Returns the scores in the order of the images, NaN where there is none, and a line of text for each."""
        scorer, results = scored(images, model, device)
        return [result.score for result in results], told(scorer, results, range(len(results)))


class BestOfN(Node):
    """The best k images of a batch, the best first, with the latents they came from."""

    DESCRIPTION = __doc__
    RETURN_TYPES = ("IMAGE", "LATENT", "STRING")
    RETURN_NAMES = ("images", "latents", "text")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, dict[str, Any]]:  # noqa: N802
        """As ComfyUI asks for them."""
        return cls.inputs({"k": ("INT", {"default": 1, "min": 1, "max": 4096})}, {"latents": ("LATENT",)})

    def run(
        self, images: Any, k: int, model: str, device: str, latents: Latents | None = None
    ) -> tuple[Any, Latents | None, str]:
        """Returns k images, their latents (None where none came in), and the places and scores of all as text."""
        scorer, results = scored(images, model, device)
        order = best_first(scorer.scale, results)
        if k > len(order):
            raise ValueError(f"k is {k}, and {len(order)} of {len(results)} images have a score; use a larger batch")
        return images[order[:k]], picked(latents, order[:k], len(results)), told(scorer, results, order)


class Gate(Node):
    """Lets the images pass that are at least as good as a threshold, in their order; stops where none is."""

    DESCRIPTION = __doc__
    RETURN_TYPES = ("IMAGE", "LATENT", "STRING")
    RETURN_NAMES = ("images", "latents", "text")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, dict[str, Any]]:  # noqa: N802
        """As ComfyUI asks for them."""
        limits = {"default": 3.0, "min": -1000.0, "max": 1000.0, "step": 0.05}
        return cls.inputs({"threshold": ("FLOAT", limits)}, {"latents": ("LATENT",)})

    def run(
        self, images: Any, threshold: float, model: str, device: str, latents: Latents | None = None
    ) -> tuple[Any, Latents | None, str]:
        """Returns the images that pass, their latents (None where none came in), and all scores as text."""
        scorer, results = scored(images, model, device)
        order = best_first(scorer.scale, results)
        sign = scorer.scale.sign
        passing = sorted(place for place in order if sign * results[place].score >= sign * threshold)
        if not passing:
            best = f"the best has {results[order[0]].score:.2f}" if order else results[0].message
            raise ValueError(f"none of {len(results)} images passes the threshold of {threshold:g}: {best}")
        return images[passing], picked(latents, passing, len(results)), told(scorer, results, range(len(results)))


class MapOverlay(Node):
    """Where in each image the quality is good (bright) or bad (dark): its quality map over its grey form."""

    DESCRIPTION = __doc__
    RETURN_TYPES = ("IMAGE", "STRING")
    RETURN_NAMES = ("overlays", "text")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, dict[str, Any]]:  # noqa: N802
        """As ComfyUI asks for them."""
        return cls.inputs({}, {})

    def run(self, images: Any, model: str, device: str) -> tuple[Any, str]:
        """Returns a picture of each image, one colour the same score in all, and the scores at the colours' ends."""
        scorer, levels = opened(model, device), as_levels(images)
        maps = [pscr.quality_map(scorer, image, pixel_format="rgb") for image in levels]
        low, high = map_picture.usual_limits(maps)
        pairs = zip(levels, maps, strict=True)
        overlays = [cv2.cvtColor(map_picture.overlay(*pair, (low, high)), cv2.COLOR_BGR2RGB) for pair in pairs]
        pictures = images.new_tensor(np.stack(overlays).astype(np.float32) / 255)
        return pictures, f"dark {low:.2f}, bright {high:.2f} ({scorer.scale})"


@lru_cache(maxsize=2)
def opened(model: str, device: str) -> pscr.Scorer:
    """The open model, which stays open for the next run."""
    return pscr.open(model, device=device)


def scored(images: Any, model: str, device: str) -> tuple[pscr.Scorer, list[pscr.Result]]:
    """The open model and the result of each image."""
    scorer = opened(model, device)
    return scorer, scorer.score_pixels(in_range(images), value_range=(0, 1))


def as_levels(images: Any) -> Any:
    """The images as an array [B,H,W,3] uint8."""
    batch = HostBatch(in_range(images).numpy(), (0, 1))
    batch.check()
    return np.stack([batch.levels(image) for image in batch.images()])


def in_range(images: Any) -> Any:
    """An IMAGE as it would be saved: in host memory, float32, without alpha, clipped to 0 to 1.

    Raises:
        ValueError: it is none, or is empty.
    """
    if images.ndim != 4 or images.shape[3] not in (3, 4) or not images.shape[0]:
        raise ValueError(f"found a tensor {list(images.shape)}; expected an IMAGE [B,H,W,3] with one image or more")
    low, high = float(images.min()), float(images.max())
    if low < -OVERSHOOT or high > 1 + OVERSHOOT:
        raise ValueError(f"found values from {low:.4g} to {high:.4g}; expected an IMAGE, whose values are 0 to 1")
    return images[..., :3].detach().cpu().float().clip(0, 1)


def picked(latents: Latents | None, places: list[int], images: int) -> Latents | None:
    """The latents of some images; `batch_index` keeps their own noise where a sampler goes on from them."""
    if latents is None:
        return None
    count = len(latents["samples"])
    if count != images:
        raise ValueError(f"found {images} images and {count} latents; connect the latents that the images came from")
    mask, numbers = latents.get("noise_mask"), latents.get("batch_index", range(count))
    chosen = {**latents, "samples": latents["samples"][places], "batch_index": [numbers[place] for place in places]}
    if mask is not None and len(mask) == count:  # else one mask is for all
        chosen["noise_mask"] = mask[places]
    return chosen


def told(scorer: pscr.Scorer, results: list[pscr.Result], order: Any) -> str:
    """The scale, and a line for each image of `order`."""
    lines = [f"{place}: {results[place].score:.3f} {results[place].message}".rstrip() for place in order]
    return "\n".join([f"{scorer.manifest.name} ({scorer.scale})", *lines])


NODE_CLASS_MAPPINGS = {
    "PscrScore": Score,
    "PscrBestOfN": BestOfN,
    "PscrGate": Gate,
    "PscrMapOverlay": MapOverlay,
}
NODE_DISPLAY_NAME_MAPPINGS = {
    "PscrScore": "Score images (pscr)",
    "PscrBestOfN": "Best k of n (pscr)",
    "PscrGate": "Gate by score (pscr)",
    "PscrMapOverlay": "Quality map (pscr)",
}
