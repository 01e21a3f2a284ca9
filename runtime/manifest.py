"""The manifest: what a model folder is, with the hash and size of every other file (DESIGN 4)."""

from __future__ import annotations

import hashlib
import json
import re
import reprlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from . import output_file
from .errors import PscrError, Status, one_line
from .samplings import Sampling
from .samplings import read as read_sampling
from .score_scale import ScoreScale
from .version import __version__

FORMAT_VERSION = 2  # 2: the sampling may have a view; without one it is as in the first
FILE_NAME = "manifest.json"
_MOST_PATCHES = 1024  # per image; a manifest that asks for more is damaged
_LONGEST_SIDE = 1 << 16
_LARGEST_MANIFEST = 16 << 20
_LARGEST_FILE = 4 << 30  # bytes; an ONNX file ends at 2 GiB, an engine of these networks long before
_TYPES: dict[str, type] = {
    "name": str,
    "version": str,
    "backbone": str,
    "precision": str,
    "score": dict,
    "bank": dict,
    "training": dict,
    "parity": dict,
    "licence": str,
}


@dataclass(frozen=True)
class FileEntry:
    """A file of the folder: SHA-256 in hexadecimal and size in bytes."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """A model folder's manifest.json, one field for each of its keys.

    bank: {size, selection}. training: {database, split, seed, epochs, metrics with protocol and date}.
    parity: what was compared at export and the largest difference, in score units; the tolerance, in score units and
        as a share of the range.
    golden: {images, scores, tolerance}: what `pscr verify` must find (see golden.py); None where nothing is promised.
    calibration: what the spread stands for (see calibration.py); None where it was not measured.
    files: every other file of the folder by its name.
    """

    name: str
    version: str
    backbone: str
    precision: str
    sampling: Sampling
    score: ScoreScale
    bank: dict[str, Any]
    training: dict[str, Any]
    parity: dict[str, Any]
    licence: str
    files: dict[str, FileEntry]
    golden: dict[str, Any] | None = None
    calibration: dict[str, Any] | None = None
    family: str = "pscr"
    format_version: int = FORMAT_VERSION

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read and check the manifest of a model folder; the other files are only checked when they are read.

        Raises:
            PscrError: MODEL_INVALID: not there, not JSON, a key missing or of the wrong type, another family, a
                newer format, a file name that leads out of the folder.
        """
        path = folder / FILE_NAME
        try:
            size = path.stat().st_size
            if size > _LARGEST_MANIFEST:
                raise _invalid(path, f"has {size} bytes; expected a manifest; fetch or export the model again")
            entries = json.loads(path.read_bytes())
        except OSError as error:
            raise _invalid(path, f"cannot be read ({error.strerror}); expected a model folder") from error
        except (ValueError, RecursionError) as error:
            raise _invalid(path, f"is not JSON ({one_line(error)}); fetch or export the model again") from error
        if not isinstance(entries, dict):
            raise _invalid(
                path, f"holds a JSON {type(entries).__name__}; expected an object; fetch or export the model again"
            )
        _check_version(path, entries)
        for key, kind in _TYPES.items():
            if key not in entries:
                raise _invalid(path, f"has no key {key!r}; fetch or export the model again")
            if not isinstance(entries[key], kind):
                raise _wrong(path, key, entries[key], kind)
        optional: dict[str, Any] = {key: entries.get(key) for key in ("golden", "calibration")}
        for key, entry in optional.items():
            if entry is not None and not isinstance(entry, dict):
                raise _wrong(path, key, entry, dict)
        return cls(
            **{key: entries[key] for key in _TYPES if key != "score"},
            sampling=_sampling(path, entries.get("sampling"), entries["format_version"]),
            format_version=entries["format_version"],
            score=_scale(path, entries["score"]),
            family=entries["family"],
            files=_files(path, entries.get("files")),
            **optional,
        )

    def write(self, folder: Path, names: Sequence[str]) -> None:
        """Write manifest.json into `folder`, listing the files `names` as they lie there now.

        Raises:
            OSError: a file cannot be read or the manifest not written.
        """
        files = {name: FileEntry(_hash((folder / name).read_bytes()), (folder / name).stat().st_size) for name in names}
        entries = {
            "format_version": self.format_version,
            "family": self.family,
            **{key: getattr(self, key) for key in ("name", "version", "backbone", "precision")},
            "sampling": self.sampling.to_dict(),
            "score": self.score.to_dict(),
            **{key: getattr(self, key) for key in ("bank", "training", "parity", "licence")},
            "files": {name: asdict(entry) for name, entry in files.items()},
        }
        entries |= {key: value for key in ("golden", "calibration") if (value := getattr(self, key)) is not None}
        text = json.dumps(entries, indent=2, ensure_ascii=False, allow_nan=False)
        output_file.write(folder / FILE_NAME, f"{text}\n".encode())

    def read_verified(self, folder: Path, name: str) -> bytes:
        """Read a listed file once and give those very bytes, checked against size and hash.

        Raises:
            PscrError: MODEL_INVALID: not listed, missing, leading out of the folder, another size or hash.
        """
        if name not in self.files:
            raise _invalid(folder / FILE_NAME, f"does not list {name!r}; fetch or export the model again")
        path, entry = folder / name, self.files[name]
        try:
            if not path.resolve().is_relative_to(folder.resolve()):
                raise _invalid(path, "is a link that leads out of the model folder; expected a file inside it")
            if path.exists() and not path.is_file():
                raise _invalid(path, "is not a plain file; fetch or export the model again")
            size = path.stat().st_size
            if size != entry.size:
                raise _invalid(path, f"has {size} bytes; expected {entry.size}; fetch or export the model again")
            if size > _LARGEST_FILE:
                raise _invalid(path, f"has {size} bytes; expected at most {_LARGEST_FILE}; do not use this model")
            data = path.read_bytes()
        except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: links in a circle, before Python 3.13
            reason = error.strerror if isinstance(error, OSError) else one_line(error)
            raise _invalid(path, f"cannot be read ({reason}); fetch or export the model again") from error
        found = _hash(data)
        if found != entry.sha256:
            raise _invalid(
                path, f"has sha256 {found[:12]}...; expected {entry.sha256[:12]}...; fetch or export the model again"
            )
        return data


