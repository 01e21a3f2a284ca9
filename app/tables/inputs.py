"""What the paths on the command line stand for: files, folders, patterns, or a list on standard input."""

from __future__ import annotations

import codecs
import glob
import itertools
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

from ..console import UsageError
from ..runtime.errors import Status, one_line
from ..runtime.image import Source
from ..runtime.image_endings import ENDINGS, advice, readable

EXTENSIONS = ENDINGS  # of image files, whether or not this machine can read them
STDIN = "-"
_CHUNK = 1 << 16
_ANY_DEPTH = "**"
_MOST_NAMED = 5  # kinds of what was left out
# How a list in another encoding begins: UTF-8 with a mark, and what PowerShell's '>' writes. The longer ones first.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


@dataclass(frozen=True)
class Item:
    """One image to score, or one input that names no image: then `problem` says why.

    path: what its row is called, and where `source` is None what is read.
    source: the image, where it lies in a table or in a tar. cells: what stands beside its result, by column.
    status: that of the row of a problem.
    """

    path: str
    problem: str = ""
    status: Status = Status.FILE_NOT_FOUND
    source: Source | None = field(default=None, compare=False)
    cells: Mapping[str, Any] = field(default_factory=dict, compare=False)


def expand(paths: Iterable[str], left_out: Counter[str] | None = None, besides: Collection[str] = ()) -> list[Item]:
    """The images that files, folders and patterns stand for, in the order given.

    A folder stands for the images below it, by the endings that can be read here, hidden files and folders and linked
    folders left out, in natural order (img2 before img10). A pattern ('runs/**/*.png') stands for the images that it
    matches, by the same rules: no wildcard stands for a linked folder. Only regular files are taken. Any other path is
    taken as it is, whatever it is called and whether or not it exists: its row will say. A path that is given twice is
    scored twice.

    left_out: where it is counted what lay in folders, or matched, and is not among them, by its kind; see `in_words`.
    besides: endings of files that are taken besides images, in lower case.
    """
    left_out = Counter() if left_out is None else left_out
    items: list[Item] = []
    for path in paths:
        if is_folder(path):
            items += _folder(path, left_out, besides)
        elif glob.has_magic(path) and not os.path.lexists(path):
            items += _pattern(path, left_out, besides)
        else:
            items.append(Item(path))
    return items


def in_words(left_out: Counter[str]) -> str:
    """Such as `4 left out (3 .heic, 1 .txt)`; nothing where nothing was."""
    if not left_out:
        return ""
    named = left_out.most_common(_MOST_NAMED)
    kinds = ", ".join(f"{count} {kind}" for kind, count in named)
    if rest := left_out.total() - sum(count for _, count in named):
        kinds += f", {rest} others"
    if any(kind in ENDINGS for kind in left_out):
        kinds += advice()
    return f"{left_out.total()} left out ({kinds})"


def items_of(
    paths: list[str], null: bool, expand: Callable[[Iterable[str]], list[Item]] = expand
) -> tuple[Iterator[Item], int | None]:
    """What to score, and how many that is where they are all known. expand: what paths other than '-' stand for.

    Raises:
        UsageError: there is nothing to score at all.
    """
    if null and STDIN not in paths:
        raise UsageError("-0/--null describes the list on standard input; expected '-' among the paths")
    if STDIN not in paths:
        items = expand(paths)
        if all(item.problem for item in items):
            first = items[0]
            raise UsageError(f"nothing to score in {first.path}: {first.problem}")
        return iter(items), len(items)
    if paths.count(STDIN) > 1:
        raise UsageError("'-' is given twice; standard input can be read once")
    place = paths.index(STDIN)
    listed = read_list(sys.stdin.buffer, null)
    items_to_come = itertools.chain(expand(paths[:place]), listed, expand(paths[place + 1 :]))
    try:
        first_item = next(items_to_come, None)
    except OSError as problem:
        found = f"the list on standard input cannot be read: {problem.strerror}"
        raise UsageError(f"{found}; expected paths, one a line") from problem
    if first_item is None:
        raise UsageError("no paths on standard input; expected one a line (or --null, each ended by a NUL byte)")
    return itertools.chain([first_item], items_to_come), None


