"""The runtime needs numpy, OpenCV and one inference library, and nothing else."""

import subprocess
import sys

HEAVY = ("torch", "onnx", "PIL", "scipy", "pandas", "matplotlib", "tqdm", "safetensors", "ray", "pyarrow")

BLOCKED = """
import sys
from importlib.abc import MetaPathFinder

class Wall(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {heavy!r} or name.startswith(("pscr.training", "pscr.export")):
            raise ImportError(name + " is not there")

sys.meta_path.insert(0, Wall())
import numpy, pscr
with pscr.open({model!r}, device="cpu", threads=1) as scorer:
    result = scorer.score(numpy.zeros((64, 64, 3), numpy.uint8), pixel_format="rgb")
assert result.status is pscr.Status.OK
from pscr.commands.main import main
assert main(["models"]) == 0
assert not set(sys.modules) & set({heavy!r}), set(sys.modules) & set({heavy!r})
"""


def test_scoring_works_where_torch_and_its_like_cannot_be_imported(tiny_model):
    program = BLOCKED.format(heavy=HEAVY, model=str(tiny_model))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_importing_pscr_loads_nothing_heavy():
    program = f"import sys, pscr; print(sorted(set(sys.modules) & {set(HEAVY) | {'onnxruntime'}!r}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
