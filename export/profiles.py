"""The shapes that an engine is built for: one dynamic profile for everything, static ones for what is scored most.

A dynamic profile reserves memory for its largest corner, and its kernels must fit every shape in it. A static one, for
a single image and for a full batch of the usual view, is tuned for that very shape.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx

from ..runtime.backends.base import SIDES
from ..runtime.errors import PscrError, Status
from .graph_costs import costs
from .model_folder import StoredModel

Shape = tuple[int, ...]
Profile = dict[str, tuple[Shape, Shape, Shape]]
BEST, MOST = 8, 64  # images of a batch: usual, and most where memory allows
WINDOWS = 4  # of an image; longer ones than 4:1 are rare, and each costs every batch its memory
LARGEST_BANK = 4096  # exemplars: more than any public database has training images
LARGEST_TENSOR = 2**31 - 1  # elements: TensorRT indexes with 32 bits
# Bytes of activations, one block for all contexts. A card of 8 GB also holds the driver's
# context, the weights, the buffers and a screen.
MEMORY = 2_500_000_000
# Of a model that sees whole images: its batch, with some 300 bytes of activations for each of 1024x1024 pixels; and the
# numbers that a layer of ResNet50 makes of a pixel at most, 64 at half the sides.
WHOLE = (1, 1, 4)
_OF_A_PIXEL = 16


def choose(
    graph: bytes,
    model: StoredModel,
    batch: tuple[int, int, int] | None = None,
    *,
    windows: int = WINDOWS,
    static: bool = True,
) -> list[Profile]:
    """The profiles of an engine, as each input's smallest, best and largest shape: the dynamic one, then static ones.

    Patches: from one (quality maps score each patch as an image of its own) to those of `windows` windows of a view.
    Sides are the patch's, or `SIDES` for a model that sees whole images, which has the dynamic one alone.
    Static: one image, and the best batch, of one window each, with the model's own bank.

    graph: in the precision that it is built in. batch: fewest, usual and most images; None for one, `BEST`, and the
    most up to `MOST` whose activations take no more than `MEMORY`. static: whether there are any of those.

    Raises:
        PscrError: INVALID_ARGUMENT where a tensor of the largest batch passes `LARGEST_TENSOR`.
    """
    proto = onnx.load_from_string(graph)
    taken = {value.name for value in proto.graph.input}  # not the bank where it is inside
    constants = {name: value.shape for name, value in model.signature.constants.items() if name in taken}
    sampling = model.manifest.sampling
    small, usual, large = ((side, side, 3) for side in ((sampling.patch,) * 3 if sampling.patch else SIDES))
    count = sampling.count
    most = min(sampling.most, windows * count)

    def dynamic(low: int, best: int, high: int) -> Profile:
        profile: Profile = {"patches": ((low, 1, *small), (best, count, *usual), (high, most, *large))}
        for name, (rows, *width) in constants.items():
            profile[name] = ((1, *width), (rows, *width), (max(LARGEST_BANK, rows), *width))
        return profile

    def fixed(images: int) -> Profile:
        shapes: Mapping[str, Shape] = {"patches": (images, count, *usual), **constants}
        return {name: (shape, shape, shape) for name, shape in shapes.items()}

    if not sampling.patch:  # shapes that are computed from the image's, which shape inference cannot follow
        low, best, high = batch or WHOLE
        if high * SIDES[2] ** 2 * _OF_A_PIXEL > LARGEST_TENSOR:
            raise _too_large(high, 1, high * SIDES[2] ** 2 * _OF_A_PIXEL)
        return [dynamic(low, best, high)]
    halved = [MOST >> times for times in range(MOST.bit_length())]
    candidates = [batch] if batch else [(1, min(BEST, high), high) for high in halved]
    for candidate in candidates:
        whole = dynamic(*candidate)
        found = costs(proto, {name: shapes[2] for name, shapes in whole.items()})
        if found.largest <= LARGEST_TENSOR and (found.held <= MEMORY or candidate is candidates[-1]):
            break
    else:
        raise _too_large(candidates[-1][2], most, found.largest)
    low, best, _ = candidate
    return [whole, *(fixed(images) for images in sorted({low, best}) if static)]


def _too_large(images: int, patches: int, largest: int) -> PscrError:
    found = f"{images} images of {patches} patches make a tensor of {largest:,} elements"
    advice = "name fewer images with --batch, or fewer --windows of one"
    return PscrError(Status.INVALID_ARGUMENT, f"{found}; TensorRT takes up to {LARGEST_TENSOR:,}; {advice}")


def static_shapes(profiles: Sequence[Profile]) -> list[list[int]]:
    """The shapes of `patches` that the static ones among an engine's profiles are for, in their order."""
    return [list(profile["patches"][0]) for profile in profiles[1:]]
