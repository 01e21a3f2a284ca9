"""A model folder: read and checked in one go, and written whole or not at all."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..runtime.bank import Bank
from ..runtime.engines import FOLDER, Engine
from ..runtime.engines import files as engines_of
from ..runtime.errors import PscrError, Status
from ..runtime.families import read_head
from ..runtime.families.head import Head, Signature
from ..runtime.families.pscr import PscrHead
from ..runtime.manifest import FILE_NAME, Manifest
from ..runtime.model_folder import ModelFolder
from ..runtime.models import packaged

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoredModel:
    """A model folder that was read: its manifest, the bytes of model.onnx, its head."""

    folder: Path
    manifest: Manifest
    graph: bytes
    head: Head

    @classmethod
    def read(cls, model: str | Path) -> StoredModel:
        """Read a model folder, or an installed model by its name.

        Raises:
            PscrError: MODEL_INVALID.
        """
        found = ModelFolder.read(model)
        return cls(found.path, found.manifest, found.graph(), read_head(found))

    @property
    def signature(self) -> Signature:
        """What the graph takes besides patches, and gives."""
        return self.head.signature

    @property
    def bank(self) -> Bank:
        """The bank of a model of the family pscr.

        Raises:
            PscrError: MODEL_INVALID for another family.
        """
        if not isinstance(self.head, PscrHead):
            found = f"{self.folder}: a model of the family {self.head.family}, which has no bank"
            raise PscrError(Status.MODEL_INVALID, f"{found}; expected one of the family pscr")
        return self.head.bank


def check_bakes(head: Head) -> None:
    """See that a graph with this head's constants inside scores images.

    Raises:
        PscrError: INVALID_ARGUMENT for a full-reference model, whose graph sees an image without its original.
    """
    if head.needs_reference:
        found = "a full-reference model compares an image with its original, which its graph does not"
        raise PscrError(Status.INVALID_ARGUMENT, f"{found}; leave the form with the head inside out")


def is_model(path: str | Path) -> bool:
    """Whether this is a model folder, or the name of an installed model, and not a training run."""
    return str(path) in packaged() or (Path(path) / FILE_NAME).is_file()


@contextmanager
def unfinished(output: Path) -> Iterator[Path]:
    """A new folder beside `output` for the files of a model, until `finish`; it is removed however this ends.

    Raises:
        PscrError: INVALID_ARGUMENT where `output` is there and is neither a model folder nor an empty one.
        OSError: nothing can be written there.
    """
    if output.exists() and not is_model(output) and not (output.is_dir() and not any(output.iterdir())):
        raise PscrError(Status.INVALID_ARGUMENT, f"{output} is there and is no model folder; name another -o")
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}-") as temporary:
        folder = Path(temporary) / output.name
        folder.mkdir()
        yield folder


def finish(manifest: Manifest, folder: Path, files: Sequence[str], output: Path) -> Manifest:
    """Write the manifest of `files` in an unfinished folder and put the folder in the place of `output`.

    What an older `output` has besides its own files comes along, such as a README.md or pictures; of its engines those
    that were built from the very same model.onnx do, and the others go with the graph that they were built from.

    Returns the manifest as it was written.
    Raises:
        OSError: the disk is full, or `output` cannot be moved; it is then as it was.
    """
    manifest.write(folder, files)
    written = Manifest.read(folder)
    if output.exists():
        _bring_along(output, folder, written.files["model.onnx"].sha256)
    _swap(folder, output)
    sizes = ", ".join(f"{name} {written.files[name].size / 1e6:.1f} MB" for name in files)
    exemplars = f"; {written.bank['size']} exemplars" if "size" in written.bank else ""
    _log.info("%s: %s%s", output.name, sizes, exemplars)
    return written


def _bring_along(old: Path, new: Path, onnx_sha256: str) -> None:
    """Copy what a new folder takes over from an old one; see `finish`."""
    try:
        replaced = {Path(name).parts[0] for name in Manifest.read(old).files}
    except PscrError:
        replaced = set()  # it was empty, or is damaged
    for path in old.iterdir():
        if path.name in (*replaced, FILE_NAME, FOLDER) or (new / path.name).exists():
            continue
        (shutil.copytree if path.is_dir() else shutil.copy2)(path, new / path.name)
    for path in engines_of(old):
        try:
            fits = Engine.read(path).sidecar.onnx_sha256 == onnx_sha256
        except PscrError:
            fits = False
        if not fits:
            _log.info("%s: removed, it was built from another model.onnx", path.name)
            continue
        (new / FOLDER).mkdir(exist_ok=True)
        for file in (path, path.with_name(f"{path.name}.json")):
            shutil.copy2(file, new / FOLDER / file.name)


def _swap(folder: Path, output: Path) -> None:
    """Put a folder in the place of another by two renames; where one fails the old folder is back in its place."""
    before = folder.parent.with_name(f"{folder.parent.name}-before")
    try:
        if output.exists():
            output.rename(before)
        folder.rename(output)
    except BaseException:
        if before.exists() and not output.exists():
            before.rename(output)
        raise
    shutil.rmtree(before, ignore_errors=True)
