"""Folders that are one table in several files, as Hugging Face's datasets writes them and its hub keeps them."""

from __future__ import annotations

import json
import re
from pathlib import Path

from .inputs import is_folder, natural_key

ENDINGS = (".parquet", ".arrow")
_MARKERS = ("state.json", "dataset_info.json", "dataset_dict.json")  # of what datasets' save_to_disk writes
_SHARD = re.compile(r".+-[0-9]{5}-of-[0-9]{5}\.(parquet|arrow)")  # what datasets calls the files of a table


def is_dataset(path: str) -> bool:
    """Whether a path is a folder of a table's files: by its markers, or by what its files are called."""
    if not is_folder(path):
        return False
    folder = Path(path)
    try:
        if any((folder / name).is_file() for name in _MARKERS):
            return bool(shards_of(folder))
        return any(_SHARD.fullmatch(file.name) for below in (folder, folder / "data") for file in _files(below))
    except PermissionError:
        return False  # whoever lists it says so


def _files(folder: Path) -> list[Path]:
    """The files of tables in a folder, in natural order; hidden ones and the caches of datasets are none."""
    found = (file for file in folder.glob("*") if file.suffix.lower() in ENDINGS and file.is_file())
    named = (file for file in found if not file.name.startswith((".", "cache-")))
    return sorted(named, key=lambda file: natural_key(str(file)))


def shards_of(folder: Path) -> list[Path]:
    """The files of a dataset's folder: of each of its splits, or those that its state names, else in it or in data/."""
    splits = _listed(folder / "dataset_dict.json", "splits")
    if splits:
        return [shard for name in splits for shard in _of_one(folder / name)]
    return _of_one(folder)


def _of_one(folder: Path) -> list[Path]:
    stated = _listed(folder / "state.json", "_data_files")
    return [folder / name for name in stated] or _files(folder) or _files(folder / "data")


def _listed(file: Path, key: str) -> list[str]:
    """The names in a list of what datasets writes; they are of the same folder, whatever they say."""
    try:
        entries = json.loads(file.read_bytes())[key]
        return [Path(entry["filename"] if isinstance(entry, dict) else entry).name for entry in entries]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []
