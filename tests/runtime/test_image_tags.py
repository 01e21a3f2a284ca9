"""A score in an image file: browsers find it, and every other byte of the file is as it was."""

from __future__ import annotations

import re
import struct
import xml.etree.ElementTree as ElementTree
import zlib
from pathlib import Path

import pytest
from cli_testing import write_image

from pscr.runtime.errors import PscrError, Status
from pscr.runtime.image import decode
from pscr.runtime.image_tags import tagged
from pscr.runtime.score_scale import ScoreScale

XMP = b"http://ns.adobe.com/xap/1.0/\0"
KEYWORD = b"XML:com.adobe.xmp\0\0\0\0\0"
RATING = "{http://ns.adobe.com/xap/1.0/}Rating"


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def packet(inside: str, declared: str = 'xmlns:xmp="http://ns.adobe.com/xap/1.0/"') -> bytes:
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" {declared} xmlns:dc="http://purl.org/dc/elements/1.1/" dc:format="image/png" '
        f"{inside}</rdf:Description></rdf:RDF></x:xmpmeta>"
    ).encode()


ATTRIBUTE, ELEMENT = packet('xmp:Rating="2">'), packet("><xmp:Rating>3.5</xmp:Rating>")


@pytest.fixture
def png(tmp_path: Path) -> bytes:
    return write_image(tmp_path / "a.png").read_bytes()


@pytest.fixture
def jpeg(tmp_path: Path) -> bytes:
    return write_image(tmp_path / "a.jpg").read_bytes()


def with_packet(data: bytes, body: bytes) -> bytes:
    if data.startswith(b"\x89PNG"):
        return data[:33] + chunk(b"iTXt", KEYWORD + body) + data[33:]
    return data[:20] + segment(0xE1, XMP + body) + data[20:]


def rating_in(data: bytes) -> str:
    """What an XML parser finds."""
    found = re.search(rb"<x:xmpmeta.*</x:xmpmeta>", data, re.DOTALL)
    assert found
    root = ElementTree.fromstring(found[0])
    values = [one.attrib[RATING] for one in root.iter() if RATING in one.attrib]
    (value,) = values + [one.text or "" for one in root.iter(RATING)]
    return value


def test_png_gets_the_score_and_the_rating_and_keeps_every_other_byte(png: bytes) -> None:
    data, remark = tagged(png, 2.3456, 3)
    added = data[33 : 33 + len(data) - len(png)]
    assert data[:33] + data[33 + len(added) :] == png
    assert chunk(b"tEXt", b"pscr_score\x002.346") in added
    assert rating_in(data) == "3"
    assert remark == ""
    assert (decode(data) == decode(png)).all()


