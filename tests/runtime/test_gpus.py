"""GPUs are listed by the driver itself, in a process of its own; here by a small driver that is compiled for it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from pscr.runtime import gpus

pytestmark = pytest.mark.skipif(
    shutil.which("cc") is None or bool(gpus.find().found), reason="needs a C compiler, and no real driver"
)
DRIVER = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int cuInit(int flags) {
    FILE *file = fopen(getenv("SEEN"), "w");
    fprintf(file, "%d", getpid());
    fclose(file);
    if (getenv("DIES")) abort();
    return atoi(getenv("CODE"));
}
int cuGetErrorName(int code, const char **text) { *text = "CUDA_ERROR_NO_DEVICE"; return 0; }
int cuDriverGetVersion(int *version) { *version = 13010; return 0; }
int cuDeviceGetCount(int *count) { *count = 2; return 0; }
int cuDeviceGet(int *device, int number) { *device = number; return 0; }
int cuDeviceGetName(char *name, int size, int device) { strcpy(name, device ? "Second" : "First"); return 0; }
int cuDeviceGetAttribute(int *value, int which, int device) { *value = which == 75 ? 8 : 9; return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = (size_t)(device + 1) << 33; return 0; }
"""
LISTS = """
import json, os, sys
if "EXECUTABLE" in os.environ:
    sys.executable = os.environ["EXECUTABLE"]
if "FROZEN" in os.environ:
    sys.frozen = True
from dataclasses import asdict
from pscr.runtime import gpus
print(json.dumps([os.getpid(), asdict(gpus.find())]))
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("driver")
    (folder / "driver.c").write_text(DRIVER)
    words = ["cc", "-shared", "-fPIC", "-o", "libcuda.so.1", "driver.c"]
    subprocess.run(words, cwd=folder, check=True)
    return folder


def listed(driver: Path, seen: Path, **more: str) -> tuple[int, dict[str, Any]]:
    """The number of the process that asks, and what it is told."""
    environment = {**os.environ, "LD_LIBRARY_PATH": str(driver), "SEEN": str(seen), "CODE": "0", **more}
    done = subprocess.run([sys.executable, "-c", LISTS], capture_output=True, text=True, check=True, env=environment)
    number, found = json.loads(done.stdout)
    return number, found


def test_the_driver_is_not_started_in_the_process_that_asks(driver: Path, tmp_path: Path) -> None:
    number, found = listed(driver, tmp_path / "seen")
    cards = (gpus.Gpu(0, "First", "8.9", 1 << 33), gpus.Gpu(1, "Second", "8.9", 1 << 34))
    assert found == json.loads(json.dumps(asdict(gpus.Gpus(cards, "13.1"))))
    assert int((tmp_path / "seen").read_text()) != number


@pytest.mark.parametrize(
    ("more", "said"),
    [({"CODE": "100"}, "cuInit gives CUDA_ERROR_NO_DEVICE"), ({"DIES": "1"}, "does not answer (CalledProcessError)")],
)
def test_a_driver_that_does_not_start_is_told(driver: Path, tmp_path: Path, more: dict[str, str], said: str) -> None:
    _, found = listed(driver, tmp_path / "seen", **more)
    assert found["found"] == []
    assert said in str(found["problem"])


@pytest.mark.parametrize(
    "more", [{"EXECUTABLE": ""}, {"EXECUTABLE": "uwsgi"}, {"EXECUTABLE": "python3"}, {"FROZEN": "1"}]
)
def test_where_no_python_can_be_started_the_process_itself_asks(
    driver: Path, tmp_path: Path, more: dict[str, str]
) -> None:
    if name := more.get("EXECUTABLE"):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\nexit 1\n")
        program.chmod(0o755)
        more = {"EXECUTABLE": str(program)}
    number, found = listed(driver, tmp_path / "seen", **more)
    assert [one["name"] for one in found["found"]] == ["First", "Second"]
    assert int((tmp_path / "seen").read_text()) == number
    assert (tmp_path / "ran").exists() == (name == "python3")  # another program is not started at all
