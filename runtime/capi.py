"""The flat form of the runtime: functions, integer handles, integer statuses, buffers that the caller owns.

It is what a binding from C or C++ calls, and what a Python program calls that wants no objects and no exceptions:

>>> import array
>>> from pscr.runtime import capi
>>> handle, score = array.array("q", [0]), array.array("d", [0.0, 0.0])
>>> status = capi.pscr_open("agiqa3k-pair", "cpu", 1, handle)
>>> status = capi.pscr_score_file(handle[0], "image.jpg", score) or capi.pscr_close(handle[0])

Rules for all functions; docs/c-api.md is the same in the form of a header.

- The return value is a `Status` number, 0 for success. Nothing raises but KeyboardInterrupt and SystemExit, which are
  the program's own. What went wrong in words: `pscr_last_error`.
- An out buffer belongs to the caller and is not kept: anything with the buffer protocol, writable and C-contiguous
  (numpy arrays, array.array, ctypes numbers and arrays), with items of the type that the function names. Where the
  status is not OK it is as it was before, but for what `pscr_score_batch` says.
- Inputs are read during the call only, and belong to the caller throughout.
- Any thread may call any function at any time; inferences on one handle take turns. A handle is never used again for
  another model, so a call with a closed one is always CLOSED and never somebody else's score.
- A handle works in the process that opened it; in a child made by fork it is CLOSED.
"""

from __future__ import annotations

import functools
import itertools
import json
import math
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from .arguments import whole
from .capi_buffers import contiguous, device_tensor, item, out_buffer, pixels, tensor, wrong
from .errors import PscrError, Status, one_line
from .pipeline import Result, Source
from .scorer import Scorer
from .version import __version__

__all__ = [
    "Status",
    "pscr_close",
    "pscr_info",
    "pscr_last_error",
    "pscr_open",
    "pscr_score_batch",
    "pscr_score_device_tensor",
    "pscr_score_encoded",
    "pscr_score_file",
    "pscr_score_pixels",
    "pscr_score_tensor",
    "pscr_strerror",
    "pscr_version",
]

_WORDS = {
    Status.OK: "success",
    Status.INVALID_ARGUMENT: "an argument is not what the function takes",
    Status.FILE_NOT_FOUND: "there is no such file",
    Status.DECODE_FAILED: "the file is not an image that can be read",
    Status.IMAGE_TOO_LARGE: "the image has more pixels than the limit",
    Status.MODEL_INVALID: "the model folder is damaged, or is none",
    Status.DEVICE_UNAVAILABLE: "the device or the library for it cannot be used here",
    Status.ENGINE_INCOMPATIBLE: "the engine was built for another GPU or library version",
    Status.OUT_OF_MEMORY: "there is not enough memory",
    Status.CLOSED: "the handle is closed",
    Status.INTERNAL: "a fault in pscr or in a library it uses",
}
_MOST_MESSAGES = 64  # handles whose last error a thread keeps

_open: dict[int, Scorer] = {}
_numbers = itertools.count(1)
_issued = 0
_lock = threading.Lock()
_errors = threading.local()
F = TypeVar("F", bound=Callable[..., int])


def _flat(function: F) -> F:
    """The function with its errors turned into statuses; the words are kept for the first argument's handle."""

    @functools.wraps(function)
    def wrapped(*arguments: Any, **named: Any) -> int:
        handle = 0 if function.__name__ == "pscr_open" else arguments[0] if arguments else named.get("handle")
        try:
            return int(function(*arguments, **named))
        except PscrError as error:
            return _failed(handle, error.status, error.message)
        except MemoryError:
            return _failed(handle, Status.OUT_OF_MEMORY, "not enough memory for this call")
        except TypeError as error:  # a wrong number of arguments, as far as a C compiler would have said it
            return _failed(handle, Status.INVALID_ARGUMENT, one_line(error))
        except Exception as error:
            return _failed(handle, Status.INTERNAL, f"{type(error).__name__}: {one_line(error)}; report this")

    return wrapped  # type: ignore[return-value]


