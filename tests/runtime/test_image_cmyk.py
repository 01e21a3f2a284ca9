"""CMYK is converted to RGB, to within one level of Pillow's conversion."""

from __future__ import annotations

import numpy as np
import pytest
from image_makers import by_pillow, colours, encoded
from PIL import Image

from pscr.runtime.image import decode

CMYK = Image.fromarray(colours()).convert("CMYK")
ADOBE = encoded(CMYK, "JPEG")  # Pillow writes Adobe's marker and inverted values
START = ADOBE.index(b"\xff\xee")
END = START + 2 + int.from_bytes(ADOBE[START + 2 : START + 4], "big")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(ADOBE, id="adobe-inverted-jpeg"),
        pytest.param(ADOBE[:START] + ADOBE[END:], id="plain-jpeg"),
        pytest.param(ADOBE[: END - 1] + b"\x02" + ADOBE[END:], id="ycck-jpeg"),
        pytest.param(encoded(CMYK, "TIFF"), id="tiff"),
    ],
)
def test_cmyk_is_converted(data: bytes) -> None:
    difference = decode(data).astype(int) - by_pillow(data)
    assert np.abs(difference).max() <= 1


def test_cmyk_comes_back_as_the_colours_it_was_made_of() -> None:
    difference = decode(encoded(CMYK, "JPEG", quality=100, subsampling=0)).astype(int) - colours()
    assert np.abs(difference).max() <= 4
