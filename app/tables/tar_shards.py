"""The images in tar files, such as WebDataset's shards: read in order and never unpacked.

The members of a sample follow one another and share their name up to the first dot: `0001.jpg`, `0001.json`,
`0001.txt`. What its .json and its text files say can stand beside the result of its image.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, cast

from ..runtime.errors import Status, one_line
from .inputs import Item, is_image_name
from .tar_file import DamagedTarError, Member, TarFile

ENDINGS = (".tar", ".tar.gz", ".tgz")
_UNREADABLE = (DamagedTarError, OSError, EOFError, zlib.error)
_LARGEST_IMAGE = 1 << 28  # bytes of an encoded image
_LARGEST_TEXT = 1 << 20  # bytes of what stands beside it
_MOST_IMAGES = 16  # of a sample, before its texts have come
_LEAVES = re.compile(r"(^|[/\\])\.\.([/\\]|$)|^[/\\]|^[A-Za-z]:")  # of a name that leads out of the tar


@dataclass(frozen=True)
class TarShard:
    """The images of one tar file, called by its path and the member's name. asked: columns; see `_Sample.cells`."""

    path: str
    asked: Sequence[str] = ()

    @property
    def columns(self) -> Mapping[str, Any]:
        """What stands beside the results; all of it is text."""
        return dict.fromkeys(self.asked)

    def __iter__(self) -> Iterator[Item]:
        """Its images in order. What is no plain file below the tar, and what cannot be read, is an item with a problem.

        A file that is damaged or ends too early ends after the images before the damage, with an item that says so.
        """
        count = 0
        try:
            with closing(self._opened()) as stream:
                for item in self._items(TarFile(stream)):
                    count += 1
                    yield item
        except _UNREADABLE as problem:
            found = f"{self.path} cannot be read to its end: {one_line(problem)}; {count} rows of it came before"
            yield Item(self.path, f"{found}; fetch it again", Status.DECODE_FAILED)
        else:
            if not count:
                yield Item(self.path, f"no images in {self.path}; expected members that are called like images")

    def _opened(self) -> BinaryIO:
        is_plain = self.path.lower().endswith(".tar")
        return Path(self.path).open("rb") if is_plain else cast(BinaryIO, gzip.open(self.path, "rb"))

    def _items(self, tar: TarFile) -> Iterator[Item]:
        sample = _Sample()
        try:
            for member in tar:
                name = member.name.removeprefix("./")
                key = _key(name)
                if key != sample.key or len(sample.images) == _MOST_IMAGES or not self.asked:
                    yield from sample.items(self.asked)
                    sample = _Sample(key)
                sample.take(tar, replace(member, name=name), f"{self.path}/{name}", self.asked)
        except _UNREADABLE:
            yield from sample.items(self.asked)
            raise
        yield from sample.items(self.asked)


@dataclass
class _Sample:
    """The members that share a key, as far as they have come."""

    key: str = ""
    images: list[Item] = field(default_factory=list)
    texts: dict[str, bytes] = field(default_factory=dict)

    def take(self, tar: TarFile, member: Member, path: str, asked: Sequence[str]) -> None:
        """Put a member where it belongs; what is neither an image nor asked for is passed over unread."""
        ending = member.name[len(self.key) + 1 :].lower()
        if problem := _refusal(member):
            self.images.append(Item(path, f"{path}: {problem}", Status.INVALID_ARGUMENT))
        elif is_image_name(member.name.rpartition("/")[2]):
            if member.size > _LARGEST_IMAGE:
                found = f"{path}: a member of {member.size} bytes; expected {_LARGEST_IMAGE} at most; unpack it first"
                self.images.append(Item(path, found, Status.IMAGE_TOO_LARGE))
            else:
                self.images.append(Item(path, source=tar.read(member)))
        elif asked and member.size <= _LARGEST_TEXT and (ending == "json" or ending in asked):
            self.texts[ending] = tar.read(member)

    def items(self, asked: Iterable[str]) -> Iterator[Item]:
        """Its images, each with the cells of the sample; they are given once."""
        images, self.images = self.images, []
        if images:
            cells = self._cells(asked)
            yield from (replace(image, cells=cells) for image in images)

    def _cells(self, asked: Iterable[str]) -> dict[str, str | None]:
        """For each name asked for a key of the sample's .json, else the text of its file that ends so, else nothing."""
        try:
            said = json.loads(self.texts.get("json", b"{}"))
        except (ValueError, RecursionError):
            said = {}
        cells = dict[str, str | None]()
        for name in asked:
            value = said.get(name) if isinstance(said, dict) else None
            if value is None and name in self.texts:
                value = self.texts[name].decode("utf-8", "replace")
            cells[name] = None if value is None else as_cell(value)
        return cells


def as_cell(value: Any) -> str:
    """A value of JSON as text that any file can hold."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.encode("utf-8", "replace").decode()


def _key(name: str) -> str:
    """What the members of a sample share: the name up to the first dot of its last part."""
    folder, slash, file = name.rpartition("/")
    return folder + slash + file.partition(".")[0]


def _refusal(member: Member) -> str:
    if member.kind:
        return f"{member.kind} in a tar; expected plain files; pack the file itself"
    if _LEAVES.search(member.name):
        return "a name that leads out of the tar; expected one below it; nothing of it was read"
    return ""
