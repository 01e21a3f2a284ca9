"""The nodes. ComfyUI's IMAGE is a float tensor [B,H,W,C] of 0 to 1, its LATENT a dict with `samples` [B,...].

torch is not imported: what goes back is made by the methods of the tensors that came. Of a batch, PART images at a time
are copied, so that a video's frames need no second copy of them all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import cv2

import pscr
from pscr.runtime import map_picture
from pscr.runtime.devices import DEVICES
from pscr.runtime.models import packaged
from pscr.runtime.pixels import HostBatch
from pscr.runtime.ranking import best_first
from pscr.runtime.scorer import DEFAULT_MODEL

try:
    from comfy.utils import ProgressBar  # ComfyUI's own, which also ends the run where its user cancels it
except ImportError:  # outside of ComfyUI

    class ProgressBar:  # type: ignore[no-redef]
        """Shows nothing."""

        def __init__(self, total: int) -> None:
            pass

        def update(self, value: int) -> None:
            """So many more are done."""


Latents = dict[str, Any]
PART = 16  # images that are copied and scored between two steps of the progress bar
OVERSHOOT = 0.5  # by which values may leave 0 to 1, as those of resized images do; SaveImage clips them too
LATENTS = ("LATENT", {"tooltip": "what the images were decoded from, to go on with those of the chosen images"})
CHOSEN = ("the chosen images", "their latents, where some came in", "a line for each image that came in")


class Node:
    """What the nodes share: where they stand in the menu, and the inputs of each."""

    CATEGORY = "image/quality (pscr)"
    FUNCTION = "run"
    SEARCH_ALIASES = ("image quality", "iqa", "aesthetic score", "rank images", "filter images")

    @classmethod
    def inputs(cls, required: dict[str, Any], optional: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """The images, inputs of the node's own, and what scores them: every model and device there is."""
        models = sorted(packaged(), key=lambda name: (name != DEFAULT_MODEL, name))
        devices = ["cpu", "auto", *(name for name in DEVICES if name != "cpu")]
        scoring = {
            "model": (models, {"tooltip": "what scores the images; each model has a scale of its own"}),
            "device": (devices, {"tooltip": "where it scores; cpu leaves the GPU to the generator"}),
        }
        images = ("IMAGE", {"tooltip": "the images to score, as many as there are in the batch"})
        return {"required": {"images": images, **required, **scoring}, "optional": optional}


class Score(Node):
    """The score of each image of a batch."""

    DESCRIPTION = __doc__
    RETURN_TYPES = ("FLOAT", "STRING")
    RETURN_NAMES = ("scores", "text")
    OUTPUT_TOOLTIPS = ("a number for each image, in their order", "a line for each image")
    OUTPUT_IS_LIST = (True, False)
    OUTPUT_NODE = True  # it runs also where nothing is connected, and its text is in the run's history

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, dict[str, Any]]:  # noqa: N802
        """As ComfyUI asks for them."""
        return cls.inputs({}, {})

    def run(self, images: Any, model: str, device: str) -> dict[str, Any]:
        """Returns the scores in the order of the images, NaN where there is none, and a line of text for each."""
        scorer, results = scored(images, model, device)
        text = told(scorer, results, range(len(results)))
        return {"ui": {"text": [text]}, "result": ([result.score for result in results], text)}


class BestOfN(Node):
    """The best k images of a batch, the best first, with the latents they came from."""

    DESCRIPTION = __doc__
    RETURN_TYPES = ("IMAGE", "LATENT", "STRING")
    RETURN_NAMES = ("images", "latents", "text")
    OUTPUT_TOOLTIPS = CHOSEN

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, dict[str, Any]]:  # noqa: N802
        """As ComfyUI asks for them."""
        limits = {"default": 1, "min": 1, "max": 4096, "tooltip": "how many images to keep"}
        return cls.inputs({"k": ("INT", limits)}, {"latents": LATENTS})

    def run(
        self, images: Any, k: int, model: str, device: str, latents: Latents | None = None
    ) -> tuple[Any, Latents | None, str]:
        """Returns k images, their latents (None where none came in), and the places and scores of all as text."""
        if k < 1:  # ComfyUI does not check a number that another node gives
            raise ValueError(f"k is {k}; expected 1 or more, the number of images to keep")
        check_latents(latents, images)
        scorer, results = scored(images, model, device)
        order = best_first(scorer.scale, results)
        if k > len(order):
            raise ValueError(f"k is {k}, and {len(order)} of {len(results)} images have a score; use a larger batch")
        return images[order[:k]], picked(latents, order[:k]), told(scorer, results, order)


