"""The options that the commands which write a model of a network share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..training.options import option

PRECISIONS = ("fp32", "fp16", "int8")
TARGETS = ("tensorrt", "cpu")
CALIBRATION_IMAGES = 32  # of those given; ranges hardly move with more, and the quantiser takes seconds for each
JUDGING_IMAGES = 64  # others, that a precision is compared with fp32 on
REDUCTION_IMAGES = 500  # that the directions of a reduced regressor are found on
TOLERANCE = (
    "the largest difference of a score from fp32, as a share of the scores' range (default: .004 for fp16, .03 for "
    "int8, whose median may be a fifth of that)"
)
_FOLDER, _PRECISION = "the model folder", "another precision"


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """What is written where, and in which precision.

    output: the model folder. name, version, licence: go into the manifest; without a name the folder's is taken.
    weights: "float", or "half" for large weights that lie on disk in half precision, computed in fp32 either way.
    bake_bank: also write model-baked.onnx, with the bank inside.
    precision: of the trunk. calibrate: images, folders and patterns that it is compared with fp32 on; without any a
        network's own training images. tolerance: see `tolerance.converted`. int8_for: see `precision.to_int8`.
    threads: of the CPU, 0 for all.
    """

    output: Path = option(
        help="the model folder to write; its name by default", short="-o", metavar="DIR", group=_FOLDER
    )
    name: str = option("", help="the model's name (default: the folder's)", group=_FOLDER)
    version: str = option("1.0.0", help="the model's version", group=_FOLDER)
    licence: str = option("Apache-2.0", help="the licence of the weights, for the manifest", group=_FOLDER)
    weights: str = option(
        "float",
        choices=("half", "float"),
        help="how large weights lie on disk, computed in fp32 either way; half makes a smaller file, whose scores may "
        "differ by more than the parity gate allows",
        group=_FOLDER,
    )
    bake_bank: bool = option(False, help="also write model-baked.onnx, with the bank inside: one input", group=_FOLDER)
    precision: str = option(
        "fp32", choices=PRECISIONS, help="of the trunk: from the first convolution to the pool", group=_PRECISION
    )
    calibrate: tuple[str, ...] = option(
        (),
        metavar="PATH",
        help=f"images or folders: int8 is calibrated on {CALIBRATION_IMAGES} of them, and the precision compared with "
        f"fp32 on {JUDGING_IMAGES} others (default: a network's own training images)",
        group=_PRECISION,
    )
    tolerance: float | None = option(None, metavar="SHARE", help=TOLERANCE, group=_PRECISION)
    int8_for: str = option(
        "tensorrt",
        choices=TARGETS,
        help="symmetric activations, which TensorRT needs, or unsigned ones, which are finer and quicker on CPUs",
        group=_PRECISION,
    )
    threads: int = option(0, help="CPU threads, 0 for all")
