"""What becomes of images whose score is not good enough: they are moved aside, or their paths are listed."""

from __future__ import annotations

import errno
import itertools
import math
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..console import UsageError, err
from ..runtime import output_file
from ..runtime.errors import one_line
from ..runtime.score_scale import ScoreScale
from ..runtime.scorer import Result
from .inputs import Item

# What the system says where it cannot link a file, and can perhaps copy it.
_NO_LINK = (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EACCES, errno.EINVAL)


@dataclass
class Gate:
    """The images of a run that do not pass, and what is done with them once all rows are written.

    limit: score units; an image of exactly that passes. lowest: whether it is the lowest score that passes, else the
    highest. move_to: the folder that they are moved to. delete_list: the file that their paths are written to, a line
    each, or where `null` is set ended by NUL. An image without a score stays where it is.
    """

    limit: float
    lowest: bool
    move_to: Path | None = None
    delete_list: str | None = None
    null: bool = False
    _held: dict[str, None] = field(default_factory=dict)

    def check(self, scale: ScoreScale) -> None:
        """Refuse a limit at the good end of the scale, and outputs that cannot be written.

        Raises:
            UsageError, PscrError: such a one.
        """
        if self.lowest != scale.higher_is_better:
            wrong, right = ("--min-score", "--max-score") if self.lowest else ("--max-score", "--min-score")
            raise UsageError(f"{wrong} would hold back the best images of this scale ({scale}); expected {right}")
        if self.delete_list is not None:
            output_file.check(self.delete_list, "--delete-list")
        if self.move_to is not None:
            try:
                self.move_to.mkdir(parents=True, exist_ok=True)
            except OSError as problem:
                raise UsageError(f"--move-to {self.move_to}: {problem.strerror}; name another folder") from problem
            if not os.access(self.move_to, os.W_OK | os.X_OK):
                raise UsageError(f"--move-to {self.move_to} cannot be written to; name another folder")

    def add(self, item: Item, result: Result) -> None:
        """One more image. Of a table or a tar there is no file, and it passes."""
        passes = math.isnan(result.score) or (result.score >= self.limit if self.lowest else result.score <= self.limit)
        if not passes and item.source is None:
            self._held[item.path] = None

    def close(self) -> tuple[str, int]:
        """Move the images or write the list; what was done in a line, and how many images it failed for.

        Why it failed is said on standard error, a line each, and such an image stays where it is.

        Raises:
            OSError: the list cannot be written.
        """
        side = "below" if self.lowest else "above"
        if self.move_to is not None:
            failed = sum(not self._moved(path, self.move_to) for path in self._held)
            return f"{len(self._held) - failed} images {side} {self.limit:g} moved to {self.move_to}", failed
        assert self.delete_list is not None
        listed = [path for path in self._held if self.null or not {"\n", "\r"} & set(path)]
        for path in self._held.keys() - set(listed):
            err(f"pscr: {path} is not listed: there is a line end in its name; --null lists it")
        end = b"\0" if self.null else b"\n"
        output_file.write(self.delete_list, b"".join(os.fsencode(path) + end for path in listed))
        return f"{len(listed)} images {side} {self.limit:g} listed in {self.delete_list}", len(self._held) - len(listed)

    def _moved(self, path: str, folder: Path) -> bool:
        """Move one image, unless it is in the folder already; False where it cannot be."""
        source = Path(path)
        try:
            if not source.parent.samefile(folder):
                move(source, folder)
        except OSError as problem:
            err(f"pscr: {path} stays where it is: {problem.strerror or one_line(problem)}")
            return False
        return True


def move(source: Path, folder: Path) -> Path:
    """Move a file into a folder, also of another file system; returns where it is. Nothing there is written over.

    Where its name is taken, a number is added: one.png, one-2.png. A symbolic link is made anew to what it leads to.

    Raises:
        OSError: it cannot be; the file is then where it was.
    """
    for target in _names(folder, source):
        try:
            _place(source, target)
        except FileExistsError:
            continue
        try:
            source.unlink()
        except OSError:
            target.unlink()
            raise
        return target
    raise AssertionError("numbers do not end")


def _names(folder: Path, source: Path) -> Iterator[Path]:
    yield folder / source.name
    yield from (folder / f"{source.stem}-{number}{source.suffix}" for number in itertools.count(2))


def _place(source: Path, target: Path) -> None:
    """Make the same file under a name that is free.

    Raises:
        FileExistsError: it is taken.
        OSError: it cannot be, and nothing was made.
    """
    if source.is_symlink():
        target.symlink_to(source.resolve(strict=True))
        return
    try:
        os.link(source, target)
    except OSError as problem:
        if problem.errno not in _NO_LINK:
            raise
        _copy(source, target)


def _copy(source: Path, target: Path) -> None:
    """Copy a file, with its times and rights, under a name that is free; errors as `_place`."""
    with source.open("rb") as original:
        copy = target.open("xb")
        try:
            with copy:
                shutil.copyfileobj(original, copy)
                copy.flush()
                os.fsync(copy.fileno())
            shutil.copystat(source, target)
        except BaseException:
            target.unlink()
            raise