class Gate(Node):
    """Lets the images pass that are at least as good as a threshold, in their order; stops where none is."""

    DESCRIPTION = __doc__
    RETURN_TYPES = ("IMAGE", "LATENT", "STRING")
    RETURN_NAMES = ("images", "latents", "text")
    OUTPUT_TOOLTIPS = CHOSEN

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, dict[str, Any]]:  # noqa: N802
        """As ComfyUI asks for them."""
        limits = {"default": 3.0, "min": -1000.0, "max": 1000.0, "step": 0.05, "tooltip": "the worst score to let pass"}
        return cls.inputs({"threshold": ("FLOAT", limits)}, {"latents": LATENTS})

    def run(
        self, images: Any, threshold: float, model: str, device: str, latents: Latents | None = None
    ) -> tuple[Any, Latents | None, str]:
        """Returns the images that pass, their latents (None where none came in), and all scores as text."""
        check_latents(latents, images)
        scorer, results = scored(images, model, device)
        order = best_first(scorer.scale, results)
        sign = scorer.scale.sign
        passing = sorted(place for place in order if sign * results[place].score >= sign * threshold)
        if not passing:
            best = f"the best has {results[order[0]].score:.2f}" if order else results[0].message
            raise ValueError(f"none of {len(results)} images passes the threshold of {threshold:g}: {best}")
        return images[passing], picked(latents, passing), told(scorer, results, range(len(results)))


class MapOverlay(Node):
    """Where in each image the quality is good (bright) or bad (dark): its quality map over its grey form."""

    DESCRIPTION = __doc__
    RETURN_TYPES = ("IMAGE", "STRING")
    RETURN_NAMES = ("overlays", "text")
    OUTPUT_TOOLTIPS = ("a picture of each image", "the scores of the darkest and the brightest colour")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, dict[str, Any]]:  # noqa: N802
        """As ComfyUI asks for them."""
        return cls.inputs({}, {})

    def run(self, images: Any, model: str, device: str) -> tuple[Any, str]:
        """Returns a picture of each image, one colour the same score in all, and the scores at the colours' ends."""
        check(images)
        scorer, bar = opened(model, device), ProgressBar(len(images))
        maps = []
        for image in levels(images):
            maps.append(pscr.quality_map(scorer, image, pixel_format="rgb"))
            bar.update(1)
        limits = map_picture.usual_limits(maps)
        pictures = None
        for place, pair in enumerate(zip(levels(images), maps, strict=True)):
            overlay = cv2.cvtColor(map_picture.overlay(*pair, limits), cv2.COLOR_BGR2RGB)
            if pictures is None:
                pictures = images.new_empty((len(images), *overlay.shape))
            pictures[place] = images.new_tensor(overlay) / 255
        return pictures, "dark {:.2f}, bright {:.2f} ({})".format(*limits, scorer.scale)


@lru_cache(maxsize=2)
def opened(model: str, device: str) -> pscr.Scorer:
    """The open model, which stays open for the next run."""
    return pscr.open(model, device=device)


def scored(images: Any, model: str, device: str) -> tuple[pscr.Scorer, list[pscr.Result]]:
    """The open model and the result of each image. Errors as `check` and `Scorer.score_pixels`."""
    check(images)
    scorer, bar = opened(model, device), ProgressBar(len(images))
    results: list[pscr.Result] = []
    for part in parts(images):
        results += scorer.score_pixels(part, value_range=(0, 1))
        bar.update(len(part))
    return scorer, results


def levels(images: Any) -> Iterator[Any]:
    """Each image as an array [H,W,3] uint8."""
    for part in parts(images):
        batch = HostBatch(part.numpy(), (0, 1))
        yield from map(batch.levels, batch.images())


def parts(images: Any) -> Iterator[Any]:
    """An IMAGE as it would be saved, PART at a time: in host memory, float32, without alpha, clipped to 0 to 1."""
    for part in images.detach().split(PART):
        yield part[..., :3].cpu().float().clip(0, 1)


def check(images: Any) -> None:
    """See that an IMAGE is one.

    Raises:
        ValueError: it has another shape, is empty, or has values that are no image's.
    """
    shape = list(getattr(images, "shape", ()))
    if len(shape) != 4 or shape[3] not in (3, 4) or 0 in shape:
        found = f"found a {type(images).__name__.lower()} {shape}"
        raise ValueError(f"{found}; expected an IMAGE [B,H,W,3] with one image or more")
    ends = [(float(image.min()), float(image.max())) for image in images.detach()]
    for place, (low, _) in enumerate(ends):
        if math.isnan(low):
            raise ValueError(f"image {place} of {len(ends)} has NaN; expected an IMAGE; look at what made it")
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    if low < -OVERSHOOT or high > 1 + OVERSHOOT:
        raise ValueError(f"found values from {low:.4g} to {high:.4g}; expected an IMAGE, whose values are 0 to 1")


def check_latents(latents: Latents | None, images: Any) -> None:
    """See that there is one latent for each image, before the images are scored.

    Raises:
        ValueError: there are more or fewer.
    """
    if latents is None or len(latents["samples"]) == len(images):
        return
    found = f"found {len(images)} images and {len(latents['samples'])} latents"
    if latents["samples"].ndim == 5:
        raise ValueError(f"{found} of a video, each of several frames; leave the latents unconnected")
    raise ValueError(f"{found}; connect the latents that the images came from")


def picked(latents: Latents | None, places: list[int]) -> Latents | None:
    """The latents of some images; `batch_index` keeps their own noise where a sampler goes on from them."""
    if latents is None:
        return None
    count = len(latents["samples"])
    mask, numbers = latents.get("noise_mask"), latents.get("batch_index", ())
    if len(numbers) != count:  # none, or left over from another batch
        numbers = range(count)
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
