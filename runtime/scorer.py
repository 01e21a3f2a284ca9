"""Opening a model and scoring images with it."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import cv2
import numpy as np

from . import golden, models
from .backends.base import Floats, Outputs
from .bank import Bank
from .calibration import Calibration
from .devices import connect
from .errors import PscrError, Status, one_line
from .graph_check import check_graph
from .image import DEFAULT_MAX_PIXELS, load
from .manifest import Manifest
from .pipeline import Prepared, Result, Source, finish, score_all
from .sampling import Pixels

_log = logging.getLogger(__name__)
DEFAULT_MODEL = "agiqa3k-pair"
_SAME_TERMS = 0.3  # relative distance of a bank's probe: fp16 has 0.007, int8 0.1, another training run 1.1
_MOST_THREADS = 1024  # more would only take memory from the process until it is ended


def open(
    model: str | os.PathLike[str] = DEFAULT_MODEL,
    device: str = "auto",
    threads: int | None = None,
    *,
    bank: str | os.PathLike[str] | Bank | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> Scorer:
    """Open a model: all slow work happens here, so that `Scorer.score` is fast from the first image on.

    model: a packaged model's name or a model folder.
    device: auto | cpu | cuda[:N] | tensorrt[:N] | openvino | openvino-bf16. Only auto chooses; another device that
        cannot be had is an error.
    threads: CPU threads of the inference library and of OpenCV together; None for every core this process may use.
        OpenCV's number of threads belongs to the whole process.
    bank: a bank.npz, or a Bank, in place of the model's own; `pscr bank build` makes one.
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
        bank: str | os.PathLike[str] | Bank | None = None,
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
        started = time.perf_counter()
        self._folder = models.locate(model)
        self._manifest = Manifest.read(self._folder)
        graph = self._manifest.read_verified(self._folder, "model.onnx")
        check_graph(graph)
        own = self._manifest.read_verified(self._folder, "bank.npz") if bank is None else b""
        self._bank = Bank.from_bytes(own, str(self._folder / "bank.npz")) if bank is None else _bank(bank)
        self._own_bank = bank is None
        entry = self._manifest.calibration if self._own_bank else self._bank.about.get("calibration")
        self._calibration = (
            None if entry is None else Calibration.from_dict(entry, str(self._folder) if bank is None else "the bank")
        )
        self._asked, self._threads, self._max_pixels = device, threads, max_pixels
        self._sampling = self._manifest.sampling
        self._lock = threading.Lock()
        units = self._bank.in_model_units()
        try:
            self._backend = connect(device, graph, units, self._sampling.patch, threads, self._folder)
        except UnicodeDecodeError as error:  # onnxruntime gives a graph's names as text, whatever their bytes are
            found = f"model.onnx has names that are not UTF-8 ({one_line(error)}); fetch or export the model again"
            raise PscrError(Status.MODEL_INVALID, found) from error
        self._closed = False
        self._process = os.getpid()
        cv2.setNumThreads(threads)
        self._warm_up()
        if self._bank.probe is not None:
            self._check_probe(self._bank.probe)
        name, seconds = f"{self._manifest.name} {self._manifest.version}", time.perf_counter() - started
        _log.info("opened %s with %d exemplars on %s in %.2f s", name, len(self._bank), self._backend.device, seconds)

    def score(self, source: Source, *, pixel_format: str | None = None) -> Result:
        """Score one image.

        source: a path, the bytes of an encoded image, a uint8 array [H,W,3], [H,W] or [H,W,4], or a Pillow image.
        pixel_format: rgb | bgr | rgba | bgra | gray; needed for an array of 3 or 4 channels.

        Raises:
            PscrError: FILE_NOT_FOUND, INVALID_ARGUMENT, DECODE_FAILED, IMAGE_TOO_LARGE, OUT_OF_MEMORY, CLOSED,
                INTERNAL.
        """
        self._check_open()
        return self.finish(source, self.prepare(source, pixel_format))[0]

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

        A column of a table is such an iterable, and results come in its order, so they go back beside it:
            frame["score"] = [result.score for result in scorer.score_many(frame["path"])]          # pandas
            data = data.add_column("score", [r.score for r in scorer.score_many(data["image"])])    # datasets
        A missing path gives a Result without a score, so that no row moves.

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
        if hasattr(sources, "columns") or hasattr(sources, "column_names"):  # iterating gives names, or whole rows
            found = f"sources is a table ({type(sources).__name__}); expected one column of it"
            raise PscrError(Status.INVALID_ARGUMENT, f"{found}, such as table['path']")
        self._check_open()
        return score_all(
            sources,
            lambda source: self.prepare(source, pixel_format),
            self.infer,
            calibration=self._calibration,
            batch=batch or self.batch,
            workers=min(4, self._threads),
            raising=on_error == "raise",
        )

    def pixels(self, source: Source, *, pixel_format: str | None = None) -> Pixels:
        """The upright image that `score` would judge, [H,W,3] uint8 RGB. Arguments and errors as `score`."""
        self._check_open()
        return load(source, pixel_format=pixel_format, max_pixels=self._max_pixels)

    def patches(self, source: Source, *, pixel_format: str | None = None) -> Pixels:
        """The patches that `score` would show the network, [P,S,S,3] uint8 RGB. Arguments and errors as `score`."""
        self._check_open()
        return self.prepare(source, pixel_format).patches

    def finish(self, source: Source, prepared: Prepared) -> tuple[Result, Floats]:
        """The Result of an image that was prepared, and its votes [K] float32. Errors as `score`."""
        outputs = self.infer(prepared.patches[None])
        result = finish(source, prepared, outputs.scores[0], outputs.votes[0], self._calibration)
        if isinstance(result, PscrError):
            raise result
        return result, outputs.votes[0]

    def infer(self, patches: Pixels) -> Outputs:
        """Score ready patches: [N,P,S,S,3] uint8 RGB, C-contiguous, to scores [N] and votes [N,K] float32.

        With P = 1 every patch is an image of its own, which gives patch scores.

        Raises:
            PscrError: INVALID_ARGUMENT, CLOSED, OUT_OF_MEMORY, INTERNAL.
        """
        self._check_open()  # before the lock too: in a fork no one would ever release it
        with self._lock:
            self._check_open()
            outputs = self._backend.infer(patches)
        return outputs if self._bank.scale == 1 else Outputs(*(self._bank.scale * values for values in outputs))

    def terms(self, patches: Pixels) -> Any:
        """The exemplar terms [N,H] float32 of ready patches, of which banks are made. Errors as `infer`."""
        self._check_open()
        with self._lock:
            self._check_open()
            return self._backend.terms(patches)

    @property
    def batch(self) -> int:
        """Images per inference where the caller names no number."""
        return 1 if self._backend.device in ("cpu", "openvino", "openvino-bf16") else 8

    @property
    def manifest(self) -> Manifest:
        """The open model's manifest."""
        return self._manifest

    @property
    def bank(self) -> Bank:
        """The bank that votes; its scores are in the units of `score`."""
        return self._bank

    @property
    def calibration(self) -> Calibration | None:
        """What the spread stands for with this model and bank, where it was measured."""
        return self._calibration

    def interval(self, result: Result, level: float = 0.9) -> tuple[float, float]:
        """The lowest and highest opinion score that people would give the image, with probability `level`.

        Raises:
            PscrError: INVALID_ARGUMENT for a level that was not measured, a result without a score, or where model
                and bank were not calibrated.
        """
        if self._calibration is None:
            advice = "calibrate with: pscr evaluate MODEL --data DATA --calibrate"
            raise PscrError(Status.INVALID_ARGUMENT, f"{self._manifest.name} has no calibration; {advice}")
        if not result.ok:
            raise PscrError(Status.INVALID_ARGUMENT, f"there is no score of {result.path}, so there is no interval")
        return self._calibration.interval(result.score, result.spread, level)

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
            "range": self._range(),
            "higher_is_better": manifest.score.higher_is_better,
            "bank": len(backend.bank),
            "interval": self._calibration.in_words() if self._calibration else None,
            "training": manifest.training,
            "licence": manifest.licence,
            "device_asked": self._asked,
            "device": backend.device,
            "provider": backend.provider,
            "library": backend.library,
            "threads": self._threads,
        }

    def close(self) -> None:
        """Release the model, after an inference that another thread is in; a second call does nothing.

        In a fork of the process that opened it, it only marks this copy as closed.
        """
        if os.getpid() != self._process:
            self._closed = True
            return
        with self._lock:
            if not self._closed:
                _log.info("closed %s %s", self._manifest.name, self._manifest.version)
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

    def _check_probe(self, probe: Any) -> None:
        """Refuse a bank whose terms another network computed: they have the right width by chance only."""
        image = next(iter(golden.golden_images().values()))
        found = self._backend.terms(self._sampling.cut(image)[None])[0]
        distance = float(np.linalg.norm(found - probe) / max(float(np.linalg.norm(found)), 1e-12))
        if not distance <= _SAME_TERMS:
            self._backend.close()
            built = " ".join(str(self._bank.about.get(key, "?")) for key in ("model", "version"))
            here = f"{self._manifest.name} {self._manifest.version}"
            raise PscrError(
                Status.MODEL_INVALID,
                f"the bank was built with another model ({built}; this is {here}); build it again with this one",
            )

    def _range(self) -> list[float]:
        """Lowest and highest opinion score: of the model's database, or of another bank's labels."""
        if self._own_bank:
            return list(self._manifest.score.range)
        return [float(self._bank.scores.min()), float(self._bank.scores.max())]

    def _check_open(self) -> None:
        if os.getpid() != self._process:  # without the library's threads, for which it would wait
            found = f"this Scorer belongs to process {self._process}, and this is a fork of it"
            raise PscrError(Status.CLOSED, f"{found}; open the model again in this process, or start it with spawn")
        if self._closed:
            raise PscrError(Status.CLOSED, "this Scorer is closed; open the model again")

    def prepare(self, source: Source, pixel_format: str | None = None) -> Prepared:
        """Decode an image and cut its patches: all that comes before the network. Arguments and errors as `score`."""
        notes: list[str] = []
        image = load(source, pixel_format=pixel_format, max_pixels=self._max_pixels, notes=notes)
        height, width = image.shape[:2]
        tall, wide = self._sampling.frame_size(height, width)
        if tall * wide > max(self._max_pixels, height * width, self._sampling.patch**2):
            how = "scaling" if self._sampling.resized else "padding"
            found = f"{width}x{height} needs {how} to {wide}x{tall}, above {self._max_pixels} pixels; scale it down"
            raise PscrError(Status.IMAGE_TOO_LARGE, found)
        most, patches = self._backend.most_patches, self._sampling.patches(height, width)
        if most is not None and patches > most:
            found = f"{width}x{height} gives {patches} patches; this engine takes up to {most} an image"
            advice = "build one with --windows, crop the image, or use another device"
            raise PscrError(Status.INVALID_ARGUMENT, f"{found}; {advice}")
        notes += self._sampling.in_words(height, width)
        return Prepared(self._sampling.cut(image), width, height, "; ".join(notes))


def _bank(bank: str | os.PathLike[str] | Bank) -> Bank:
    if isinstance(bank, Bank):
        return bank
    try:
        return Bank.read(Path(bank))
    except TypeError as error:
        found = f"bank is a {type(bank).__name__}; expected the path of a bank.npz, or a Bank"
        raise PscrError(Status.INVALID_ARGUMENT, found) from error
