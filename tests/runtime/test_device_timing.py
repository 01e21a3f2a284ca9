"""`auto` on a CPU: the fastest device by a measurement that is made once, and what may round only where allowed."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_testing import Cli
from image_makers import assert_refused

import pscr
from pscr.runtime import device_timing
from pscr.runtime.backends.onnxruntime_backend import describe
from pscr.runtime.device_timing import EXACT, FAST, Measured
from pscr.runtime.errors import PscrError, Status

pytestmark = pytest.mark.skipif("CUDAExecutionProvider" in describe()[1], reason="this onnxruntime has CUDA")
DAMAGED = (
    b"",
    b"{",
    b"\xff",
    b"[]",
    b"7",
    b'{"KEY": 7}',
    b'{"KEY": {}}',
    b'{"KEY": {"measured": "x", "milliseconds": {"cpu": 1}, "off": {}, "problems": {}}}',
    b'{"KEY": {"measured": "x", "milliseconds": {"cpu": "a", "openvino": 1}, "off": {"cpu": 0, "openvino": 0}}}',
    b'{"KEY": {"measured": "x", "milliseconds": {"cpu": NaN, "openvino": 1}, "off": {"cpu": 0, "openvino": 0}}}',
    b'{"KEY": {"measured": "x", "milliseconds": [1, 2], "off": {"cpu": 0, "openvino": 0}}}',
)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where measurements are kept."""
    pytest.importorskip("openvino")
    monkeypatch.setenv("PSCR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "devices.json"


def doctored(cache: Path, milliseconds: dict[str, float], off: dict[str, float] | None = None) -> None:
    """The kept measurement as if these had been found."""
    entries = json.loads(cache.read_bytes())
    for entry in entries.values():
        entry["milliseconds"].update(milliseconds)
        entry["off"].update(dict.fromkeys(milliseconds, 0.0) | (off or {}))
        entry["problems"] = {}
    cache.write_text(json.dumps(entries))


def test_the_first_open_measures_and_the_next_ones_remember(
    tiny_model: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pscr.open(tiny_model, threads=1) as scorer:
        first = scorer.info["device"]
    (entry,) = json.loads(cache.read_bytes()).values()
    assert set(entry["milliseconds"]) == {"cpu", "openvino"}
    assert min(entry["milliseconds"].values()) > 0
    assert entry["off"]["cpu"] == 0 <= entry["off"]["openvino"] < EXACT
    monkeypatch.setattr(device_timing, "measure", lambda *_: pytest.fail("measured again"))
    with pscr.open(tiny_model, threads=1) as scorer:
        assert scorer.info["device"] == first
        (reason,) = scorer.info["passed_over"]
    assert re.fullmatch(
        r"(cpu|openvino): [\d.e+-]+ ms an image, (cpu|openvino) [\d.e+-]+ ms \(measured on .*\)", reason
    )


def test_threads_and_graphs_are_measured_by_themselves(tiny_model: Path, cache: Path) -> None:
    for threads in (1, 2, 1):
        pscr.open(tiny_model, threads=threads).close()
    assert len(json.loads(cache.read_bytes())) == 2


@pytest.mark.parametrize(("openvino", "taken"), [(1.0, "openvino"), (9.5, "cpu"), (30.0, "cpu")])
def test_what_is_faster_by_more_than_chance_is_taken_and_info_says_why_not_the_other(
    tiny_model: Path, cache: Path, openvino: float, taken: str
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (70, 90), np.uint8)
    with pscr.open(tiny_model, threads=1) as scorer:
        score = scorer.score(noise).score
    doctored(cache, {"cpu": 10.0, "openvino": openvino})
    with pscr.open(tiny_model, threads=1) as scorer:
        assert scorer.info["device"] == taken
        other = {"cpu": "openvino", "openvino": "cpu"}[taken]
        assert scorer.info["passed_over"][0].startswith(f"{other}: ")
        assert scorer.score(noise).score == pytest.approx(score, abs=1e-4)
    with pscr.open(tiny_model, "cpu", threads=1) as scorer:  # a name that was given is what runs
        assert (scorer.info["device"], scorer.info["passed_over"]) == ("cpu", [])


def test_bf16_is_taken_where_it_was_allowed_and_near_enough(tiny_model: Path, cache: Path) -> None:
    with pscr.open(tiny_model, threads=1, precision="fast"):
        pass
    (entry,) = json.loads(cache.read_bytes()).values()
    if "openvino-bf16" in entry["problems"]:
        assert "no bf16" in entry["problems"]["openvino-bf16"]
        pytest.skip("this processor has no bf16")
    times = {"cpu": 10.0, "openvino": 9.5, "openvino-bf16": 5.0}
    doctored(cache, times, {"openvino-bf16": 0.004})
    with pscr.open(tiny_model, threads=1, precision="fast") as scorer:
        assert scorer.info["device"] == "openvino-bf16"
        assert "10 ms an image, openvino-bf16 5 ms" in scorer.info["passed_over"][0]
        assert "whose scores differ by up to 0.40% of the range" in scorer.info["passed_over"][0]
    with pscr.open(tiny_model, threads=1) as scorer:
        assert scorer.info["device"] == "cpu"
        assert not [one for one in scorer.info["passed_over"] if "bf16" in one]
    doctored(cache, times, {"openvino-bf16": 0.03})
    with pscr.open(tiny_model, threads=1, precision="fast") as scorer:
        assert scorer.info["device"] == "cpu"
        (reason,) = [one for one in scorer.info["passed_over"] if one.startswith("openvino-bf16: ")]
        assert "scores differ by 3.00% of the range" in reason


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_file_that_is_damaged_is_measured_anew(tiny_model: Path, cache: Path, damage: bytes) -> None:
    pscr.open(tiny_model, threads=1).close()
    (key,) = json.loads(cache.read_bytes())
    cache.write_bytes(damage.replace(b"KEY", key.encode()))
    pscr.open(tiny_model, threads=1).close()
    assert set(json.loads(cache.read_bytes())[key]["milliseconds"]) == {"cpu", "openvino"}


def test_the_file_does_not_grow_without_end(tiny_model: Path, cache: Path) -> None:
    cache.parent.mkdir()
    cache.write_text(json.dumps({str(number): {} for number in range(500)}))
    pscr.open(tiny_model, threads=1).close()
    assert 100 <= len(json.loads(cache.read_bytes())) <= 200


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_in_a_folder_that_cannot_be_written_nothing_is_measured(tiny_model: Path, cache: Path) -> None:
    cache.parent.mkdir(mode=0o500)
    with pscr.open(tiny_model, threads=1) as scorer:
        assert (scorer.info["device"], scorer.info["passed_over"]) == ("cpu", [])


def test_a_disk_that_is_full_keeps_no_measurement_and_fails_nothing(tiny_model: Path, cache: Path) -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, hard))
    try:
        pscr.open(tiny_model, threads=1).close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not cache.exists()


