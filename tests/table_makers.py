"""Tables and tar files of real images, for the tests of what reads them."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])  # Hugging Face's


def held(files: Iterable[Path]) -> list[dict[str, Any]]:
    """Images as Hugging Face's datasets hold them."""
    return [{"bytes": file.read_bytes(), "path": file.name} for file in files]


def write_parquet(path: Path, columns: dict[str, Any], rows_of_a_group: int = 7) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pa.table(columns), path, row_group_size=rows_of_a_group)
    return path


def write_arrow(path: Path, columns: dict[str, Any], rows_of_a_batch: int = 7) -> Path:
    """An Arrow stream, as `save_to_disk` of Hugging Face's datasets writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, rows_of_a_batch)
    return path


def write_tar(
    path: Path, members: Sequence[tuple[str, bytes]], mode: str = "w", form: int = tarfile.PAX_FORMAT
) -> Path:
    """A tar of plain files; mode: w, or w:gz."""
    with tarfile.open(path, mode, format=form) as tar:  # type: ignore[call-overload]
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def write_shard(path: Path, files: Sequence[Path], mode: str = "w") -> Path:
    """A shard of WebDataset: each image with its .json and .txt."""
    members = []
    for number, file in enumerate(files):
        key = f"{number:04}"
        members += [
            (key + file.suffix, file.read_bytes()),
            (key + ".json", json.dumps({"caption": f"caption {number}", "n": number}).encode()),
            (key + ".txt", f"text {number}".encode()),
        ]
    return write_tar(path, members, mode)
