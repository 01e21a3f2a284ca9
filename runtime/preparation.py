"""What comes before the network: an image is read, refused where it is too large, and cut into patches."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import PscrError, Status
from .gpu_jpeg import JpegDecoder
from .image import Source, load
from .image_words import check_size
from .pipeline import Prepared
from .samplings import Pixels, Sampling


@dataclass(frozen=True)
class Preparation:
    """How the images of an open model are prepared.

    patches: the most patches an image that the device takes; None for any number.
    max_pixels: largest height * width of an image. jpeg: what decodes JPEGs; None for OpenCV.
    """

    sampling: Sampling
    patches: int | None
    max_pixels: int
    jpeg: JpegDecoder | None = None

    def pixels(self, source: Source, pixel_format: str | None = None, notes: list[str] | None = None) -> Pixels:
        """The upright image, [H,W,3] uint8 RGB. Arguments and errors as `image.load`."""
        return load(source, pixel_format=pixel_format, max_pixels=self.max_pixels, notes=notes, jpeg=self.jpeg)

    def prepare(self, source: Source, pixel_format: str | None = None) -> Prepared:
        """Decode an image and cut its patches. Arguments and errors as `Scorer.score`."""
        notes: list[str] = []
        image = self.pixels(source, pixel_format, notes)
        height, width = image.shape[:2]
        self.check_frame(height, width)
        notes += self.sampling.in_words(height, width)
        return Prepared(width, height, "; ".join(notes), self.sampling.cut(image))

    def check_size(self, height: int, width: int) -> None:
        """See that images of this size, in pixels, can be prepared, before any of them is.

        Raises:
            PscrError: IMAGE_TOO_LARGE; INVALID_ARGUMENT for more patches than the device takes.
        """
        check_size("pixels", width, height, self.max_pixels)
        self.check_frame(height, width)

    def check_frame(self, height: int, width: int) -> None:
        """`check_size` of an image that is within `max_pixels`."""
        if refusal := self.sampling.refusal(height, width):
            raise PscrError(Status.IMAGE_TOO_LARGE, f"this model sees whole images, and found {refusal}")
        tall, wide = self.sampling.frame_size(height, width)
        if tall * wide > max(self.max_pixels, height * width, self.sampling.patch**2):
            how = "scaling" if self.sampling.scales_to else "padding"
            found = f"{width}x{height} needs {how} to {wide}x{tall}, above {self.max_pixels} pixels; scale it down"
            raise PscrError(Status.IMAGE_TOO_LARGE, found)
        patches = self.sampling.patches(height, width)
        if self.patches is not None and patches > self.patches:
            found = f"{width}x{height} gives {patches} patches; this engine takes up to {self.patches} an image"
            advice = "build one with --windows, crop the image, or use another device"
            raise PscrError(Status.INVALID_ARGUMENT, f"{found}; {advice}")