def read_list(stream: BinaryIO, null: bool = False) -> Iterator[Item]:
    """The paths on a stream, as they arrive: one a line, or each ended by a NUL byte. Empty ones are skipped.

    A byte order mark is no part of the first path, and says which Unicode encoding the list has.

    Raises:
        UsageError: the list begins with lines that hold NUL bytes, or has not the encoding that its mark says.
    """
    end = b"\0" if null else b"\n"
    rest = b""
    for place, chunk in enumerate(_without_mark(stream)):
        if not null and not place and b"\0" in chunk:
            found = "the list on standard input has NUL bytes in its lines"
            raise UsageError(f"{found}; say -0 where NUL ends each path, or write UTF-16 with a byte order mark")
        *whole, rest = (rest + chunk).split(end)
        yield from _listed(whole, null)
    yield from _listed([rest], null)


def natural_key(path: str) -> tuple[object, ...]:
    """The sort key that puts img2 before img10 and keeps a folder's files together; the spelling settles ties."""
    return tuple(_part_key(part) for part in Path(path).parts), path


def parts_of(pattern: str, system: ModuleType = os.path) -> tuple[str, list[str]]:
    """The folder that a pattern starts from, and its parts, split at each of the system's separators.

    The folder is "" for the working directory, or "/"; on Windows also a drive or a share, with "/" or without: "C:" is
    the working directory of that drive. system: `os.path`, or that of another system.
    """
    drive, rest = system.splitdrive(pattern)
    first, *parts = re.split(f"[{re.escape(system.sep + (system.altsep or ''))}]", rest)
    return (drive, [first, *parts]) if first else (f"{drive}/", parts)


def joined(folder: str, name: str, system: ModuleType = os.path) -> str:
    """The path of what is called `name` in a folder that `parts_of` gave, or in one below it."""
    at_its_start = system.splitdrive(folder)[1] in ("", "/", system.sep)
    return f"{folder}{'' if at_its_start else '/'}{name}"


def is_image_name(name: str, besides: Collection[str] = ()) -> bool:
    """Whether a file is called like an image that can be read here, in upper or lower case, and is not hidden.

    besides: further endings that will do.
    """
    ending = Path(name).suffix.lower()
    return not name.startswith(".") and (ending in readable() or ending in besides)


def is_folder(path: str) -> bool:
    """Whether this is a folder; a name that the system cannot even look up (too long, no permission) is not."""
    try:
        return bool(path) and Path(path).is_dir()
    except OSError:
        return False


def _folder(folder: str, left_out: Counter[str], besides: Collection[str]) -> list[Item]:
    start = str(Path(folder))
    found = _Search(left_out, besides)
    found.run("" if start == "." else start, [_ANY_DEPTH])
    if not found.images and not found.unreadable:
        return [Item(folder, f"no images in this folder; expected files ending in {_endings(besides)}")]
    return found.items()


def _pattern(pattern: str, left_out: Counter[str], besides: Collection[str]) -> list[Item]:
    found = _Search(left_out, besides)
    found.run(*parts_of(pattern))
    if not found.files and not found.unreadable:
        return [Item(pattern, "no file matches this pattern; check the folder it starts from ('**' crosses folders)")]
    if not found.images and not found.unreadable:
        many = f"none of the {found.files} files that match this pattern is called like an image"
        return [Item(pattern, f"{many}; expected names ending in {_endings(besides)}, or the files' own names")]
    return found.items()