@_flat
def pscr_open(model: str, device: str, threads: int, handle_out: Any) -> int:
    """Open a model. Slow (it loads and runs the model once); `pscr_close` releases it.

    model       [in]  name of a packaged model, or path of a model folder.
    device      [in]  "auto", or what `pscr score --help` lists, such as "cpu" or "cuda:1"; only "auto" chooses.
    threads     [in]  CPU threads of inference and OpenCV together, 1 to 1024; 0 for every core.
    handle_out  [out] int32 or int64, 1 item: the handle, above 0.

    Any thread. Returns OK, INVALID_ARGUMENT, MODEL_INVALID, DEVICE_UNAVAILABLE, ENGINE_INCOMPATIBLE, OUT_OF_MEMORY,
    INTERNAL. The words for a failure are `pscr_last_error(0)`.
    """
    global _issued
    out = out_buffer("handle_out", handle_out, 1, np.int64, np.int32)
    scorer = Scorer(model, device, threads if threads != 0 or isinstance(threads, bool) else None)
    with _lock:
        _issued = handle = next(_numbers)
        _open[handle] = scorer
    out[0] = handle
    return Status.OK


@_flat
def pscr_score_file(handle: int, path: str, score_out: Any) -> int:
    """Score an image file.

    handle     [in]  of `pscr_open`.
    path       [in]  str, bytes in the file system's encoding, or os.PathLike.
    score_out  [out] float32 or float64, 1 item or more: [0] the score in opinion-score units of the model's database,
                     not clipped; [1], where the buffer has it, the spread (standard deviation of the votes), NaN where
                     the model has none.

    Any thread. Returns OK, INVALID_ARGUMENT, FILE_NOT_FOUND, DECODE_FAILED, IMAGE_TOO_LARGE, OUT_OF_MEMORY, CLOSED,
    INTERNAL.
    """
    if not isinstance(path, (str, bytes, os.PathLike)):
        raise wrong(f"path is a {type(path).__name__}; expected the name of a file")
    return _score_into(handle, os.fsdecode(path), score_out)


@_flat
def pscr_score_encoded(handle: int, data: Any, score_out: Any) -> int:
    """Score the bytes of an image file.

    handle     [in]  of `pscr_open`.
    data       [in]  the whole file: bytes, or any C-contiguous buffer.
    score_out  [out] as in `pscr_score_file`.

    Any thread. Returns OK, INVALID_ARGUMENT, DECODE_FAILED, IMAGE_TOO_LARGE, OUT_OF_MEMORY, CLOSED, INTERNAL.
    """
    return _score_into(handle, contiguous("data", data), score_out)


@_flat
def pscr_score_pixels(
    handle: int, data: Any, height: int, width: int, stride: int, pixel_format: str, score_out: Any
) -> int:
    """Score pixels in memory, 8 bits a channel, channels interleaved.

    handle         [in]  of `pscr_open`.
    data           [in]  the rows from the top, in any C-contiguous buffer; the last row may end at its last pixel.
    height, width  [in]  in pixels, 1 or more.
    stride         [in]  bytes from a row's start to the next one's, at least a row; 0 where rows follow without a gap.
    pixel_format   [in]  "rgb", "bgr", "rgba", "bgra" or "gray". Alpha is dropped, grey repeated.
    score_out      [out] as in `pscr_score_file`.

    Any thread. Returns OK, INVALID_ARGUMENT, IMAGE_TOO_LARGE, OUT_OF_MEMORY, CLOSED, INTERNAL.
    """
    return _score_into(handle, pixels(data, height, width, stride, pixel_format), score_out, pixel_format)


