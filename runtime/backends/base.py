"""What every inference backend is: patches in, scores and votes out."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..bank import Bank
from ..errors import PscrError, Status
from ..sampling import Pixels

Floats = NDArray[np.float32]
B = TypeVar("B", bound="Backend")
INPUTS = {"patches": "uint8", "bank_terms": "float32", "bank_scores": "float32"}
OUTPUTS = ("score", "votes", "terms")


class Outputs(NamedTuple):
    """What the score graph gives for N images: scores [N], votes [N,K], all float32 in opinion-score units."""

    scores: Floats
    votes: Floats


class Backend(ABC):
    """One loaded graph with one bank. The constructor does all slow work; `infer` checks, the subclass runs.

    A backend may be used by one thread at a time. last_seconds: what the last `infer` took, wall clock; NaN before it.
    """

    device: str
    provider: str
    library: str
    most_patches: int | None = None  # of an image, where the device takes no more; None for any number

    def __init__(self, bank: Bank, patch: int) -> None:
        self.bank = bank
        self.patch = patch
        self.last_seconds = math.nan
        self._closed = False

    def infer(self, patches: Pixels) -> Outputs:
        """Score N images of P patches each.

        patches: [N,P,S,S,3] uint8 RGB, C-contiguous, N and P at least 1.

        Raises:
            PscrError: INVALID_ARGUMENT for another shape or type; CLOSED; OUT_OF_MEMORY; INTERNAL; MODEL_INVALID
                where the graph's outputs have other shapes.
        """
        self._check(patches)
        started = time.perf_counter()
        outputs = self.infer_impl(patches)
        self.last_seconds = time.perf_counter() - started
        shape = (len(patches), len(self.bank))
        if outputs.scores.shape != shape[:1] or outputs.votes.shape != shape:
            found = f"score {list(outputs.scores.shape)}, votes {list(outputs.votes.shape)}"
            raise PscrError(
                Status.MODEL_INVALID,
                f"model.onnx gave {found}; expected {list(shape[:1])}, {list(shape)}; fetch or export the model again",
            )
        return outputs

    def terms(self, patches: Pixels) -> Floats:
        """The images' own exemplar terms [N,H] float32, of which banks are made. Arguments and errors as `infer`."""
        self._check(patches)
        return self.terms_impl(patches)

    @abstractmethod
    def infer_impl(self, patches: Pixels) -> Outputs:
        """Run the graph on checked patches."""

    @abstractmethod
    def terms_impl(self, patches: Pixels) -> Floats:
        """Run the graph on checked patches for its `terms` output."""

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

    def _check(self, patches: Pixels) -> None:
        if self._closed:
            raise PscrError(Status.CLOSED, "the backend is closed; open the model again")
        expected = f"[N,P,{self.patch},{self.patch},3] uint8, C-contiguous"
        if not isinstance(patches, np.ndarray) or patches.dtype != np.uint8:
            found = patches.dtype if isinstance(patches, np.ndarray) else type(patches).__name__
            raise PscrError(Status.INVALID_ARGUMENT, f"patches are {found}; expected {expected}")
        fits = patches.ndim == 5 and patches.shape[2:] == (self.patch, self.patch, 3) and min(patches.shape[:2]) > 0
        if not fits or not patches.flags.c_contiguous:
            shape = list(patches.shape)
            order = "" if patches.flags.c_contiguous else ", not contiguous"
            raise PscrError(Status.INVALID_ARGUMENT, f"patches are {shape}{order}; expected {expected}")


def check_signature(
    inputs: Mapping[str, tuple[str, Sequence[int | str | None]]], outputs: Mapping[str, str], bank: Bank, patch: int
) -> None:
    """See that a loaded graph is a score graph, for patches of this side and a bank of this width.

    inputs: the type and shape of each; what is dynamic in a shape is no int. outputs: the type of each.

    Raises:
        PscrError: MODEL_INVALID saying what was found and what was expected.
    """
    kinds = {name: kind for name, (kind, _) in inputs.items()}
    if kinds != INPUTS or not all(outputs.get(name) == "float32" for name in OUTPUTS):
        found = ", ".join(f"{name} {kind}" for name, kind in (*kinds.items(), *outputs.items()))
        expected = f"{', '.join(INPUTS)} to {', '.join(OUTPUTS)}, patches of uint8, the rest float32"
        raise PscrError(Status.MODEL_INVALID, f"model.onnx has {found[:300]}; expected a score graph: {expected}")
    shape, terms = list(inputs["patches"][1]), list(inputs["bank_terms"][1])
    if shape[2:] != [patch, patch, 3]:
        raise PscrError(
            Status.MODEL_INVALID,
            f"model.onnx takes patches {shape}; the manifest's sampling cuts {patch} pixels; "
            "fetch or export the model again",
        )
    if len(terms) != 2 or not isinstance(terms[1], int):
        raise PscrError(Status.MODEL_INVALID, f"model.onnx takes bank_terms {terms}; expected [K, H] with H a number")
    if bank.terms.shape[1] != terms[1]:
        raise PscrError(
            Status.MODEL_INVALID,
            f"the bank's terms have {bank.terms.shape[1]} numbers; this model's have {terms[1]}; "
            "use a bank that was built with this model",
        )
