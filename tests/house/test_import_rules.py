"""Who may import whom (DESIGN 5), read from the source itself."""

import ast
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOUSES = {"app": "pscr", "runtime": "pscr.runtime", "export": "pscr.export", "training": "pscr.training"}
FORBIDDEN = {
    "runtime": ("torch", "onnx", "PIL", "scipy", "pandas", "ray"),
    "training": ("onnx", "onnxruntime"),
    "export": (),
    "app": ("torch", "onnx", "onnxruntime", "PIL", "scipy"),
}
# Whom the files of each part may import besides each other. A file belongs to the longest name that its own begins
# with; `pscr` are the public names alone.
LEAVES = ("pscr.console", "pscr.progress", "pscr.own_process", "pscr.describe", "pscr.installation")
BELOW = ("pscr", "pscr.runtime", *LEAVES)  # the commands and their engines
TABLES = ("pscr.tables", "pscr.tables.inputs")
LABELS = "pscr.training.databases"  # reads label files; needs no torch
LABELLED = "pscr.labelled"  # what two commands share
ENGINES = ("pscr.ray", "pscr.report", "pscr.serve", "pscr.bench")
MAY_IMPORT = {
    "pscr.runtime": (),
    LABELS: ("pscr.runtime", "pscr.training"),
    "pscr.training": ("pscr.runtime", LABELS),
    # Of the face, only what any user imports, and what the paths on a command line stand for.
    "pscr.export": ("pscr", "pscr.runtime", "pscr.training", LABELS, "pscr.tables.inputs"),
    "pscr": ("pscr.runtime",),
    **dict.fromkeys(LEAVES, ("pscr.runtime", *LEAVES)),
    "pscr.tables.inputs": BELOW,
    "pscr.tables": (*BELOW, *TABLES),
    "pscr.ray": (*BELOW, *TABLES),
    "pscr.report": (*BELOW, *TABLES, LABELS),
    "pscr.serve": (*BELOW, *TABLES),
    "pscr.bench": (*BELOW, *TABLES),
    LABELLED: (*BELOW, LABELS),
    "pscr.commands": (*BELOW, *TABLES, *ENGINES, LABELLED, LABELS),
    "pscr.__main__": ("pscr.commands",),
}
IMPORTERS = ("import_module", "load")  # `pscr.runtime.libraries.load` imports the inference libraries
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
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in IMPORTERS:
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str) and not first.value.startswith("PIL"):
                yield first.value


def modules():
    """Every module of the package: its name, its house and its file."""
    for house, package in HOUSES.items():
        for file in sorted((ROOT / house).rglob("*.py")):
            parts = file.relative_to(ROOT / house).with_suffix("").parts
            yield ".".join([package, *parts]).removesuffix(".__init__"), house, file


MODULES = {name: (house, file) for name, house, file in modules()}


def neighbours(name: str) -> set[str]:
    """The modules of the package that a module imports by name, wherever in it; a name of a module is that module."""
    found = {longest(other, MODULES) for other in imported(*MODULES[name]) if begins(other, "pscr")}
    return found - {name}


def longest(name: str, known) -> str:
    """The longest of the known names that this name begins with."""
    return max((other for other in known if begins(name, other)), key=len)


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


def test_no_import_closes_a_circle():
    graph = {name: set(neighbours(name)) for name in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


@pytest.mark.parametrize("part", MAY_IMPORT)
def test_imports_point_down(part):
    broken = [
        f"{name} imports {other}"
        for name in MODULES
        if longest(name, MAY_IMPORT) == part
        for other in neighbours(name)
        if longest(other, MAY_IMPORT) not in (part, *MAY_IMPORT[part])
    ]
    assert not broken


def test_nothing_imports_a_house_by_its_folder_name():
    """`import runtime` would load a second copy of the modules."""
    broken = [
        f"{file.relative_to(ROOT)} imports {name}"
        for own, file in sources()
        for name in imported(own, file)
        if any(begins(name, folder) for folder in ("app", "runtime", "export", "training"))
    ]
    assert not broken


@pytest.mark.parametrize("library", ONE_FILE)
def test_an_inference_library_is_imported_in_one_place(library):
    places = {
        str(file.relative_to(ROOT))
        for own, file in sources()
        if own in HOUSES
        for name in imported(own, file)
        if begins(name, library)
    }
    assert len(places) <= ONE_FILE[library], places


@pytest.mark.parametrize("folder", ["export", "benchmarks", "training"])
def test_no_script_is_named_like_a_library_it_may_use(folder):
    """A script's own folder comes first on sys.path."""
    taken = {*sys.stdlib_module_names, "onnx", "onnxruntime", "tensorrt", "torch", "numpy", "cv2", "openvino", "pycuda"}
    assert not [file.name for file in (ROOT / folder).glob("*.py") if file.stem in taken]
