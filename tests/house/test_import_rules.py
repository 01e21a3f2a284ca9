"""Who may import whom (DESIGN 5), read from the source itself."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOUSES = {"pscr": "pscr", "runtime": "pscr.runtime", "export": "pscr.export", "training": "pscr.training"}
FORBIDDEN = {
    "runtime": ("torch", "onnx", "PIL", "scipy", "pandas", "pscr.training", "pscr.export", "pscr.commands.main", "ray"),
    "training": ("onnx", "onnxruntime", "pscr.export", "pscr.commands.main"),
    "export": ("pscr.commands.main",),
    "pscr": ("torch", "onnx", "onnxruntime", "PIL", "scipy"),
}
ONE_FILE = {"onnxruntime": 2, "tensorrt": 2, "tensorrt_rtx": 2, "pycuda": 1, "cuda": 1, "openvino": 1}


def sources():
    """Every source file of the project, by house."""
    for house in (*HOUSES, "benchmarks", "examples", "tests"):
        for file in sorted((ROOT / house).rglob("*.py")):
            yield house, file


def imported(house: str, file: Path):
    """The absolute names of all modules a file imports, anywhere in it, also through import_module("...")."""
    package = (HOUSES.get(house, house) + "." + ".".join(file.relative_to(ROOT / house).parent.parts)).rstrip(".")
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*package.split(".")[: len(package.split(".")) - node.level + 1], base]).rstrip(".")
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "import_module":
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str) and not first.value.startswith("PIL"):
                yield first.value


def begins(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")


@pytest.mark.parametrize("house", HOUSES)
def test_a_house_imports_only_whom_it_may(house):
    broken = [
        f"{file.relative_to(ROOT)} imports {name}"
        for own, file in sources()
        if own == house
        for name in imported(own, file)
        if any(begins(name, other) for other in FORBIDDEN[house])
    ]
    assert not broken


def test_nothing_imports_a_house_by_its_folder_name():
    """`import runtime` would load a second copy of the modules."""
    broken = [
        f"{file.relative_to(ROOT)} imports {name}"
        for own, file in sources()
        for name in imported(own, file)
        if any(begins(name, folder) for folder in ("runtime", "export", "training"))
    ]
    assert not broken


@pytest.mark.parametrize("library", ONE_FILE)
def test_an_inference_library_is_imported_in_one_place(library):
    places = {
        str(file.relative_to(ROOT))
        for own, file in sources()
        if own in ("pscr", "runtime", "export", "training")
        for name in imported(own, file)
        if begins(name, library)
    }
    assert len(places) <= ONE_FILE[library], places


@pytest.mark.parametrize("folder", ["export", "benchmarks", "training"])
def test_no_script_is_named_like_a_library_it_may_use(folder):
    """A script's own folder comes first on sys.path."""
    taken = {*sys.stdlib_module_names, "onnx", "onnxruntime", "tensorrt", "torch", "numpy", "cv2", "openvino", "pycuda"}
    assert not [file.name for file in (ROOT / folder).glob("*.py") if file.stem in taken]