@_flat
def pscr_score_batch(handle: int, items: Sequence[Any], scores_out: Any, statuses_out: Any) -> int:
    """Score several images; they are decoded beside inference.

    handle        [in]  of `pscr_open`.
    items         [in]  a sequence of n: a str or os.PathLike is a path, bytes (or bytearray, memoryview) an encoded
                        image, a tuple (data, height, width, stride, pixel_format) pixels as in `pscr_score_pixels`.
    scores_out    [out] float32 or float64, n items: the scores; NaN where an item has none.
    statuses_out  [out] int32 or int64, n items: each item's own status, as its own function would return it.

    Any thread. Returns OK where every item has its status, good or bad; else INVALID_ARGUMENT, OUT_OF_MEMORY, CLOSED or
    INTERNAL, and then the items that were not reached have NaN and INTERNAL. The words for the first item that failed
    are `pscr_last_error(handle)`, whose text names its number.
    """
    scorer = _scorer(handle)
    if not isinstance(items, Sequence) or isinstance(items, (str, bytes, bytearray, memoryview)):
        raise wrong(f"items is a {type(items).__name__}; expected a list of images")
    count = len(items)
    scores = out_buffer("scores_out", scores_out, count, np.float64, np.float32)
    statuses = out_buffer("statuses_out", statuses_out, count, np.int32, np.int64)
    scores[:count], statuses[:count] = math.nan, Status.INTERNAL
    refused: dict[int, PscrError] = {}

    def sources() -> Any:
        for place, given in enumerate(items):
            try:
                yield item(given)
            except PscrError as error:
                refused[place] = error
                yield b""  # stands for the item until its result, which is not looked at

    first = ""
    for place, result in enumerate(scorer.score_many(sources(), pixel_format="rgb")):
        error = refused.pop(place, None)
        status, message = (error.status, error.message) if error else (result.status, result.message)
        statuses[place] = status
        if status is Status.OK:
            scores[place] = result.score
        elif not first:
            first = f"item {place}: {message}"
    if first:
        _remember(handle, first)
    return Status.OK


@_flat
def pscr_score_tensor(
    handle: int,
    data: Any,
    shape: Sequence[int],
    layout: str,
    dtype: str,
    value_range: Sequence[float],
    scores_out: Any,
    statuses_out: Any,
) -> int:
    """Score a batch of RGB images of one size that lies in memory as one block.

    handle        [in]  of `pscr_open`.
    data          [in]  the values without gaps, in any C-contiguous buffer of the host's memory.
    shape         [in]  4 numbers: n, height, width, 3, or n, 3, height, width, as the layout says; n may be 0.
    layout        [in]  "NHWC" or "NCHW".
    dtype         [in]  "uint8", "float16" or "float32", in the machine's byte order.
    value_range   [in]  2 numbers, what black and white are: 0 and 255 (of uint8 always), 0 and 1, or -1 and 1.
    scores_out    [out] float32 or float64, n items: the scores; NaN where an image has none.
    statuses_out  [out] int32 or int64, n items: OK; OUT_OF_MEMORY; INTERNAL, where the network's numbers overflow.

    Any thread. Returns OK where every image has its status; else INVALID_ARGUMENT (also for NaN, values beyond the
    range, and floats of 0 to 255 of which none is above 2), IMAGE_TOO_LARGE, OUT_OF_MEMORY, CLOSED or INTERNAL, and
    then the buffers are as they were. The words for the first image that failed are `pscr_last_error(handle)`.
    """
    return _score_tensor(handle, tensor(data, shape, layout, dtype), layout, value_range, scores_out, statuses_out)


@_flat
def pscr_score_device_tensor(
    handle: int,
    address: int,
    gpu: int,
    stream: int,
    shape: Sequence[int],
    layout: str,
    dtype: str,
    value_range: Sequence[float],
    scores_out: Any,
    statuses_out: Any,
) -> int:
    """`pscr_score_tensor` of a block in the memory of the GPU that the model is open on as "tensorrt".

    address  [in]  of the first value, on the GPU.
    gpu      [in]  the GPU's number.
    stream   [in]  a CUDA stream, whose work has to end before the values are read: 1 the legacy default stream, 2 this
                   thread's, else its handle; 0 for none.
    The others, and what is returned, as there; INVALID_ARGUMENT also where the model does not read that memory.
    """
    batch = device_tensor(address, gpu, stream, shape, layout, dtype)
    return _score_tensor(handle, batch, layout, value_range, scores_out, statuses_out)


