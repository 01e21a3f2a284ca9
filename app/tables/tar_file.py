"""The members of a tar file, in order, without unpacking any: one at a time, and no more memory than one takes.

Python's tarfile keeps every member that it has seen, and reads headers of any length. This is for files that may come
from anywhere. Source: POSIX.1-2001, pax (ustar and its extended headers); the GNU tar manual, "Basic Tar Format".
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

_BLOCK = tarfile.BLOCKSIZE
_PIECE = 1 << 16  # bytes that are passed over at once
_LONGEST_HEADER = 1 << 20  # bytes of an extended header
_LONGEST_NUMBER = 20  # digits
_RECORD = re.compile(rb"([1-9][0-9]{0,7}) ([^=]{1,255})=")
_KINDS = {
    tarfile.SYMTYPE: "a link",
    tarfile.LNKTYPE: "a link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
}
_FILES = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)


class DamagedTarError(Exception):
    """What was read is no tar file, or ends too early; the message says which."""


@dataclass(frozen=True)
class Member:
    """One member: its name as it stands there, its size in bytes, and what it is where it is no file."""

    name: str
    size: int
    kind: str = ""


class TarFile:
    """The members of a tar file; folders are passed over."""

    def __init__(self, stream: BinaryIO) -> None:
        """stream: at the beginning, and read to its end; it need not be able to seek."""
        self._stream = stream
        self._left = 0  # bytes to the next header

    def __iter__(self) -> Iterator[Member]:
        """Each member; its body can be read until the next is asked for.

        Raises:
            DamagedTarError: it ends in the middle of a member, or what should be a header is none.
            OSError, EOFError, zlib.error: the stream cannot be read.
        """
        name, size = "", None
        while (header := self._header()) is not None:
            if header.type in (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE):
                body = self._extended(header.size)
                if header.type == tarfile.GNUTYPE_LONGNAME:
                    name = body.partition(b"\0")[0].decode("utf-8", "surrogateescape")
                else:
                    name, size = _of_pax(body, name, size)
                continue
            if header.type in (tarfile.XGLTYPE, tarfile.GNUTYPE_LONGLINK):
                self._extended(header.size)
                continue
            if header.type in _FILES:
                self._left = _padded(header.size if size is None else size)
                yield Member(name or header.name, header.size if size is None else size)
            elif header.type in _KINDS:
                yield Member(name or header.name, 0, _KINDS[header.type])
            elif header.type != tarfile.DIRTYPE:
                found = f"member {name or header.name} is of type {header.type!r}; expected plain files"
                raise DamagedTarError(f"{found}; pack it again with tar --format=posix")
            name, size = "", None

    def read(self, member: Member) -> bytes:
        """The body of the last member.

        Raises: as iterating.
        """
        body = self._exactly(member.size)
        self._left -= member.size
        return body

    def _header(self) -> tarfile.TarInfo | None:
        """The next header, or None at the end, which is a block of zeros."""
        while self._left:
            self._left -= len(self._exactly(min(self._left, _PIECE)))
        block = self._stream.read(_BLOCK)
        if len(block) < _BLOCK:
            raise DamagedTarError("it ends without the mark of a tar's end")
        if not block.strip(b"\0"):
            return None
        try:
            return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as problem:
            raise DamagedTarError(f"what should be a header is none ({problem})") from problem

    def _extended(self, size: int) -> bytes:
        if not 0 <= size <= _LONGEST_HEADER:
            raise DamagedTarError(f"an extended header of {size} bytes; expected {_LONGEST_HEADER} at most")
        self._left = _padded(size)
        return self.read(Member("", size))

    def _exactly(self, count: int) -> bytes:
        parts = []
        while count:
            part = self._stream.read(min(count, _PIECE))
            if not part:
                raise DamagedTarError("it ends in the middle of a member")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)


def _padded(size: int) -> int:
    if size < 0:
        raise DamagedTarError(f"a member of {size} bytes")
    return size + -size % _BLOCK


def _of_pax(body: bytes, name: str, size: int | None) -> tuple[str, int | None]:
    """Name and size as an extended header has them, else those given. Source: pax, "length keyword=value\\n"."""
    place = 0
    while place < len(body):
        found = _RECORD.match(body, place)
        if not found or not found.end() < place + int(found[1]) <= len(body):
            raise DamagedTarError("an extended header is damaged")
        value = body[found.end() : place + int(found[1]) - 1]
        if found[2] == b"path":
            name = value.decode("utf-8", "surrogateescape")
        elif found[2] == b"size" and value.isdigit() and len(value) < _LONGEST_NUMBER:
            size = int(value)
        elif found[2].startswith(b"GNU.sparse."):
            raise DamagedTarError("a sparse member; expected plain files; pack it again without --sparse")
        place += int(found[1])
    return name, size
