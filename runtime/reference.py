"""The undistorted original that a full-reference model compares an image with."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import PscrError, Status
from .families.head import Floats, Head
from .pipeline import Prepared


@dataclass(frozen=True, eq=False)
class Reference:
    """An original that was looked at once, for any number of images: its features [C] float32, and its size in pixels.

    `Scorer.reference` makes one.
    """

    terms: Floats
    width: int
    height: int

    def matched(self, image: Prepared) -> Prepared:
        """The image, which must be of the same size.

        Raises:
            PscrError: INVALID_ARGUMENT.
        """
        if (image.width, image.height) != (self.width, self.height):
            found = f"the image is {image.width}x{image.height} and its reference {self.width}x{self.height}"
            raise PscrError(Status.INVALID_ARGUMENT, f"{found}; expected one size; scale or crop one to the other's")
        return image


def check_given(head: Head, given: bool, model: str) -> None:
    """See that there is a reference where the head needs one, and only there.

    Raises:
        PscrError: INVALID_ARGUMENT, with the call that would be right.
    """
    if head.needs_reference and not given:
        found = f"{model} is a full-reference model and was given no reference"
        advice = "call Scorer.score(image, reference=ORIGINAL), or pscr score IMAGE --reference ORIGINAL"
        raise PscrError(Status.INVALID_ARGUMENT, f"{found}; {advice}")
    if given and not head.needs_reference:
        found = f"{model} judges an image by itself and takes no reference"
        advice = "call Scorer.score(image), or pscr score IMAGE, or name a full-reference model"
        raise PscrError(Status.INVALID_ARGUMENT, f"{found}; {advice}")