def is_portable(word: str) -> bool:
    """Whether a model's name or version may become a part of a path: ASCII letters and digits, '.', '_' and '-', the
    first of them no '.', and 100 at most. Others are read and score as ever, but no exporter makes a path of them.
    """
    return re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}", word) is not None


def _check_version(path: Path, entries: dict[str, Any]) -> None:
    version, family = entries.get("format_version"), entries.get("family")
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise _invalid(
            path, f"'format_version' is {reprlib.repr(version)}; expected {FORMAT_VERSION}; fetch or export it again"
        )
    if version > FORMAT_VERSION:
        name = entries.get("name", path.parent.name)
        raise _invalid(
            path,
            f"model {reprlib.repr(name)} has format_version {reprlib.repr(version)}; "
            f"this pscr {__version__} reads up to {FORMAT_VERSION}; upgrade pscr",
        )
    if not isinstance(family, str) or not family:
        raise _invalid(path, f"'family' is {reprlib.repr(family)}; expected a family of models, such as 'pscr'")


def _scale(path: Path, entry: dict[str, Any]) -> ScoreScale:
    try:
        return ScoreScale.from_dict(entry)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise _invalid(
            path, f"'score' is not usable ({error!r}); expected meaning, database, range, higher_is_better"
        ) from error


def _sampling(path: Path, entry: Any, version: int) -> Sampling:
    if not isinstance(entry, dict):
        raise _wrong(path, "sampling", entry, dict)
    if version == 1 and {"view", "windows"} & set(entry):
        raise _invalid(path, "is of format_version 1 and has a view, which came with 2; fetch or export it again")
    try:
        sampling = read_sampling(entry)
    except (PscrError, OverflowError) as error:
        raise _invalid(path, f"{one_line(error)}; fetch or export the model again") from error
    if any(entry[key] != value for key, value in sampling.to_dict().items()):
        raise _invalid(path, "'sampling' has text or fractions for whole numbers; fetch or export the model again")
    side = max(sampling.reference_side, sampling.scales_to)
    if sampling.most > _MOST_PATCHES or side > _LONGEST_SIDE:
        found = f"'sampling' cuts {sampling.most} patches from {reprlib.repr(side)} pixels"
        raise _invalid(path, f"{found}; expected at most {_MOST_PATCHES} from {_LONGEST_SIDE}")
    return sampling


def _files(path: Path, entries: Any) -> dict[str, FileEntry]:
    if not isinstance(entries, dict):
        raise _invalid(path, "has no object 'files'; fetch or export the model again")
    files = {}
    for name, entry in entries.items():
        parts = PurePosixPath(name).parts
        if (
            not parts
            or ".." in parts
            or "\\" in name
            or "\0" in name
            or PureWindowsPath(name).anchor
            or parts[0] == "/"
        ):
            raise _invalid(path, f"lists the file {name!r}, which leads out of the model folder; do not use this model")
        try:
            digest, size = entry["sha256"], entry["size"]
        except (KeyError, TypeError) as error:
            raise _invalid(path, f"lists {name!r} without sha256 and size; fetch or export the model again") from error
        if not isinstance(digest, str) or isinstance(size, bool) or not isinstance(size, int):
            raise _invalid(path, f"lists {name!r} without a usable sha256 and size; fetch or export the model again")
        files[name] = FileEntry(digest, size)
    return files


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _wrong(path: Path, key: str, found: Any, kind: type) -> PscrError:
    expected = f"expected a {kind.__name__}; fetch or export the model again"
    return _invalid(path, f"{key!r} is a {type(found).__name__}; {expected}")


def _invalid(path: Path, message: str) -> PscrError:
    return PscrError(Status.MODEL_INVALID, f"{path}: {message}")
