"""A score written into an image file where browsers of images look, with everything else left as it is to the byte.

PNG gets a text chunk `pscr_score` and a rating of one to five stars in XMP, JPEG the rating. Where the file has an XMP
packet already, only the digit of its own rating is replaced, and only where it is plain which that is.
Source: PNG, third edition (W3C), tEXt and iTXt; XMP part 1 (xmp:Rating) and part 3 (JPEG's APP1, PNG's
`XML:com.adobe.xmp`); C2PA 2.1, A.3 (`caBX`, APP11).
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import NamedTuple

from . import image_png
from .errors import PscrError, Status
from .image_header import jpeg_segments, opencv_format

KEYWORD = b"pscr_score"
_XMP_OF_PNG = b"XML:com.adobe.xmp"
_XMP_OF_JPEG = b"http://ns.adobe.com/xap/1.0/\0"
_APP0, _APP1, _APP2, _APP11 = 0xE0, 0xE1, 0xE2, 0xEB
_LONGEST_SEGMENT = 0xFFFF
_NAMESPACE = b"http://ns.adobe.com/xap/1.0/"
_PACKET = """\
<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\
<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="{rating}"/></rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>"""
_RATING = re.compile(rb"""(\sxmp:Rating\s*=\s*["']|<xmp:Rating>)(-?[0-9](?:\.[0-9]*)?)(?=["']|</xmp:Rating>)""")
_DECLARED = re.compile(rb"""xmlns:xmp\s*=\s*["']([^"']*)["']""")


class Tagged(NamedTuple):
    """data: the file's new bytes, which are the old ones where nothing was to be written. remark: what was left."""

    data: bytes
    remark: str = ""


def tagged(data: bytes, score: float, rating: int) -> Tagged:
    """The bytes of an image file with its score.

    data: a PNG or JPEG file. score: in opinion-score units, written with three decimals. rating: 1 to 5.

    Raises:
        PscrError: INVALID_ARGUMENT for another format, and for a file that is signed or holds several images, whose
            signature or places a change would break; DECODE_FAILED for a damaged file.
    """
    kind = opencv_format(data)
    if kind == "PNG":
        return _tagged_png(data, score, rating)
    if kind == "JPEG":
        return _tagged_jpeg(data, rating)
    raise _refused(f"{kind or 'no image that is known'}; only PNG and JPEG can be tagged; convert it")


# --- PNG --------------------------------------------------------------------------------------------------------------


def _tagged_png(data: bytes, score: float, rating: int) -> Tagged:
    found = image_png.chunks(data)
    whole = bool(found) and found[0].kind == b"IHDR" and found[-1].kind == b"IEND"
    if not whole or found[-1].place + 4 > len(data):
        raise _damaged("a PNG that does not begin with IHDR or does not end with IEND")
    if any(chunk.kind == b"caBX" for chunk in found):
        raise _signed()
    body = KEYWORD + b"\0" + f"{score:.3f}".encode()
    written = _chunk(b"tEXt", body)
    own = [one for one in found if one.kind == b"tEXt" and data.startswith(KEYWORD + b"\0", one.place)]
    packets = [one for one in found if one.kind == b"iTXt" and data.startswith(_XMP_OF_PNG + b"\0", one.place)]
    changes = [(one.place - 8, one.place + one.length + 4, written if one is own[0] else b"") for one in own]
    start = found[0].place + found[0].length + 4  # behind IHDR
    if not own:
        changes.append((start, start, written))
    remark = ""
    if not packets:
        fields = b"\0" * 5  # not packed, no language, no keyword in it
        changes.append((start, start, _chunk(b"iTXt", _XMP_OF_PNG + fields + _PACKET.format(rating=rating).encode())))
    else:
        one = packets[0]
        packet = data[one.place : one.place + one.length]
        is_plain = packet.startswith(_XMP_OF_PNG + b"\0\0") and len(packets) == 1
        rated = _rated(packet, rating) if is_plain else None
        if rated is None:
            remark = _LEFT
        else:
            changes.append((one.place - 8, one.place + one.length + 4, _chunk(b"iTXt", rated)))
    return Tagged(_changed(data, changes), remark)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


# --- JPEG -------------------------------------------------------------------------------------------------------------


def _tagged_jpeg(data: bytes, rating: int) -> Tagged:
    segments = list(jpeg_segments(data))
    following = 2
    for _, place, end in segments:
        if place - 4 != following or end > len(data):
            raise _damaged("a JPEG with something between its segments")
        following = end
    if not segments or not data.startswith(b"\xff\xda", following):
        raise _damaged("a JPEG without a scan behind its segments")
    if any(marker == _APP11 and data[place : place + 2] == b"JP" for marker, place, _ in segments):
        raise _signed()
    if any(marker == _APP2 and data.startswith(b"MPF\0", place) for marker, place, _ in segments):
        raise _refused("a JPEG of several images, whose places would move; convert it")
    packets = [one for one in segments if one[0] == _APP1 and data.startswith(_XMP_OF_JPEG, one[1])]
    if not packets:
        start = 2
        for marker, place, end in segments:  # JFIF and EXIF stand first
            if marker != _APP0 and not (marker == _APP1 and data.startswith(b"Exif\0", place)):
                break
            start = end
        packet = _XMP_OF_JPEG + _PACKET.format(rating=rating).encode()
        return Tagged(_changed(data, [(start, start, _segment(packet))]))
    _, place, end = packets[0]
    rated = _rated(data[place:end], rating) if len(packets) == 1 else None
    if rated is None or len(rated) + 2 > _LONGEST_SEGMENT:
        return Tagged(data, _LEFT)
    return Tagged(_changed(data, [(place - 4, end, _segment(rated))]))


def _segment(body: bytes) -> bytes:
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


# --- both -------------------------------------------------------------------------------------------------------------

_LEFT = "the rating is left: the file has an XMP packet without a rating that can be replaced safely"


def _rated(packet: bytes, rating: int) -> bytes | None:
    """A packet with another rating, or None where it has none, more than one, or one that may be something else."""
    named = packet.count(b"xmp:Rating")
    found = _RATING.findall(packet)
    spaces = set(_DECLARED.findall(packet))
    is_plain = len(found) == 1 and named == 1 + found[0][0].startswith(b"<") and spaces == {_NAMESPACE}
    if not is_plain or b"<!" in packet:
        return None
    return _RATING.sub(lambda match: match[1] + b"%d" % rating, packet)


def _changed(data: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    """The bytes with some of them replaced: from, to, what instead."""
    parts, place = [], 0
    for start, end, instead in sorted(changes, key=lambda change: change[:2]):
        parts += [data[place:start], instead]
        place = end
    return b"".join([*parts, data[place:]])


def _refused(found: str) -> PscrError:
    return PscrError(Status.INVALID_ARGUMENT, found)


def _damaged(found: str) -> PscrError:
    return PscrError(Status.DECODE_FAILED, f"{found}; it is left as it is")


def _signed() -> PscrError:
    return _refused("signed content credentials (C2PA), which any change would break; it is left as it is")
