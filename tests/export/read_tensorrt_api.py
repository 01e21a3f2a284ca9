"""Read the Python API of TensorRT from its binding wheels, without the libraries that they bind (gigabytes, and a GPU).

    pip download --no-deps -d WHEELS tensorrt-cu12-bindings==10.16.1.11
    pip download --no-deps -d WHEELS tensorrt-cu13-bindings==11.0.0.114
    pip download --no-deps -d WHEELS tensorrt-cu13-bindings==11.4.0.106
    python tests/export/read_tensorrt_api.py WHEELS/*.whl > tests/export/tensorrt_api.json

The bindings name three libraries and some functions of theirs, none of which an import calls; empty ones, made here
with gcc, let it through. Kept of each class that the builder and the runner use: members, and methods' parameters.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

CLASSES = (
    "Builder", "BuilderFlag", "DataType", "EngineInspector", "IBuilderConfig", "IConvolutionLayer", "ICudaEngine",
    "IExecutionContext", "IHostMemory", "ILayer", "ILogger", "INetworkDefinition", "IOptimizationProfile", "ITensor",
    "ITimingCache", "LayerInformationFormat", "LayerType", "NetworkDefinitionCreationFlag", "OnnxParser", "ParserError",
    "ExecutionContextAllocationStrategy", "ProfilingVerbosity", "Runtime",
)  # fmt: skip
FUNCTIONS = (
    "createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL", "createNvOnnxParser_INTERNAL", "getNvOnnxParserVersion",
    "initLibNvInferPlugins", "getBuilderPluginRegistry", "getPluginRegistry",
)  # fmt: skip
READER = """
import json, re, tensorrt
def parameters(member):
    found = []
    for given in re.findall(r"^(?:\\d+\\. )?\\w+\\((.*)\\) -> ", member.__doc__ or "", re.MULTILINE):
        flat = re.sub(r"\\[[^\\[\\]]*\\]|<[^<>]*>", "", re.sub(r"\\[[^\\[\\]]*\\]", "", given))
        found.append([part.split(":")[0].strip() + ("=" if "=" in part else "") for part in flat.split(",")])
    return found
table = {}
for name in %r:
    kind = getattr(tensorrt, name)
    table[name] = {key: parameters(getattr(kind, key)) for key in dir(kind) if not key.startswith("_")}
print(json.dumps(table))
"""


def read(wheel: Path) -> dict[str, dict[str, list[list[str]]]]:
    """Class, member, and for each overload of a method its parameters; one with a default ends in "="."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        zipfile.ZipFile(wheel).extractall(place)
        major = wheel.name.split("-")[1].split(".")[0]
        code = f"int {', '.join(FUNCTIONS)};"
        for library in ("nvinfer", "nvinfer_plugin", "nvonnxparser"):
            target = f"lib{library}.so.{major}"
            command = ["gcc", "-shared", "-x", "c", "-", "-o", str(place / target), f"-Wl,-soname,{target}"]
            subprocess.run(command, input=code, text=True, check=True)
        done = subprocess.run(
            [sys.executable, "-c", READER % (CLASSES,)],
            cwd=place / "tensorrt_bindings",
            env={**os.environ, "LD_LIBRARY_PATH": folder},
            stdout=subprocess.PIPE,
            check=True,
        )
        table: dict[str, dict[str, list[list[str]]]] = json.loads(done.stdout)
        return table


if __name__ == "__main__":
    tables = {Path(name).name.split("-")[1]: read(Path(name)) for name in sys.argv[1:]}
    json.dump(tables, sys.stdout, separators=(",", ":"), sort_keys=True)
    sys.stdout.write("\n")
