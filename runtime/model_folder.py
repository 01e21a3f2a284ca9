"""A model folder, opened: its manifest, and its files checked against it as they are read (DESIGN 4)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from .calibration import Calibration
from .diagnosis import FILE as DIAGNOSIS
from .diagnosis import Classifier
from .errors import PscrError, Status
from .graph_check import check_graph
from .manifest import Manifest
from .models import PACKAGED, locate, packaged

GRAPH = "model.onnx"


@dataclass(frozen=True)
class ModelFolder:
    """path: the folder. manifest: what it says of itself."""

    path: Path
    manifest: Manifest

    @classmethod
    def read(cls, model: str | os.PathLike[str]) -> ModelFolder:
        """Find a model by its name or folder and read its manifest; the other files are read when they are asked for.

        Raises:
            PscrError: MODEL_INVALID, INVALID_ARGUMENT.
        """
        path = locate(model)
        return cls(path, Manifest.read(path))

    @property
    def name(self) -> str:
        """By what the folder is found from anywhere: a packaged model's name, else the absolute path."""
        return self.path.name if self.path.parent == PACKAGED else str(self.path.absolute())

    def graph(self) -> bytes:
        """The bytes of model.onnx, as the manifest has them, of a graph that does not make much out of little.

        Raises:
            PscrError: MODEL_INVALID.
        """
        data = self.verified(GRAPH)
        check_graph(data)
        return data

    def verified(self, name: str) -> bytes:
        """A file's bytes, compared with the manifest's size and hash.

        Raises:
            PscrError: MODEL_INVALID.
        """
        return self.manifest.read_verified(self.path, name)

    def calibration(self) -> Calibration | None:
        """What the manifest says of intervals, where it does.

        Raises:
            PscrError: MODEL_INVALID where that cannot be used.
        """
        entry = self.manifest.calibration
        return None if entry is None else Calibration.from_dict(entry, str(self.path))

    def classifier(self) -> Classifier | None:
        """What makes a diagnosis of the graph's terms; None where the folder has no such file.

        Raises:
            PscrError: MODEL_INVALID where it cannot be used.
        """
        if DIAGNOSIS not in self.manifest.files:
            return None
        return Classifier.from_bytes(self.verified(DIAGNOSIS), str(self.path / DIAGNOSIS))

    def no_classifier(self) -> PscrError:
        """Why there can be no diagnosis, and which packaged models make one."""
        others = [name for name in packaged() if DIAGNOSIS in Manifest.read(PACKAGED / name).files]
        advice = f"of the packaged models {', '.join(others)} can" if others else "fit one: see docs/diagnosis.md"
        found = f"{self.manifest.name} cannot say what is wrong with an image: it has no {DIAGNOSIS}"
        return PscrError(Status.INVALID_ARGUMENT, f"{found}; {advice}")
