"""How a refused image is worded: the image's name, what was found, what was expected, and what to do."""

from __future__ import annotations

from .errors import PscrError, Status

EXPECTED = "JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF or JPEG 2000"


def refused(status: Status, name: str, message: str) -> PscrError:
    """The error for the image of this name."""
    return PscrError(status, f"{name}: {message}")


def check_size(name: str, width: int, height: int, max_pixels: int) -> None:
    """Refuse what is too large.

    Raises:
        PscrError: IMAGE_TOO_LARGE.
    """
    if width * height > max_pixels:
        found = f"{width}x{height} is {width * height} pixels; expected at most {max_pixels}"
        raise refused(Status.IMAGE_TOO_LARGE, name, f"{found}; scale it down, or raise max_pixels")