def _score_tensor(
    handle: int, batch: Any, layout: str, value_range: Sequence[float], scores_out: Any, statuses_out: Any
) -> int:
    scorer, images = _scorer(handle), batch.shape[0]
    scores = out_buffer("scores_out", scores_out, images, np.float64, np.float32)
    statuses = out_buffer("statuses_out", statuses_out, images, np.int32, np.int64)
    results = scorer.score_pixels(batch, layout, value_range)
    scores[:images] = [result.score for result in results]
    statuses[:images] = [result.status for result in results]
    first = next((place for place, result in enumerate(results) if not result.ok), None)
    if first is not None:
        _remember(handle, f"item {first}: {results[first].message}")
    return Status.OK


def pscr_info(handle: int, key: str) -> str | None:
    """A fact about an open handle as text.

    handle  [in] of `pscr_open`.
    key     [in] a key of `Scorer.info` ("model", "device", "meaning", "range", "bank" ...), or "keys" for all of them.

    Any thread. Returns text (what is no text is written as JSON), or None where the handle is not open or the key not
    known; `pscr_last_error(handle)` then says which.
    """
    found: list[str] = []

    def look(number: int) -> int:
        info = _scorer(number).info
        if key == "keys":
            found.append(" ".join(info))
        elif key in info:
            found.append(info[key] if isinstance(info[key], str) else json.dumps(info[key], ensure_ascii=False))
        else:
            raise wrong(f"key {key!r} is not known; expected keys or one of: {' '.join(info)}")
        return Status.OK

    return found[0] if _flat(look)(handle) == Status.OK else None


def pscr_last_error(handle: int) -> str:
    """What went wrong in the calling thread's latest failed call with this handle, as one line.

    handle  [in] of `pscr_open`, open or closed; 0 for `pscr_open` itself and for a handle that is none.

    Any thread; each has its own. Returns "" where nothing went wrong. A thread keeps the words of its last 64 handles.
    """
    return _kept().get(_number(handle), "")


def pscr_strerror(status: int) -> str:
    """What a status means, in words; for a number that is no status it says so. Any thread."""
    try:
        return _WORDS[Status(status)]
    except (ValueError, TypeError):
        return f"unknown status {status!r}"


@_flat
def pscr_close(handle: int) -> int:
    """Release a model, after the inference that another thread is in. Closing a closed handle does nothing.

    handle  [in] of `pscr_open`.

    Any thread. Returns OK, or INVALID_ARGUMENT for a number that no `pscr_open` gave.
    """
    number = _known(handle)
    with _lock:
        scorer = _open.pop(number, None)
    if scorer is not None:
        scorer.close()
    return Status.OK


def pscr_version() -> str:
    """The version of pscr, such as "1.0.0". Any thread."""
    return __version__


def _score_into(handle: int, source: Source, score_out: Any, pixel_format: str | None = None) -> int:
    scorer = _scorer(handle)
    out = out_buffer("score_out", score_out, 1, np.float64, np.float32)
    result: Result = scorer.score(source, pixel_format=pixel_format)
    out[0] = result.score
    if len(out) > 1:
        out[1] = math.nan if result.spread is None else result.spread
    return Status.OK


def _scorer(handle: int) -> Scorer:
    number = _known(handle)
    scorer = _open.get(number)
    if scorer is None:
        raise PscrError(Status.CLOSED, f"handle {number} is closed; open the model again")
    return scorer


def _known(handle: int) -> int:
    number = _number(handle)
    if not number:
        raise wrong(f"handle {handle!r} is none that pscr_open gave")
    return number


def _number(handle: Any) -> int:
    """The handle, or 0 for anything that `pscr_open` never gave."""
    return whole(handle, 1, _issued) or 0


def _failed(handle: Any, status: Status, message: str) -> int:
    _remember(handle, message)
    return int(status)


def _remember(handle: Any, message: str) -> None:
    number = _number(handle)
    kept = _kept()
    kept[number] = message
    kept.move_to_end(number)
    while len(kept) > _MOST_MESSAGES:
        kept.popitem(last=False)


def _kept() -> OrderedDict[int, str]:
    if not hasattr(_errors, "kept"):
        _errors.kept = OrderedDict()
    kept: OrderedDict[int, str] = _errors.kept
    return kept
