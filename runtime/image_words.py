"""What is said of an image: why it is refused, by its name, and what a decoder had to say of one that it read."""

from __future__ import annotations

import logging

from .errors import PscrError, Status

_log = logging.getLogger(__name__)

UNNAMED = "image bytes"  # what an image without a name is called
EXPECTED = "JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF or JPEG 2000"


def refused(status: Status, name: str, message: str) -> PscrError:
    """The error for the image of this name."""
    return PscrError(status, f"{name}: {message}")


def unreadable(name: str, error: OSError | ValueError) -> PscrError:
    """The error for a file that the system does not give, by what it says: FILE_NOT_FOUND, INVALID_ARGUMENT for a name
    that cannot be one, else DECODE_FAILED.
    """
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return refused(Status.FILE_NOT_FOUND, name, "no such file; check the path")
    if isinstance(error, ValueError):
        return refused(Status.INVALID_ARGUMENT, name, f"cannot be a file name ({error})")
    return refused(Status.DECODE_FAILED, name, f"cannot be read ({error.strerror}); check the file")


def check_size(name: str, width: int, height: int, max_pixels: int) -> None:
    """Refuse what is too large.

    Raises:
        PscrError: IMAGE_TOO_LARGE.
    """
    if width * height > max_pixels:
        found = f"{width}x{height} is {width * height} pixels; expected at most {max_pixels}"
        raise refused(Status.IMAGE_TOO_LARGE, name, f"{found}; scale it down, or raise max_pixels")


def decoder_says(words: str, name: str) -> list[str]:
    """The note on an image that a decoder spoke of, logged as well; none where it said nothing."""
    if not words:
        return []
    note = f"the decoder says: {words}"
    _log.warning("%s: %s", name, note)
    return [note]
