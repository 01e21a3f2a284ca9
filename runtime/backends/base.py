"""What every inference backend is: patches in, scores out. It knows constants and a signature, and no families."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ..errors import PscrError, Status
from ..families.head import Floats, Outputs, Signature
from ..pixels import DevicePatches
from ..samplings import Pixels

B = TypeVar("B", bound="Backend")
Patches = Pixels | list[Pixels] | DevicePatches


SIDES = (64, 512, 1024)  # of an image, smallest, usual and largest, for engines of models that see whole images


class Takes(NamedTuple):
    """How much an open backend takes at a time: images of a run, and patches of an image; None for any number.

    sides: the smallest and the largest side of a patch, where the model sees whole images and not every size is taken.
    """

    least: int = 1
    most: int | None = None
    patches: int | None = None
    sides: tuple[int, int] | None = None


class Backend(ABC):
    """One loaded graph with its constants. The constructor does all slow work; `infer` checks, the subclass runs.

    A backend may be used by one thread at a time; it and its `streams` beside each other.
    last_seconds: what the last `infer` took, wall clock; NaN before it.
    patch: side S of the patches in pixels; 0 where they have any height and width, that of an image seen whole.
    memory: the device whose memory it reads images from as well, "cuda:0"; empty where it reads the host's alone.
    gathers: whether it copies the images of a run by itself, from wherever each lies; else they are stacked first.
    passed_over: where a device was chosen and not named, why the better ones were not: a sentence each.
    """

    device: str
    provider: str
    library: str
    memory = ""
    gathers = False
    takes = Takes()
    passed_over: tuple[str, ...] = ()

    def __init__(self, signature: Signature, patch: int) -> None:
        self.signature = signature
        self.patch = patch
        self.last_seconds = math.nan
        self._closed = False

    def infer(self, patches: Patches, terms: bool = False) -> Outputs:
        """Score N images of P patches each, in as many runs as the device needs.

        patches: [N,P,S,S,3] uint8 RGB, C-contiguous, N and P at least 1, or a list of N arrays [P,S,S,3] of one shape;
            or images in this backend's `memory`.
        terms: whether the graph's `terms` are wanted as well, of the same runs.

        Raises:
            PscrError: INVALID_ARGUMENT for another shape or type, or more patches an image than the device takes;
                CLOSED; OUT_OF_MEMORY; INTERNAL; MODEL_INVALID where the graph's outputs have other shapes. Of images in
                device memory also INVALID_ARGUMENT for values beyond their range.
        """
        patches = self._checked(patches)
        started = time.perf_counter()
        runs = [(self.infer_impl(part, terms), count) for part, count in self._runs(patches)]
        self.last_seconds = time.perf_counter() - started
        scores = _joined([outputs.scores[:count] for outputs, count in runs])
        votes = found = None
        if self.signature.votes:
            votes = _joined([outputs.votes[:count] for outputs, count in runs if outputs.votes is not None])
        if terms:
            found = _joined([outputs.terms[:count] for outputs, count in runs if outputs.terms is not None])
        self._check_outputs(len(patches), scores, votes)
        return Outputs(scores, votes, found)

    def terms(self, patches: Patches) -> Floats:
        """The graph's `terms` output of the images, [N,H] float32. Arguments and errors as `infer`."""
        patches = self._checked(patches)
        return _joined([self.terms_impl(part)[:count] for part, count in self._runs(patches)])

    @abstractmethod
    def infer_impl(self, patches: Any, terms: bool) -> Outputs:
        """Run the graph once on checked patches. terms: whether they are wanted as well.

        patches: Pixels; also a list where it `gathers`, and DevicePatches where it has a `memory`.
        """

    @abstractmethod
    def terms_impl(self, patches: Any) -> Floats:
        """Run the graph on checked patches for its `terms` output."""

    def streams(self, count: int) -> list[Backend]:
        """As many backends of the same graph, of one thread each, for `count` threads that infer at once.

        None where inferences of this device cannot run side by side. Whoever asks closes them.

        Raises:
            PscrError: OUT_OF_MEMORY, and whatever the constructor does.
        """
        return []

    @abstractmethod
    def release(self) -> None:
        """Free what the constructor took; called once."""

    def close(self) -> None:
        """Release the backend; a second call does nothing."""
        if not self._closed:
            self._closed = True
            self.release()

    def __enter__(self: B) -> B:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _runs(self, patches: Patches) -> Iterator[tuple[Patches, int]]:
        """Parts of a batch that the device takes, and how many of its images count: a small part is filled up."""
        if isinstance(patches, DevicePatches):  # of which a backend that takes them makes its own parts
            yield patches, len(patches)
            return
        least, most = self.takes[:2]
        size = most or len(patches)
        for first in range(0, len(patches), size):
            part = patches[first : first + size]
            lacking = least - len(part)
            if lacking <= 0:
                yield part, len(part)
            elif isinstance(part, list):
                yield part + part[-1:] * lacking, len(part)
            else:
                yield np.concatenate([part, np.repeat(part[-1:], lacking, 0)]), len(part)

    def _checked(self, patches: Patches) -> Patches:
        if self._closed:
            raise PscrError(Status.CLOSED, "the backend is closed; open the model again")
        if isinstance(patches, DevicePatches):
            if self.memory != patches.batch.device:
                raise patches.batch.refusal(f"the model on {self.device}", self.memory)
            self._check_size(patches.shape)
            return patches
        if isinstance(patches, list) and not self.gathers:
            patches = np.stack(patches)
        for one in (part[None] for part in patches) if isinstance(patches, list) else (patches,):
            self._check_host(one)
        return patches

    def _check_host(self, patches: Pixels) -> None:
        side = str(self.patch or "any")
        expected = f"[N,P,{side},{side},3] uint8, C-contiguous"
        if not isinstance(patches, np.ndarray) or patches.dtype != np.uint8:
            found = str(patches.dtype) if isinstance(patches, np.ndarray) else type(patches).__name__
            raise PscrError(Status.INVALID_ARGUMENT, f"patches are {found}; expected {expected}")
        fits = patches.ndim == 5 and min(patches.shape) > 0 and patches.shape[4] == 3
        fits = fits and (not self.patch or patches.shape[2:4] == (self.patch, self.patch))
        if not fits or not patches.flags.c_contiguous:
            shape = list(patches.shape)
            order = "" if patches.flags.c_contiguous else ", not contiguous"
            raise PscrError(Status.INVALID_ARGUMENT, f"patches are {shape}{order}; expected {expected}")
        self._check_size(patches.shape)

    def _check_size(self, shape: tuple[int, ...]) -> None:
        most = self.takes.patches
        if most is not None and shape[1] > most:
            found = f"{shape[1]} patches an image; this engine takes up to {most}"
            raise PscrError(Status.INVALID_ARGUMENT, f"{found}; build one with more --windows, or use another device")
        least, longest = self.takes.sides or (0, max(shape))
        if not all(least <= side <= longest for side in shape[2:4]):
            found = f"images of {shape[3]}x{shape[2]} pixels; this engine takes sides from {least} to"
            raise PscrError(Status.INVALID_ARGUMENT, f"{found} {longest}; use another device")

    def _check_outputs(self, images: int, scores: Floats, votes: Floats | None) -> None:
        wanted = [images], [images, self.signature.votes]
        if list(scores.shape) == wanted[0] and (votes is None or list(votes.shape) == wanted[1]):
            return
        found = f"score {list(scores.shape)}" + ("" if votes is None else f", votes {list(votes.shape)}")
        expected = f"{wanted[0]}" + ("" if votes is None else f", {wanted[1]}")
        raise PscrError(
            Status.MODEL_INVALID, f"model.onnx gave {found}; expected {expected}; fetch or export the model again"
        )