def test_where_nothing_can_be_kept_onnxruntime_runs_unmeasured(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(device_timing, "measure", lambda *_: pytest.fail("measured"))
    (tmp_path / "file").write_text("")
    for cache in (str(tmp_path / "file" / "below"), ""):
        monkeypatch.setenv("PSCR_CACHE", cache)
        monkeypatch.setattr(Path, "home", homeless)
        with pscr.open(tiny_model, threads=1) as scorer:
            assert (scorer.info["device"], scorer.info["passed_over"]) == ("cpu", [])


def test_a_library_that_does_not_open_is_told_and_left(
    tiny_model: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pscr.runtime.backends import openvino_backend

    monkeypatch.setattr(
        openvino_backend, "version", lambda: (_ for _ in ()).throw(PscrError(Status.INTERNAL, "broken"))
    )
    with pscr.open(tiny_model, threads=1) as scorer:
        assert scorer.info["device"] == "cpu"
        assert scorer.info["passed_over"] == ["openvino: broken"]


@pytest.mark.parametrize(
    ("device", "precision", "words"),
    [
        ("cpu", "fast", ("precision 'fast'", "'cpu'")),
        ("openvino-bf16", "fast", ("precision 'fast'",)),
        ("auto", "bf16", ("'bf16'", "'exact' or 'fast'")),
        ("auto", None, ("None", "'exact' or 'fast'")),
        ("auto", ["fast"], ("'exact' or 'fast'",)),
    ],
)
def test_a_precision_that_has_nothing_to_choose_is_refused(
    tiny_model: Path, device: str, precision: Any, words: tuple[str, ...]
) -> None:
    with pytest.raises(PscrError) as caught:
        pscr.open(tiny_model, device, precision=precision)
    assert_refused(caught, Status.INVALID_ARGUMENT, *words)


def test_the_command_line_has_it(tiny_model: Path, image: Path, cli: Cli) -> None:
    done = cli("score", image, "--model", tiny_model, "--device", "cpu", "--precision", "fast")
    assert done.code == 2
    assert "precision 'fast'" in done.err
    assert cli("score", image, "--model", tiny_model, "--precision", "exact").code == 0
    assert cli("score", image, "--model", tiny_model, "--precision", "swift").code == 2


def test_only_measured_devices_are_taken_and_ties_go_to_the_first() -> None:
    found = Measured(
        "2026-01-01", {"cpu": 10.0, "openvino": 9.1}, {"cpu": 0.0, "openvino": 0.0}, {"openvino-bf16": "no"}
    )
    names = ["cpu", "openvino", "openvino-bf16"]
    assert found.taken(names, FAST) == "cpu"
    assert found.reasons(names, FAST)["openvino-bf16"] == "no"
