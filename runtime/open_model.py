"""An open model: what it is, what votes in it, what runs it; opened once and closed once."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeVar

import cv2

from . import cores, device_timing, devices, golden
from .arguments import whole
from .bank import Bank
from .calibration import Calibration
from .diagnosis import Classifier
from .errors import PscrError, Status, one_line
from .families import read_head
from .families.head import Head
from .gpu_jpeg import JpegDecoder
from .image import DEFAULT_MAX_PIXELS
from .inference import Inference
from .manifest import Manifest
from .model_folder import ModelFolder
from .pipeline import Result
from .preparation import Preparation
from .regressor import Regressor
from .score_scale import ScoreScale

_log = logging.getLogger(__name__)
DEFAULT_MODEL = "agiqa3k-pair"
_MOST_THREADS = 1024  # more would only take memory from the process until it is ended
PRECISIONS = {"exact": device_timing.EXACT, "fast": device_timing.FAST}
Opened = TypeVar("Opened", bound="OpenModel")


class OpenModel:
    """What a Scorer scores with. In a fork of the process that opened it, it can only be closed."""

    def __init__(
        self,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        device: str = "auto",
        threads: int | None = None,
        *,
        bank: str | os.PathLike[str] | Bank | None = None,
        head: str | os.PathLike[str] | Regressor | None = None,
        max_pixels: int = DEFAULT_MAX_PIXELS,
        jpeg: Literal["cpu", "gpu"] = "cpu",
        precision: Literal["exact", "fast"] = "exact",
    ) -> None:
        """See `open`."""
        count = cores.usable() if threads is None else whole(threads, most=_MOST_THREADS)
        if count is None:
            raise PscrError(
                Status.INVALID_ARGUMENT, f"threads is {threads!r}; expected a whole number from 1 to {_MOST_THREADS}"
            )
        pixels = whole(max_pixels)
        if pixels is None:
            raise PscrError(Status.INVALID_ARGUMENT, f"max_pixels is {max_pixels!r}; expected 1 or more")
        if jpeg not in ("cpu", "gpu"):
            raise PscrError(Status.INVALID_ARGUMENT, f"jpeg is {jpeg!r}; expected 'cpu' or 'gpu'")
        most_off = _most_off(precision, device)
        started = time.perf_counter()
        self._folder = ModelFolder.read(model)
        self._manifest = self._folder.manifest
        self._head = read_head(self._folder, bank, head)
        self._classifier = self._folder.classifier()
        self._asked, self._threads = device, count
        votes = {"bank": _placed(bank), "head": _placed(head)}
        self._again = partial(
            type(self), self._folder.name, device, threads, **votes, max_pixels=pixels, jpeg=jpeg, precision=precision
        )
        self._sampling = self._manifest.sampling
        opened = devices.Model(
            self._folder.graph(),
            self._head.signature,
            self._sampling.patch,
            count,
            self._folder.path,
            (self._sampling.count, self._sampling.most),
            trials=lambda: [self._sampling.cut(image) for image in golden.golden_images().values()],
            span=self._manifest.score.length,
            most_off=most_off,
        )
        try:
            self._backend = devices.connect(device, opened)
        except UnicodeDecodeError as error:  # onnxruntime gives a graph's names as text, whatever their bytes are
            found = f"model.onnx has names that are not UTF-8 ({one_line(error)}); fetch or export the model again"
            raise PscrError(Status.MODEL_INVALID, found) from error
        self._inference = Inference(self._backend, self._head, devices.entry_of(self._backend).streams(count))
        cv2.setNumThreads(count)
        name = f"{self._manifest.name} {self._manifest.version}"
        try:
            decoder = JpegDecoder(devices.gpu_of(self._backend)) if jpeg == "gpu" else None
            self._preparation = Preparation(self._sampling, self._backend.takes.patches, pixels, decoder)
            devices.try_out(self._backend, self._sampling, self._head, self._classifier, name)
        except BaseException:
            self._backend.close()
            raise
        _log.info("opened %s on %s in %.2f s", name, self._backend.device, time.perf_counter() - started)

    @property
    def batch(self) -> int:
        """Images per inference where the caller names no number."""
        usual, most = devices.entry_of(self._backend).batch, self._backend.takes.most
        return usual if most is None else min(usual, most)

    @property
    def decoders(self) -> int:
        """Threads that decode beside inference."""
        return devices.entry_of(self._backend).decoders(self._threads)

    @property
    def streams(self) -> int:
        """Inferences that run side by side where many come at once."""
        return self._inference.streams

    @property
    def max_pixels(self) -> int:
        """Largest height * width of an input image."""
        return self._preparation.max_pixels

    @property
    def manifest(self) -> Manifest:
        """The open model's manifest."""
        return self._manifest

    @property
    def head(self) -> Head:
        """What votes, on which scale, and how it is calibrated."""
        return self._head

    def classifier(self) -> Classifier:
        """What makes a diagnosis of the model's terms.

        Raises:
            PscrError: INVALID_ARGUMENT where the model has none.
        """
        if self._classifier is None:
            raise self._folder.no_classifier()
        return self._classifier

    @property
    def scale(self) -> ScoreScale:
        """What the scores mean: the model's own scale, or that of the bank that stands in its place."""
        return self._head.scale

    @property
    def calibration(self) -> Calibration | None:
        """What the spread, or a constant width, stands for with this model and bank, where it was measured."""
        return self._head.calibration

    def interval(self, result: Result, level: float = 0.9) -> tuple[float, float]:
        """The lowest and highest opinion score that people would give the image, with probability `level`.

        Raises:
            PscrError: INVALID_ARGUMENT for a level that was not measured, a result without a score, or where model
                and bank were not calibrated.
        """
        if self.calibration is None:
            advice = "calibrate with: pscr evaluate MODEL --data DATA --calibrate"
            raise PscrError(Status.INVALID_ARGUMENT, f"{self._manifest.name} has no calibration; {advice}")
        if not result.ok:
            raise PscrError(Status.INVALID_ARGUMENT, f"there is no score of {result.path}, so there is no interval")
        found = self.calibration.interval(result.score, result.spread, level)
        if found is None:
            raise PscrError(
                Status.INVALID_ARGUMENT, f"{self._manifest.name} goes by the spread, and this result has none"
            )
        return found

    @property
    def info(self) -> dict[str, Any]:
        """What is open and what runs it, as plain values."""
        manifest, backend = self._manifest, self._backend
        return {
            "model": manifest.name,
            "version": manifest.version,
            "folder": str(self._folder.path),
            "family": manifest.family,
            "backbone": manifest.backbone,
            "precision": manifest.precision,
            "sampling": manifest.sampling.to_dict(),
            **self.scale.to_dict(),
            **self._head.facts(),
            "interval": self.calibration.in_words() if self.calibration else None,
            "diagnosis": list(self._classifier.groups) if self._classifier else None,
            "training": manifest.training,
            "licence": manifest.licence,
            "device_asked": self._asked,
            "passed_over": list(backend.passed_over),
            "device": backend.device,
            "provider": backend.provider,
            "library": backend.library,
            "threads": self._threads,
            "jpeg": str(self._preparation.jpeg or f"opencv {cv2.__version__}"),
        }

    def close(self) -> None:
        """Release the model, after an inference that another thread is in; a second call does nothing.

        In a fork of the process that opened it, it only marks this copy as closed.
        """
        if self._inference.close():
            _log.info("closed %s %s", self._manifest.name, self._manifest.version)

    def __reduce__(self) -> tuple[Callable[[], OpenModel], tuple[()]]:
        """Another process (multiprocessing, joblib, Spark) opens the model again, with the same arguments.

        Raises:
            PscrError: CLOSED.
        """
        if self._inference.closed:
            raise PscrError(Status.CLOSED, "this Scorer is closed; open the model again")
        return self._again, ()

    def __enter__(self: Opened) -> Opened:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _most_off(precision: str, device: str) -> float:
    """How far scores may differ from those of fp32, a part of the range.

    Raises:
        PscrError: INVALID_ARGUMENT for another word, or one that has nothing to choose.
    """
    if not isinstance(precision, str) or precision not in PRECISIONS:
        found = f"precision is {precision!r}; expected {' or '.join(map(repr, PRECISIONS))}"
        raise PscrError(Status.INVALID_ARGUMENT, found)
    if precision == "fast" and device != devices.AUTO:
        found = (
            f"precision 'fast' leaves the choice of a device to auto, and device is {device!r}; leave one of them out"
        )
        raise PscrError(Status.INVALID_ARGUMENT, found)
    return PRECISIONS[precision]


def _placed(given: Any) -> Any:
    """A file's path from wherever the program may be later; anything else as it is."""
    return Path(given).absolute() if isinstance(given, (str, os.PathLike)) else given
