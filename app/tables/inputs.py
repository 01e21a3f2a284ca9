"""What the paths on the command line stand for: files, folders, patterns, or a list on standard input."""

from __future__ import annotations

import glob
import itertools
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..console import UsageError

EXTENSIONS = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".webp",
        ".bmp",
        ".dib",
        ".tif",
        ".tiff",
        ".gif",
        ".avif",
        ".jp2",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
    ]
)
STDIN = "-"
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Item:
    """One image to score, or one input that names no image: then `problem` says why."""

    path: str
    problem: str = ""


def expand(paths: Iterable[str]) -> list[Item]:
    """The images that files, folders and patterns stand for, in the order given.

    A folder stands for the images below it, by extension, hidden files and folders and linked folders left out, in
    natural order (img2 before img10). A pattern ('runs/**/*.png') stands for the images that it matches, in the same
    order. Any other path is taken as it is, whatever it is called and whether or not it exists: its row will say.
    A path that is given twice is scored twice.
    """
    items: list[Item] = []
    for path in paths:
        if _is_folder(path):
            items += _folder(path)
        elif glob.has_magic(path) and not os.path.lexists(path):
            items += _pattern(path)
        else:
            items.append(Item(path))
    return items


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
    first_item = next(items_to_come, None)
    if first_item is None:
        raise UsageError("no paths on standard input; expected one a line (or --null, each ended by a NUL byte)")
    return itertools.chain([first_item], items_to_come), None


def read_list(stream: BinaryIO, null: bool = False) -> Iterator[Item]:
    """The paths on a stream, as they arrive: one a line, or each ended by a NUL byte. Empty ones are skipped."""
    end = b"\0" if null else b"\n"
    rest = b""
    while chunk := _read_some(stream):
        *whole, rest = (rest + chunk).split(end)
        yield from _listed(whole, null)
    yield from _listed([rest], null)


def natural_key(path: str) -> tuple[object, ...]:
    """The sort key that puts img2 before img10 and keeps a folder's files together; the spelling settles ties."""
    return tuple(_part_key(part) for part in Path(path).parts), path


def is_image_name(name: str) -> bool:
    """Whether a file is called like an image, in upper or lower case, and is not hidden."""
    return not name.startswith(".") and Path(name).suffix.lower() in EXTENSIONS


def _is_folder(path: str) -> bool:
    """Whether this is a folder; a name that the system cannot even look up (too long, no permission) is not."""
    try:
        return bool(path) and Path(path).is_dir()
    except OSError:
        return False


def _folder(folder: str) -> list[Item]:
    images: list[str] = []
    unreadable: list[Item] = []

    def cannot_list(problem: OSError) -> None:
        unreadable.append(Item(str(problem.filename), f"the folder cannot be listed: {problem.strerror}"))

    for root, folders, names in os.walk(folder, onerror=cannot_list):
        folders[:] = [name for name in folders if not name.startswith(".")]
        images += [str(Path(root, name)) for name in names if is_image_name(name)]
    if not images and not unreadable:
        return [Item(folder, f"no images in this folder; expected files ending in {_endings()}")]
    return [Item(path) for path in sorted(images, key=natural_key)] + unreadable


def _pattern(pattern: str) -> list[Item]:
    matches = glob.glob(pattern, recursive=True)
    files = [path for path in matches if Path(path).is_file()]
    images = [path for path in files if is_image_name(Path(path).name)]
    if not files:
        return [Item(pattern, "no file matches this pattern; check the folder it starts from ('**' crosses folders)")]
    if not images:
        found = f"none of the {len(files)} files that match this pattern is called like an image"
        return [Item(pattern, f"{found}; expected names ending in {_endings()}, or the files' own names")]
    return [Item(path) for path in sorted(images, key=natural_key)]


def _part_key(part: str) -> tuple[tuple[int, str] | str, ...]:
    pieces = re.split(r"([0-9]+)", part.casefold())
    return tuple((int(piece), piece) if place % 2 else piece for place, piece in enumerate(pieces))


def _read_some(stream: BinaryIO) -> bytes:
    """What has arrived, without waiting for a full chunk: a slow writer's first path is scored at once."""
    read1 = getattr(stream, "read1", stream.read)
    return bytes(read1(_CHUNK))


def _listed(lines: list[bytes], null: bool) -> Iterator[Item]:
    for line in lines:
        path = os.fsdecode(line if null else line.removesuffix(b"\r"))
        if path:
            yield Item(path)


def _endings() -> str:
    return " ".join(sorted(EXTENSIONS))
