"""Writing a model folder whole or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pscr.runtime.manifest import FILE_NAME, Manifest


@contextmanager
def unfinished(output: Path) -> Iterator[Path]:
    """A temporary folder beside `output`, for the files of a model; it is removed however this ends."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}-") as temporary:
        yield Path(temporary)


def finish(manifest: Manifest, folder: Path, files: Sequence[str], output: Path) -> str:
    """Write the manifest of `files` in an unfinished folder and move everything to `output`. Returns a line on it."""
    manifest.write(folder, files)
    output.mkdir(exist_ok=True)
    for name in (*files, FILE_NAME):
        (folder / name).replace(output / name)
    sizes = ", ".join(f"{name} {(output / name).stat().st_size / 1e6:.1f} MB" for name in files)
    return f"{output.name}: {sizes}; {manifest.bank['size']} exemplars"
