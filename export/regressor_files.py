"""Linear regressors as their authors published them: pickles of scikit-learn's Ridge, and TorchScript modules.

Both are pickles, which can name any function to be called as they are read. Here nothing is called: what a pickle may
name is a short list, and each name stands for a note of what was found. Whatever else it names is refused by name.
TorchScript's own code is not looked at, and neither scikit-learn nor `torch.jit` is imported.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..runtime.errors import PscrError, Status, one_line
from ..runtime.regressor import Regressor
from ..runtime.score_scale import ScoreScale

_LARGEST = 64 << 20  # bytes; the published ones have 17,000
_KINDS = {"f4": np.float32, "f8": np.float64}
_STORAGES = {"FloatStorage": np.float32, "DoubleStorage": np.float64}
_EXPECTED = "expected a pickle of sklearn's Ridge, a TorchScript module of weights and biases, or a regressor.npz"


def read_regressor(
    file: Path,
    scale: Callable[[], ScoreScale],
    rescaled: Callable[[Regressor], Regressor] = lambda regressor: regressor,
) -> Regressor:
    """A regressor from its file. One of `pscr regress` says itself what its scores mean.

    scale: tells it of the others; it is asked where the file does not say. rescaled: is applied to the others.

    Raises:
        PscrError: FILE_NOT_FOUND; MODEL_INVALID for another file, one that names what no regressor needs, or one whose
            numbers do not fit each other; those of `scale`.
    """
    try:
        size = file.stat().st_size
        data = file.read_bytes() if size <= _LARGEST else b""
    except OSError as error:
        raise PscrError(Status.FILE_NOT_FOUND, f"{file}: cannot be read ({error.strerror}); {_EXPECTED}") from error
    if not data:
        raise _invalid(file, f"has {size} bytes; {_EXPECTED}")
    try:
        if not data.startswith(b"PK"):
            weights, intercept = _ridge(data)
        elif any(name.endswith("/data.pkl") for name in zipfile.ZipFile(io.BytesIO(data)).namelist()):
            weights, intercept = _torch_script(data)
        else:
            return Regressor.from_bytes(data, str(file))
        weights, intercept = (np.asarray(value, np.float32).reshape(-1) for value in (weights, intercept))
    except PscrError:
        raise
    except _ForeignError as error:
        found = f"names {error}, which no linear regressor needs; nothing in it was executed"
        raise _invalid(file, f"{found}; do not use this file") from error
    except Exception as error:  # pickle and zipfile raise whatever damaged bytes drive them to
        raise _invalid(file, f"is no regressor ({one_line(error)}); {_EXPECTED}") from error
    if intercept.shape != (1,) or not len(weights) or not (np.isfinite(weights).all() and np.isfinite(intercept).all()):
        found = f"has {len(weights)} weights and {len(intercept)} intercepts"
        raise _invalid(file, f"{found}; expected one score of one or more finite weights")
    return rescaled(Regressor(weights[None], intercept, scale()))


def to_unit(regressor: Regressor) -> Regressor:
    """The same regressor with scores from 0, the worst end of its scale, to 1, the best."""
    scale = regressor.score
    low, high = scale.range
    worst, width = (low, high - low) if scale.higher_is_better else (high, low - high)
    intercepts = (regressor.intercepts.astype(np.float64) - worst) / width
    words = f"{scale.meaning} from {low:g} to {high:g}, brought to 0 for the worst and 1 for the best"
    return Regressor(
        (regressor.weights / width).astype(np.float32),
        intercepts.astype(np.float32),
        ScoreScale(words, scale.database, (0.0, 1.0)),
    )


class _ForeignError(Exception):
    """A pickle names what is not on its list."""


class _Note:
    """Stands for an object of a class that a pickle names; keeps what it was made with and its state."""

    def __init__(self, *made_with: Any) -> None:
        self.made_with = made_with
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Reader(pickle.Unpickler):
    """Reads a pickle whose names are all in `names`, or accepted by `accepts`, and which refers to `storages` alone."""

    def __init__(
        self,
        data: bytes,
        names: Mapping[tuple[str, str], Callable[..., Any]],
        accepts: Callable[[str, str], type[_Note] | None] = lambda module, name: None,
        storage: Callable[[Any], Any] | None = None,
    ) -> None:
        super().__init__(io.BytesIO(data))
        self._names, self._accepts, self._storage = names, accepts, storage

    def find_class(self, module: str, name: str) -> Any:
        """See pickle."""
        found = self._names.get((module, name)) or self._accepts(module, name)
        if found is None:
            raise _ForeignError(f"{module}.{name}"[:200])
        return found

    def persistent_load(self, key: Any) -> Any:
        """See pickle."""
        if self._storage is None:
            raise _ForeignError("data outside of it")
        return self._storage(key)


class _Ridge(_Note):
    """sklearn.linear_model.Ridge."""


class _Array(_Note):
    """numpy.ndarray."""


class _Type(_Note):
    """numpy.dtype."""


def _ridge(data: bytes) -> tuple[Any, Any]:
    """`coef_` and `intercept_` of a pickled Ridge."""
    numpy = ("numpy.core.multiarray", "numpy._core.multiarray")  # before and since numpy 2
    names: dict[tuple[str, str], Callable[..., Any]] = {
        ("sklearn.linear_model._ridge", "Ridge"): _Ridge,
        ("sklearn.linear_model.ridge", "Ridge"): _Ridge,  # before 0.22
        ("numpy", "ndarray"): _Array,
        ("numpy", "dtype"): _Type,
        **{(module, "_reconstruct"): lambda *made_with: _Array(*made_with) for module in numpy},
        **{(module, "scalar"): lambda kind, raw: _values(kind, (), raw) for module in numpy},
    }
    found = _Reader(data, names).load()
    if not isinstance(found, _Ridge) or not isinstance(found.state, dict):
        raise ValueError(f"it holds a {type(found).__name__.lstrip('_')}")
    return _number(found.state["coef_"]), _number(found.state["intercept_"])


def _number(found: Any) -> Any:
    """The numbers that an entry of a Ridge stands for."""
    if isinstance(found, _Array):
        _, shape, kind, fortran, raw = found.state
        return _values(kind, shape, raw, "F" if fortran else "C")
    return found


def _values(kind: Any, shape: Any, raw: Any, order: Any = "C") -> NDArray[Any]:
    """An array from numpy's own pickle of its type, shape and bytes."""
    code = kind.made_with[0] if isinstance(kind, _Type) else None
    if code not in _KINDS or not isinstance(raw, bytes) or kind.state[1] not in ("<", "="):
        raise ValueError(f"numbers of the type {code!r}")
    return np.frombuffer(raw, np.dtype(_KINDS[code]).newbyteorder("<")).reshape(shape, order=order)


