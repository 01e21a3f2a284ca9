"""Opening a model and scoring images with it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import cv2
import numpy as np

from . import models
from .backends.base import Outputs
from .bank import Bank
from .devices import connect
from .errors import PscrError, Status
from .image import DEFAULT_MAX_PIXELS, load
from .manifest import Manifest
from .pipeline import Prepared, Result, Source, finish, score_all
from .sampling import Pixels

DEFAULT_MODEL = "agiqa3k-lite0"
_MOST_THREADS = 1024  # more would only take memory from the process until it is ended


def open(
    model: str | os.PathLike[str] = DEFAULT_MODEL,
    device: str = "auto",
    threads: int | None = None,
    *,
    bank: str | os.PathLike[str] | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> Scorer:
    """Open a model: all slow work happens here, so that `Scorer.score` is fast from the first image on.

    model: a packaged model's name or a model folder.
    device: auto | cpu | cuda[:N] | tensorrt[:N] | openvino. Only auto chooses; another device that cannot be had
        is an error.
    threads: CPU threads of the inference library and of OpenCV together; None for every core this process may use.
        OpenCV's number of threads belongs to the whole process.
    bank: a bank.npz in place of the model's own.
    max_pixels: largest height * width of an input image.

    Raises:
        PscrError: MODEL_INVALID, DEVICE_UNAVAILABLE, INVALID_ARGUMENT, FILE_NOT_FOUND (the bank).
    """
    return Scorer(model, device, threads, bank=bank, max_pixels=max_pixels)


class Scorer:
    """An open model. It may be shared by threads; inferences then take turns."""

    def __init__(
        self,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        device: str = "auto",
        threads: int | None = None,
        *,
        bank: str | os.PathLike[str] | None = None,
        max_pixels: int = DEFAULT_MAX_PIXELS,
    ) -> None:
        """See `open`."""
        if threads is None:
            threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= _MOST_THREADS:
            raise PscrError(
                Status.INVALID_ARGUMENT, f"threads is {threads!r}; expected a whole number from 1 to {_MOST_THREADS}"
            )
        if isinstance(max_pixels, bool) or not isinstance(max_pixels, int) or max_pixels < 1:
            raise PscrError(Status.INVALID_ARGUMENT, f"max_pixels is {max_pixels!r}; expected 1 or more")
        self._folder = models.locate(model)
        self._manifest = Manifest.read(self._folder)
        graph = self._manifest.read_verified(self._folder, "model.onnx")
        own = self._manifest.read_verified(self._folder, "bank.npz") if bank is None else b""
        exemplars = Bank.from_bytes(own, str(self._folder / "bank.npz")) if bank is None else Bank.read(_bank(bank))
        self._asked, self._threads, self._max_pixels = device, threads, max_pixels
        self._sampling = self._manifest.sampling
        self._lock = threading.Lock()
        self._backend = connect(device, graph, exemplars, self._sampling.patch, threads, self._folder)
        self._closed = False
        cv2.setNumThreads(threads)
        self._warm_up()

    def score(self, source: Source, *, pixel_format: str | None = None) -> Result:
        """Score one image.

        source: a path, the bytes of an encoded image, or a uint8 array [H,W,3], [H,W] or [H,W,4].
        pixel_format: rgb | bgr | rgba | bgra | gray; needed for an array of 3 or 4 channels.

        Raises:
            PscrError: FILE_NOT_FOUND, INVALID_ARGUMENT, DECODE_FAILED, IMAGE_TOO_LARGE, OUT_OF_MEMORY, CLOSED,
                INTERNAL.
        """
        self._check_open()
        prepared = self._prepare(source, pixel_format)
        outputs = self.infer(prepared.patches[None])
        result = finish(source, prepared, outputs.scores[0], outputs.votes[0])
        if isinstance(result, PscrError):
            raise result
        return result

    def score_many(
        self,
        sources: Iterable[Source],
        *,
        pixel_format: str | None = None,
        batch: int | None = None,
        on_error: Literal["result", "raise"] = "result",
    ) -> Iterator[Result]:
        """Score any number of images; results come in the order of `sources`, as they are ready.

        Decoding runs in threads beside inference, a bounded number of images ahead, so memory does not grow with the
        number of images and `sources` may be endless. An image that cannot be read gives a Result with its status
        and message and does not stop the rest.

        sources, pixel_format: see `score`; an array must stay as it is until its result has come. At most
            3 * batch + min(4, threads) sources are read before the first result is given.
        batch: images per inference; None for a good number on this device.
        on_error: "result", or "raise" to end at the first image without a score with its error, after the results
            before it.

        Raises:
            PscrError: INVALID_ARGUMENT (batch, on_error, sources), CLOSED, and OUT_OF_MEMORY or INTERNAL where
                inference itself fails; with on_error="raise" also the errors of `score`.
        """
        if batch is not None and (isinstance(batch, bool) or not isinstance(batch, int) or batch < 1):
            raise PscrError(Status.INVALID_ARGUMENT, f"batch is {batch!r}; expected a whole number of 1 or more")
        if on_error not in ("result", "raise"):
            raise PscrError(Status.INVALID_ARGUMENT, f"on_error is {on_error!r}; expected 'result' or 'raise'")
        if isinstance(sources, (str, bytes, bytearray, os.PathLike)) or not hasattr(sources, "__iter__"):
            found = type(sources).__name__
            raise PscrError(
                Status.INVALID_ARGUMENT, f"sources is one {found}; expected several; pass a list, or use score"
            )
        self._check_open()
        return score_all(
            sources,
            lambda source: self._prepare(source, pixel_format),
            self.infer,
            batch=batch or (1 if self._backend.device == "cpu" else 8),
            workers=min(4, self._threads),
            raising=on_error == "raise",
        )

    def patches(self, source: Source, *, pixel_format: str | None = None) -> Pixels:
        """The patches that `score` would show the network, [P,S,S,3] uint8 RGB. Arguments and errors as `score`."""
        self._check_open()
        return self._prepare(source, pixel_format).patches

    def infer(self, patches: Pixels) -> Outputs:
        """Score ready patches: [N,P,S,S,3] uint8 RGB, C-contiguous, to scores [N] and votes [N,K] float32.

        With P = 1 every patch is an image of its own, which gives patch scores.

        Raises:
            PscrError: INVALID_ARGUMENT, CLOSED, OUT_OF_MEMORY, INTERNAL.
        """
        with self._lock:
            self._check_open()
            return self._backend.infer(patches)

    def terms(self, patches: Pixels) -> Any:
        """The exemplar terms [N,H] float32 of ready patches, of which banks are made. Errors as `infer`."""
        with self._lock:
            self._check_open()
            return self._backend.terms(patches)

    @property
    def manifest(self) -> Manifest:
        """The open model's manifest."""
        return self._manifest

    @property
    def info(self) -> dict[str, Any]:
        """What is open and what runs it, as plain values."""
        manifest, backend = self._manifest, self._backend
        return {
            "model": manifest.name,
            "version": manifest.version,
            "folder": str(self._folder),
            "backbone": manifest.backbone,
            "precision": manifest.precision,
            "sampling": manifest.sampling.to_dict(),
            "meaning": manifest.score.meaning,
            "database": manifest.score.database,
            "range": list(manifest.score.range),
            "higher_is_better": manifest.score.higher_is_better,
            "bank": len(backend.bank),
            "training": manifest.training,
            "licence": manifest.licence,
            "device_asked": self._asked,
            "device": backend.device,
            "provider": backend.provider,
            "library": backend.library,
            "threads": self._threads,
        }

    def close(self) -> None:
        """Release the model, after an inference that another thread is in; a second call does nothing."""
        with self._lock:
            self._closed = True
            self._backend.close()

    def __enter__(self) -> Scorer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _warm_up(self) -> None:
        """Run the graph once, which also proves that it is whole."""
        side = self._sampling.patch
        try:
            outputs = self._backend.infer(np.zeros((1, self._sampling.count, side, side, 3), np.uint8))
        except PscrError as error:
            self._backend.close()
            if error.status is not Status.INTERNAL or self._backend.device != "cpu":
                raise
            found = f"model.onnx cannot be run ({error.message}); fetch or export the model again"
            raise PscrError(Status.MODEL_INVALID, found) from error
        if not np.isfinite(outputs.votes).all():
            self._backend.close()
            found = "model.onnx gives votes that are not finite; fetch or export the model again"
            raise PscrError(Status.MODEL_INVALID, found)

    def _check_open(self) -> None:
        if self._closed:
            raise PscrError(Status.CLOSED, "this Scorer is closed; open the model again")

    def _prepare(self, source: Source, pixel_format: str | None) -> Prepared:
        image = load(source, pixel_format=pixel_format, max_pixels=self._max_pixels)
        height, width = image.shape[:2]
        message = ""
        tall, wide = self._sampling.frame_size(height, width)
        if tall * wide > max(self._max_pixels, height * width, self._sampling.patch**2):
            how = "padding" if self._sampling.pads(height, width) else "scaling"
            found = f"{width}x{height} needs {how} to {wide}x{tall}, above {self._max_pixels} pixels; scale it down"
            raise PscrError(Status.IMAGE_TOO_LARGE, found)
        if self._sampling.pads(height, width):
            message = f"padded from {width}x{height} to {wide}x{tall} by reflection"
        return Prepared(self._sampling.cut(image), width, height, message)


def _bank(path: str | os.PathLike[str]) -> Path:
    try:
        return Path(path)
    except TypeError as error:
        found = f"bank is a {type(path).__name__}; expected the path of a bank.npz"
        raise PscrError(Status.INVALID_ARGUMENT, found) from error
