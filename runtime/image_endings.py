"""What image files are called, and which of them can be read here: some formats need a library that may be missing."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec

# By the module that reads them; nothing for OpenCV, which is always there.
_READ_BY = {
    "": (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif"),
        *(".avif", ".jp2", ".jpx", ".jpf", ".ppm", ".pgm", ".pbm", ".pnm"),
    ),
    "PIL": (".j2k", ".j2c", ".jpc", ".qoi", ".tga"),
    "pillow_heif": (".heic", ".heif", ".hif"),
    "pillow_jxl": (".jxl",),
}
_PLUGINS = {"pillow_heif": "register_heif_opener", "pillow_jxl": ""}  # what makes it known, besides its import
ENDINGS = frozenset(ending for endings in _READ_BY.values() for ending in endings)


@cache
def readable() -> frozenset[str]:
    """The endings of image files that can be read here, in lower case, with their dot."""
    there = (endings for module, endings in _READ_BY.items() if not module or find_spec(module))
    return frozenset(ending for endings in there for ending in endings)


def advice() -> str:
    """What would let more formats be read, as the end of a message; nothing where all can be."""
    return "" if readable() == ENDINGS else "; pip install 'pscr[formats]' reads more"


@cache
def register_plugins() -> None:
    """Let Pillow, which must be installed, read what its installed plugins read."""
    for module, register in _PLUGINS.items():
        if find_spec(module):
            plugin = import_module(module)
            if register:
                getattr(plugin, register)()