def _torch_script(data: bytes) -> tuple[Any, Any]:
    """The tensors `weights` and `biases` of a TorchScript module that has no other."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > _LARGEST:
            raise ValueError("it unpacks to too much")
        described = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
        root = described.removesuffix("data.pkl")

        def storage(key: Any) -> NDArray[Any]:
            _, kind, place, _, count = key
            return np.frombuffer(archive.read(f"{root}data/{place}"), np.dtype(kind).newbyteorder("<"), count)

        found = _Reader(archive.read(described), _TENSORS, _only_one(), storage).load()
    state = found.state if isinstance(found, _Note) else None
    if not isinstance(state, dict):
        raise ValueError("it holds no module")
    tensors = {name: value for name, value in state.items() if isinstance(value, np.ndarray)}
    if set(tensors) != {"weights", "biases"}:
        raise ValueError(f"it has the tensors {', '.join(map(str, state))[:100]}")
    return tensors["weights"], tensors["biases"]


def _only_one() -> Callable[[str, str], type[_Note] | None]:
    """Accepts one class of TorchScript, the module's own: one with parts computes more than a linear regressor."""
    seen: set[tuple[str, str]] = set()

    def accepts(module: str, name: str) -> type[_Note] | None:
        seen.add((module, name))
        ours = module.partition(".")[0] == "__torch__" and len(seen) == 1
        return _Note if ours else None

    return accepts


def _tensor(storage: NDArray[Any], offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any) -> Any:
    """A tensor of numbers that lie one behind the other."""
    count = int(np.prod(shape, dtype=np.int64))
    long = [(side, stride) for side, stride in zip(shape, strides, strict=True) if side != 1]
    if len(long) > 1 or any(stride != 1 for _, stride in long) or not 0 <= offset <= len(storage) - count:
        raise ValueError(f"a tensor of {shape}")
    return storage[offset : offset + count]


_TENSORS: dict[tuple[str, str], Callable[..., Any]] = {
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("collections", "OrderedDict"): dict,
    **{("torch", name): kind for name, kind in _STORAGES.items()},
}


def _invalid(file: Path, found: str) -> PscrError:
    return PscrError(Status.MODEL_INVALID, f"{file}: {found}")
