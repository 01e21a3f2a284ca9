"""The statuses of every call, what they mean outside, and the one exception that carries them."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class Status(IntEnum):
    """What became of a call; the numbers are part of the C-like API and never change."""

    OK = 0
    INVALID_ARGUMENT = 1
    FILE_NOT_FOUND = 2
    DECODE_FAILED = 3
    IMAGE_TOO_LARGE = 4
    MODEL_INVALID = 5
    DEVICE_UNAVAILABLE = 6
    ENGINE_INCOMPATIBLE = 7
    OUT_OF_MEMORY = 8
    CLOSED = 9
    INTERNAL = 10


class Outside(NamedTuple):
    """What a status is outside of Python: a program's exit code where it ends a run, and an HTTP response's code."""

    exit_code: int
    http: int


OUTSIDE = {
    Status.OK: Outside(0, 200),
    Status.INVALID_ARGUMENT: Outside(2, 400),
    Status.FILE_NOT_FOUND: Outside(3, 404),
    Status.DECODE_FAILED: Outside(3, 422),
    Status.IMAGE_TOO_LARGE: Outside(3, 413),
    Status.MODEL_INVALID: Outside(3, 500),
    Status.DEVICE_UNAVAILABLE: Outside(3, 500),
    Status.ENGINE_INCOMPATIBLE: Outside(3, 500),
    Status.OUT_OF_MEMORY: Outside(3, 503),
    Status.CLOSED: Outside(3, 503),
    Status.INTERNAL: Outside(3, 500),
}
# What is wrong with one image, and not with the run: where it is one of the command line's own, the exit code is 1.
OF_AN_IMAGE = frozenset({Status.FILE_NOT_FOUND, Status.DECODE_FAILED, Status.IMAGE_TOO_LARGE})


class PscrError(Exception):
    """A failure with its `status` and a one-line message: what was found, what was expected, what to do."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[type[PscrError], tuple[Status, str]]:
        return type(self), (self.status, self.message)


def one_line(error: BaseException, longest: int = 300) -> str:
    """What an exception says, as one line of bounded length."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= longest else text[: longest - 3] + "..."


def as_error(problem: Exception) -> PscrError:
    """What an exception that stopped the work on one image means: that image's error, not the end of the run.

    Memory that an image needs and cannot have is OUT_OF_MEMORY, and anything unforeseen INTERNAL.
    """
    if isinstance(problem, PscrError):
        return problem
    if isinstance(problem, MemoryError):
        return PscrError(Status.OUT_OF_MEMORY, "not enough memory for this image; scale it down")
    found = f"{type(problem).__name__}: {one_line(problem)}; a fault in pscr or in a library it uses: report the image"
    error = PscrError(Status.INTERNAL, found)
    error.__cause__ = problem
    return error