class _Search:
    """The images that a pattern's parts match below a folder. files: how many match, images or not.

    besides: endings of files that are taken like images.
    """

    def __init__(self, left_out: Counter[str], besides: Collection[str]) -> None:
        self.files = 0
        self.images: list[str] = []
        self.unreadable: list[Item] = []
        self._left_out = left_out
        self._besides = besides

    def run(self, folder: str, parts: Sequence[str]) -> None:
        """Look below a folder, which is as `parts_of` gives it. A part "**" stands for folders at any depth."""
        waiting = [(folder, tuple(part for part, _ in itertools.groupby(parts)))]
        seen, matched = set(waiting), set[str]()
        while waiting:
            folder, (part, *rest) = waiting.pop()
            for path, upcoming in self._step(folder, part, tuple(rest)):
                if upcoming and (path, upcoming) not in seen:
                    seen.add((path, upcoming))
                    waiting.append((path, upcoming))
                elif not upcoming and path not in matched:
                    matched.add(path)
                    self._take(path)

    def items(self) -> list[Item]:
        """The images in natural order, then the folders that cannot be listed."""
        return [Item(path) for path in sorted(self.images, key=natural_key)] + self.unreadable

    def _step(self, folder: str, part: str, rest: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
        """What one part of a pattern matches in a folder, each with the parts that are to be matched below it."""
        if not glob.has_magic(part):
            path = joined(folder, part)
            if Path(path).is_dir() if rest else os.path.lexists(path):
                yield path, rest
            return
        if part == _ANY_DEPTH and rest:
            yield folder, rest
        for entry in self._entries(folder):
            path, below = joined(folder, entry.name), entry.is_dir(follow_symlinks=False)
            if part == _ANY_DEPTH:
                if not entry.name.startswith(".") and (below or not rest):
                    yield path, (part, *rest) if below else ()
            elif (below or not rest) and (part[0] == "." or entry.name[0] != ".") and fnmatchcase(entry.name, part):
                yield path, rest

    def _entries(self, folder: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(folder or ".") as entries:
                return list(entries)
        except OSError as problem:
            self.unreadable.append(Item(folder or ".", f"the folder cannot be listed: {problem.strerror}"))
            return []

    def _take(self, path: str) -> None:
        """Sort a match into what is scored and what is left out; a link that leads nowhere is scored, so it is told."""
        file = Path(path)
        if file.is_dir():
            if file.is_symlink():
                self._left_out["linked folder"] += 1
            return
        self.files += 1
        if file.exists() and not file.is_file():
            self._left_out["pipe, socket or device"] += 1
        elif is_image_name(file.name, self._besides):
            self.images.append(path)
        else:
            self._left_out[file.suffix.lower() or "without an ending"] += 1


def _part_key(part: str) -> tuple[tuple[int, str] | str, ...]:
    pieces = re.split(r"([0-9]+)", part.casefold())
    return tuple((int(piece), piece) if place % 2 else piece for place, piece in enumerate(pieces))


def _read_some(stream: BinaryIO) -> bytes:
    """What has arrived, without waiting for a full chunk: a slow writer's first path is scored at once."""
    read1 = getattr(stream, "read1", stream.read)
    return bytes(read1(_CHUNK))


def _without_mark(stream: BinaryIO) -> Iterator[bytes]:
    """What arrives on a stream, as UTF-8 where a byte order mark says in which encoding it comes."""
    head = _read_some(stream)
    while any(mark != head and mark.startswith(head) for mark in _MARKS) and (chunk := _read_some(stream)):
        head += chunk
    chunks = itertools.chain([head], iter(lambda: _read_some(stream), b""))
    encoding = next((name for mark, name in _MARKS.items() if head.startswith(mark)), "")
    if not encoding:
        yield from chunks
        return
    try:
        yield from (text.encode() for text in codecs.iterdecode(chunks, encoding))
    except UnicodeError as problem:
        found = f"the list on standard input begins as {encoding} and is none: {one_line(problem)}"
        raise UsageError(f"{found}; write it in UTF-8") from problem


def _listed(lines: list[bytes], null: bool) -> Iterator[Item]:
    for line in lines:
        path = os.fsdecode(line if null else line.removesuffix(b"\r"))
        if path:
            yield Item(path)


def _endings(besides: Collection[str]) -> str:
    return " ".join(sorted(readable().union(besides)))
