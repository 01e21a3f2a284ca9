"""Arrays and plain values in an .npz that may come from anywhere: nothing is unpickled, and memory is bounded first.

Banks and regressors are such files. What is written is the same to the byte for the same content.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from .errors import PscrError, Status, one_line

LARGEST = 1 << 30  # bytes, packed and unpacked; a million exemplars of ResNet18 take half of it twice
_UNPACKED = 100  # bytes, at most, that a byte of the file gives: terms hardly shrink, names to a tenth
_ALWAYS = 1 << 20  # bytes that any file may unpack to
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the others' files say how much memory they want
_EPOCH = (1980, 1, 1, 0, 0, 0)


class NpzFile:
    """The entries of an .npz, by their keys. No more is allocated than the file itself says."""

    def __init__(self, data: bytes) -> None:
        """Look at the directory.

        Raises:
            ValueError: it unpacks to more than 100 times its size (or 1 MiB), or to more than 1 GiB. Whatever zipfile
                raises for damaged bytes.
        """
        self._archive = zipfile.ZipFile(io.BytesIO(data))
        size = sum(entry.file_size for entry in self._archive.infolist())
        most = min(LARGEST, _ALWAYS + _UNPACKED * len(data))
        if size > most:
            raise ValueError(f"unpacks to {size} bytes; expected at most {most}")

    def __contains__(self, key: str) -> bool:
        return f"{key}.npy" in self._archive.NameToInfo

    def array(self, key: str) -> NDArray[Any]:
        """An array, whose header is compared with the entry's size before memory is taken for it.

        Raises:
            KeyError, ValueError: there is none, or its sizes do not agree. Whatever zipfile and numpy raise for damaged
                bytes.
        """
        entry = self._archive.getinfo(f"{key}.npy")
        if entry.compress_type not in _PACKED:
            raise ValueError(f"{key} is packed by method {entry.compress_type}")
        with self._archive.open(entry) as stream:
            version = np.lib.format.read_magic(stream)
            if version not in ((1, 0), (2, 0)):
                raise ValueError(f"{key} has the .npy format {version}")
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, kind = read(stream, max_header_size=4096)
            promised = stream.tell() + math.prod(shape) * kind.itemsize
        if kind.hasobject or not kind.itemsize or min(shape, default=0) < 0 or promised != entry.file_size:
            found = f"{shape} of {kind} in {entry.file_size} bytes"
            raise ValueError(f"{key} is {found}; loaded with allow_pickle=False, sizes must agree")
        with self._archive.open(entry) as stream:
            return np.asarray(np.lib.format.read_array(stream, allow_pickle=False, max_header_size=4096))

    def value(self, key: str) -> Any:
        """What a text of JSON says. Errors as `array`, and ValueError for other text."""
        return json.loads(str(self.array(key)[()]))

    def get(self, key: str) -> NDArray[Any] | None:
        """`array`, or None where there is no such key."""
        return self.array(key) if key in self else None


def read(path: Path, expected: str) -> bytes:
    """A file's bytes. expected: what it should be, for messages.

    Raises:
        PscrError: FILE_NOT_FOUND where it cannot be read; MODEL_INVALID where it is larger than `LARGEST`.
    """
    try:
        size = path.stat().st_size
        if size > LARGEST:
            found = f"{path}: has {size} bytes; expected at most {LARGEST}"
            raise PscrError(Status.MODEL_INVALID, f"{found}, as {expected} has")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else one_line(error)
        raise PscrError(Status.FILE_NOT_FOUND, f"{path}: cannot be read ({reason}); expected {expected}") from error


def write(file: Path | IO[bytes], entries: Mapping[str, Any]) -> None:
    """Write arrays, and values as JSON; what is None is left out.

    Raises:
        OSError: it cannot be written.
    """
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for key, given in entries.items():
            if given is None:
                continue
            array = given if isinstance(given, np.ndarray) else np.asarray(json.dumps(given, allow_nan=False))
            with archive.open(zipfile.ZipInfo(f"{key}.npy", _EPOCH), "w") as stream:
                np.lib.format.write_array(stream, array, allow_pickle=False)
