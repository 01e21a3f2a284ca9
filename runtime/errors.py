"""The statuses of every call and the one exception that carries them."""

from __future__ import annotations

from enum import IntEnum


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