def check_signature(
    inputs: Mapping[str, tuple[str, Sequence[int | str | None]]],
    outputs: Mapping[str, str],
    signature: Signature,
    patch: int,
) -> None:
    """See that a loaded graph takes patches of this side and a head's constants, and gives what the head needs.

    inputs: the type and shape of each; what is dynamic in a shape is no int. outputs: the type of each.

    Raises:
        PscrError: MODEL_INVALID saying what was found and what was expected.
    """
    kinds = {name: kind for name, (kind, _) in inputs.items()}
    wanted = {"patches": "uint8", **dict.fromkeys(signature.constants, "float32")}
    if kinds != wanted or not all(outputs.get(name) == "float32" for name in signature.outputs):
        found = ", ".join(f"{name} {kind}" for name, kind in (*kinds.items(), *outputs.items()))
        expected = f"{', '.join(wanted)} to {', '.join(signature.outputs)}, patches of uint8, the rest float32"
        raise PscrError(Status.MODEL_INVALID, f"model.onnx has {found[:300]}; expected a score graph: {expected}")
    shape = list(inputs["patches"][1])
    dynamic = len(shape) == 5 and not any(isinstance(side, int) for side in shape[2:4]) and shape[4] == 3
    if not (shape[2:] == [patch, patch, 3] if patch else dynamic):
        cuts = f"cuts {patch} pixels" if patch else "takes images of any size"
        raise PscrError(
            Status.MODEL_INVALID,
            f"model.onnx takes patches {shape}; the manifest's sampling {cuts}; fetch or export the model again",
        )
    for name, constant in signature.constants.items():
        check_constant(name, constant.shape, list(inputs[name][1]), signature.advice)


def check_constant(name: str, found: Sequence[int], taken: Sequence[int | str | None], advice: str) -> None:
    """See that a constant's shape is what a graph takes: the first side may be dynamic, others are numbers there.

    Raises:
        PscrError: MODEL_INVALID.
    """
    numbers = all(isinstance(side, int) for side in taken[1:])
    sides = zip(found, taken, strict=False)
    if not numbers or len(found) != len(taken) or any(isinstance(one, int) and one != side for side, one in sides):
        told = f"{name} is {list(found)}; model.onnx takes [{', '.join(map(str, taken))}]"
        raise PscrError(Status.MODEL_INVALID, f"{told}; {advice}")


def _joined(parts: Sequence[Floats]) -> Floats:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
