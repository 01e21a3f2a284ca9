"""Opening a model and scoring images with it."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Literal

from .arguments import plain, several, whole
from .backends.base import Patches
from .bank import Bank
from .diagnosis import Classifier
from .errors import PscrError, Status, as_error
from .families.head import Floats, Outputs
from .image import DEFAULT_MAX_PIXELS
from .open_model import DEFAULT_MODEL, OpenModel
from .pipeline import Prepared, Result, Seen, Source, failed, finish, score_all, without_votes
from .pixels import DeviceBatch, DevicePatches, read
from .reference import Reference, check_given
from .regressor import Regressor
from .samplings import Pixels


def open(
    model: str | os.PathLike[str] = DEFAULT_MODEL,
    device: str = "auto",
    threads: int | None = None,
    *,
    bank: str | os.PathLike[str] | Bank | None = None,
    head: str | os.PathLike[str] | Regressor | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    jpeg: Literal["cpu", "gpu"] = "cpu",
    precision: Literal["exact", "fast"] = "exact",
) -> Scorer:
    """Open a model: all slow work happens here, so that `Scorer.score` is fast from the first image on.

    model: a packaged model's name or a model folder.
    device: auto, or one of `devices.EXPECTED`, which `pscr score --help` lists, such as cpu, cuda:1 or openvino. Only
        auto chooses; another device that cannot be had is an error.
    threads: CPU threads of the inference library and of OpenCV together; None for every core this process may use (its
        affinity, its container's quota). OpenCV's number of threads belongs to the whole process.
    bank: a bank.npz, or a Bank, in place of the model's own; `pscr bank build` makes one.
    head: a head.npz, or a Regressor, in place of what votes in a model of any family; `pscr regress` makes one.
    max_pixels: largest height * width of an input image.
    jpeg: where JPEGs are decoded; "gpu" on the model's GPU, or the first one, which moves scores a little and is for
        CPUs that cannot keep up (`pip install 'pscr[nvjpeg]'`). What it cannot decode the CPU does.
    precision: what auto may choose from on a CPU: "exact", what computes in fp32, to 1e-4 of five points; or "fast",
        also what rounds (bf16), where scores differ by 2 % of the range at most. Which of them is the fastest is
        measured when a model is first opened, and kept below $PSCR_CACHE; `Scorer.info["passed_over"]` has the figures.

    Raises:
        PscrError: MODEL_INVALID, DEVICE_UNAVAILABLE, INVALID_ARGUMENT, FILE_NOT_FOUND (the bank, the head).
    """
    return Scorer(model, device, threads, bank=bank, head=head, max_pixels=max_pixels, jpeg=jpeg, precision=precision)


class Scorer(OpenModel):
    """An open model that scores images. It may be shared by threads; inferences then take turns."""

    def score(
        self,
        source: Source,
        *,
        pixel_format: str | None = None,
        reference: Source | Reference | None = None,
        diagnose: bool = False,
    ) -> Result:
        """Score one image.

        source: a path, the bytes of an encoded image, a uint8 array [H,W,3], [H,W] or [H,W,4], or a Pillow image; also
            a value of a pyarrow column of such.
        pixel_format: rgb | bgr | rgba | bgra | gray; needed for an array of 3 or 4 channels.
        reference: the undistorted original, of the same size; for a full-reference model, which needs it, and no other.
        diagnose: whether the result is to have a diagnosis: what the image looks like. The score is the same.

        Raises:
            PscrError: FILE_NOT_FOUND, INVALID_ARGUMENT (also for `diagnose` where the model has no diagnosis),
                DECODE_FAILED, IMAGE_TOO_LARGE, OUT_OF_MEMORY, CLOSED, INTERNAL.
        """
        classifier = self.classifier() if diagnose else None
        self._inference.check_open()
        source = plain(source)
        original = self._original(reference, pixel_format)
        try:
            prepared = self._prepare(source, pixel_format, original)
        except Exception as error:
            raise as_error(error) from None
        return self.finish(source, prepared, original, classifier)

    def reference(self, source: Source, *, pixel_format: str | None = None) -> Reference:
        """Look at an original once, for any number of images. Arguments and errors as `score`."""
        self._inference.check_open()
        self.check_scores(True)
        try:
            prepared = self.prepare(plain(source), pixel_format)
        except Exception as error:
            found = as_error(error)
            raise PscrError(found.status, f"the reference: {found.message}") from None
        return Reference(self.terms(prepared.patches[None])[0], prepared.width, prepared.height)

    def check_scores(self, reference: bool) -> None:
        """See that images can be scored, and that they come with a reference if the model needs one, and only then.

        Raises:
            PscrError: INVALID_ARGUMENT, with the call that would be right.
        """
        check_given(self._head, reference, self._manifest.name)
        self._head.check_scores()

    def _original(self, given: Source | Reference | None, pixel_format: str | None) -> Reference | None:
        self.check_scores(given is not None)
        return (
            given if given is None or isinstance(given, Reference) else self.reference(given, pixel_format=pixel_format)
        )

    def _prepare(self, source: Source, pixel_format: str | None, original: Reference | None) -> Prepared:
        prepared = self.prepare(source, pixel_format)
        return prepared if original is None else original.matched(prepared)

    def score_many(
        self,
        sources: Iterable[Source],
        *,
        pixel_format: str | None = None,
        batch: int | None = None,
        on_error: Literal["result", "raise"] = "result",
        diagnose: bool = False,
        reference: Source | Reference | None = None,
    ) -> Iterator[Result]:
        """Score any number of images; results come in the order of `sources`, as they are ready.

        Decoding runs in threads beside inference, a bounded number of images ahead, so memory does not grow with the
        number of images and `sources` may be endless. On a CPU, from some dozens of images on, as many images are
        inferred side by side as there are `threads`. An image that cannot be read gives a Result with its status
        and message and does not stop the rest.

        A column of a table is such an iterable, and results come in its order, so they go back beside it:
            frame["score"] = [result.score for result in scorer.score_many(frame["path"])]          # pandas
            data = data.add_column("score", [r.score for r in scorer.score_many(data["image"])])    # datasets
        A missing path gives a Result without a score, so that no row moves.

        sources, pixel_format: see `score`; an array must stay as it is until its result has come. At most
            3 * batch + 4 sources are read before the first result is given; on a GPU 3 * batch + threads, and one by
            one on a CPU threads + 7.
        batch: images per inference; None for a good number on this device.
        on_error: "result", or "raise" to end at the first image without a score with its error, after the results
            before it.
        diagnose: see `score`.
        reference: one original for all images, see `score`; it is looked at once, and its errors are raised at once.

        Raises:
            PscrError: INVALID_ARGUMENT (batch, on_error, diagnose, sources that are one image or a whole table), CLOSED
                and OUT_OF_MEMORY or INTERNAL where inference itself fails; with on_error="raise" also those of `score`.
        """
        if on_error not in ("result", "raise"):
            raise PscrError(Status.INVALID_ARGUMENT, f"on_error is {on_error!r}; expected 'result' or 'raise'")
        scored = self.score_with_votes(
            sources,
            pixel_format=pixel_format,
            batch=batch,
            raising=on_error == "raise",
            reference=reference,
            diagnose=diagnose,
        )
        return without_votes(scored)

    def score_with_votes(
        self,
        sources: Iterable[Source],
        *,
        pixel_format: str | None = None,
        batch: int | None = None,
        raising: bool = False,
        diagnose: bool = False,
        reference: Source | Reference | None = None,
    ) -> Generator[tuple[Result, Floats | None], None, None]:
        """`score_many` with each image's votes [K] float32 beside its Result; None where nobody votes."""
        size = self.batch if batch is None else whole(batch)
        if size is None:
            raise PscrError(Status.INVALID_ARGUMENT, f"batch is {batch!r}; expected a whole number of 1 or more")
        images = several(sources)
        classifier = self.classifier() if diagnose else None
        self._inference.check_open()
        original = self._original(reference, pixel_format)
        return self._score_all(
            images, lambda source: self._prepare(source, pixel_format, original), size, raising, original, classifier
        )

    def score_pixels(self, pixels: Any, layout: str = "NHWC", value_range: Sequence[float] = (0, 255)) -> list[Result]:
        """Score a batch of RGB images that is one array or tensor, such as a generator's output.

        pixels: [N,H,W,3] or [N,3,H,W] of uint8, float16 or float32, with any strides. In host memory: a NumPy array, or
            what has `__dlpack__` or `__array_interface__` (torch, JAX, CuPy's pinned memory); uint8 of contiguous
            images is read where it lies. In a GPU's: what has `__cuda_array_interface__` (torch, CuPy, JAX, Numba),
            where the model is open on that GPU as `tensorrt`; it is read there, after the work that its producer has
            still to do. It must stay as it is during the call.
        layout: "NHWC" or "NCHW".
        value_range: what black and white are: (0, 255), (0, 1) or (-1, 1).

        The scores are those of `score` on the same pixels; floats become the levels that diffusers' PIL images have
        (see pixels.py). What the layout and the range do not fit is refused with the call that would be right, and so
        are floats of (0, 255) of which none is above 2.

        Returns a Result for each image, in order: none for N = 0. What fails on one image (memory, a score that is not
        finite) is that image's status.

        Raises:
            PscrError: INVALID_ARGUMENT (also for NaN, values beyond the range, a tensor that requires a gradient or is
                on another device, channels other than 3), IMAGE_TOO_LARGE, OUT_OF_MEMORY, CLOSED, INTERNAL.
        """
        self._inference.check_open()
        batch = read(pixels, layout, value_range)
        if isinstance(batch, DeviceBatch):
            return self._score_there(batch)
        batch.check()
        self._preparation.check_size(*batch.shape[1:3])
        scored = self._score_all(batch.images(), lambda image: self.prepare(batch.levels(image), "rgb"), self.batch)
        return [result for result, _ in scored]

    def _score_there(self, batch: DeviceBatch) -> list[Result]:
        """`score_pixels` of images in a device's memory. Errors as there."""
        images, height, width, _ = batch.shape
        if not images:
            return []
        self._preparation.check_size(height, width)
        plan = self._sampling.plan(height, width)
        if plan is None:
            raise batch.refusal(f"{self._manifest.name}, whose sampling is {self._sampling.method},", "")
        outputs = self.infer(DevicePatches(batch, plan))
        seen = Seen(width, height, "; ".join(self._sampling.in_words(height, width)))
        scored = (finish(None, seen, row, self._head) for row in outputs.rows())
        return [failed(None, one) if isinstance(one, PscrError) else one for one in scored]

    def _score_all(
        self,
        sources: Iterable[Source],
        prepare: Callable[[Source], Prepared],
        batch: int,
        raising: bool = False,
        reference: Reference | None = None,
        classifier: Classifier | None = None,
    ) -> Generator[tuple[Result, Floats | None], None, None]:
        return score_all(
            sources,
            prepare,
            partial(self.infer, terms=classifier is not None, reference=reference),
            head=self._head,
            batch=batch,
            workers=self.decoders,
            streams=self.streams,
            raising=raising,
            classifier=classifier,
        )

    def pixels(self, source: Source, *, pixel_format: str | None = None) -> Pixels:
        """The upright image that `score` would judge, [H,W,3] uint8 RGB. Arguments and errors as `score`."""
        self._inference.check_open()
        return self._preparation.pixels(plain(source), pixel_format)

    def patches(self, source: Source, *, pixel_format: str | None = None) -> Pixels:
        """The patches that `score` would show the network, [P,S,S,3] uint8 RGB. Arguments and errors as `score`."""
        self._inference.check_open()
        return self.prepare(source, pixel_format).patches

    def finish(
        self,
        source: Source,
        prepared: Prepared,
        reference: Reference | None = None,
        classifier: Classifier | None = None,
    ) -> Result:
        """The Result of an image that was prepared, with the diagnosis of a classifier. Errors as `score`."""
        (row,) = self.infer(prepared.patches[None], classifier is not None, reference).rows()
        result = finish(source, prepared, row, self._head, classifier)
        if isinstance(result, PscrError):
            raise result
        return result

    def infer(self, patches: Patches, terms: bool = False, reference: Reference | None = None) -> Outputs:
        """Score ready patches: [N,P,S,S,3] uint8 RGB, C-contiguous, a list of such of single images, or DevicePatches.

        Gives scores [N], and votes [N,K] where some vote.

        terms: whether the graph's `terms` [N,C] are given as well, of the same inference.

        N may be any number: what the device cannot take at once it takes in parts. With P = 1 every patch is an image
        of its own, which gives patch scores. reference: the original of all of them, for a model that needs one.

        Raises:
            PscrError: INVALID_ARGUMENT, CLOSED, OUT_OF_MEMORY, INTERNAL.
        """
        self._inference.check_open()
        self.check_scores(reference is not None)
        return self._inference.infer(patches, terms, None if reference is None else reference.terms)

    def terms(self, patches: Pixels) -> Any:
        """The graph's `terms` [N,H] float32 of ready patches, of which banks are made. Errors as `infer`."""
        return self._inference.terms(patches)

    def prepare(self, source: Source, pixel_format: str | None = None) -> Prepared:
        """Decode an image and cut its patches: all that comes before the network. Arguments and errors as `score`."""
        return self._preparation.prepare(source, pixel_format)