def test_jpeg_gets_the_rating_behind_jfif_and_exif(jpeg: bytes) -> None:
    exif = segment(0xE1, b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0")
    given = jpeg[:20] + exif + segment(0xFE, b"a comment") + jpeg[20:]
    data, remark = tagged(given, 2.3456, 5)
    start = 20 + len(exif)
    assert data[:start] + data[start + len(data) - len(given) :] == given
    assert data[start : start + 4] == b"\xff\xe1" + struct.pack(">H", len(data) - len(given) - 2)
    assert (rating_in(data), remark) == ("5", "")
    assert (decode(data) == decode(given)).all()


@pytest.mark.parametrize("name", ["png", "jpeg"])
def test_a_second_tag_takes_the_place_of_the_first(name: str, request: pytest.FixtureRequest) -> None:
    given = request.getfixturevalue(name)
    first = tagged(given, 1.0, 1).data
    assert tagged(first, 1.0, 1).data == first
    assert tagged(first, 4.5, 5).data == tagged(given, 4.5, 5).data


@pytest.mark.parametrize("name", ["png", "jpeg"])
@pytest.mark.parametrize("body", [ATTRIBUTE, ELEMENT])
def test_only_the_rating_of_a_packet_that_is_there_changes(
    name: str, body: bytes, request: pytest.FixtureRequest
) -> None:
    given = request.getfixturevalue(name)
    data, remark = tagged(with_packet(given, body), 4.0, 5)
    expected = body.replace(b'"2"', b'"5"').replace(b"3.5", b"5")
    assert (remark, rating_in(data)) == ("", "5")
    assert data.replace(chunk(b"tEXt", b"pscr_score\x004.000"), b"") == with_packet(given, expected)
    assert (decode(data) == decode(given)).all()


@pytest.mark.parametrize(
    "body",
    [
        packet(">"),
        packet('xmp:Rating="2"><xmp:Rating>3</xmp:Rating>'),
        packet('xmp:Rating="2">', 'xmlns:xmp="http://example.com/"'),
        packet("><!-- xmp:Rating='2' -->"),
        packet('xmp:Rating="2"><![CDATA[x]]>'),
        packet('xmp:Rating="high">'),
        packet('xmp:RatingPercent="2">'),
        ATTRIBUTE.decode().encode("utf-16"),
        b"",
    ],
)
def test_a_packet_in_which_the_rating_is_not_plain_is_left(png: bytes, jpeg: bytes, body: bytes) -> None:
    data, remark = tagged(with_packet(jpeg, body), 4.0, 5)
    assert data == with_packet(jpeg, body)
    assert "left" in remark
    data, remark = tagged(with_packet(png, body), 4.0, 5)
    assert chunk(b"iTXt", KEYWORD + body) in data
    assert b"pscr_score\x004.000" in data
    assert "left" in remark


def test_a_packed_packet_and_two_packets_are_left(png: bytes, jpeg: bytes) -> None:
    packed = chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(ATTRIBUTE))
    assert "left" in tagged(png[:33] + packed + png[33:], 4.0, 5).remark
    assert "left" in tagged(with_packet(with_packet(png, ATTRIBUTE), ATTRIBUTE), 4.0, 5).remark
    twice = with_packet(with_packet(jpeg, ATTRIBUTE), ATTRIBUTE)
    assert tagged(twice, 4.0, 5).data == twice


def test_signed_files_and_files_of_several_images_are_refused(png: bytes, jpeg: bytes) -> None:
    for given, word in (
        (png[:33] + chunk(b"caBX", b"manifest") + png[33:], "C2PA"),
        (jpeg[:20] + segment(0xEB, b"JP\0\1jumb") + jpeg[20:], "C2PA"),
        (jpeg[:20] + segment(0xE2, b"MPF\0MM\0*") + jpeg[20:], "several images"),
    ):
        with pytest.raises(PscrError, match=word) as caught:
            tagged(given, 1.0, 1)
        assert caught.value.status is Status.INVALID_ARGUMENT


@pytest.mark.parametrize("ending", [".webp", ".bmp", ".tiff"])
def test_other_formats_are_refused_by_name(tmp_path: Path, ending: str) -> None:
    with pytest.raises(PscrError, match="only PNG and JPEG"):
        tagged(write_image(tmp_path / f"a{ending}").read_bytes(), 1.0, 1)


def test_a_png_cut_short_anywhere_is_refused(png: bytes) -> None:
    for end in [*range(8, 700), len(png) - 1]:
        with pytest.raises(PscrError, match="does not end with IEND"):
            tagged(png[:end], 1.0, 1)


def test_a_jpeg_that_ends_before_its_scan_or_has_bytes_between_segments_is_refused(jpeg: bytes) -> None:
    scan = jpeg.index(b"\xff\xda")
    for given in [*(jpeg[:end] for end in range(3, scan)), jpeg[:20] + b"?" + jpeg[20:]]:
        with pytest.raises(PscrError, match="left as it is"):
            tagged(given, 1.0, 1)


@pytest.mark.parametrize(
    ("score", "higher", "stars"),
    [
        *((0.0, True, 1), (0.99, True, 1), (1.0, True, 2), (4.99, True, 5), (5.0, True, 5), (9.0, True, 5)),
        *((-1.0, True, 1), (0.0, False, 5), (4.9, False, 1)),
    ],
)
def test_stars_are_fifths_of_the_range(score: float, higher: bool, stars: int) -> None:
    assert ScoreScale("opinion", "set", (0.0, 5.0), higher).stars(score) == stars
