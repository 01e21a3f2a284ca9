"""`pscr bench` measures a real model through the installed package."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from cli_testing import Cli, write_image

from pscr.bench.pictures import jpegs, square
from pscr.bench.record import Record, command
from pscr.bench.statistics import percentile
from pscr.runtime.image import load


def test_help_names_the_scenarios_and_that_nothing_is_judged(cli: Cli) -> None:
    done = cli("bench", "--help")
    assert done.code == 0
    for word in ("single-stream", "multi-stream", "server", "offline", "never depends on a time"):
        assert word in " ".join(done.out.split())


def test_every_scenario_and_stage_is_measured_and_written(cli: Cli, tiny_model: Path, tmp_path: Path) -> None:
    words = ["--model", tiny_model, "--device", "cpu", "--threads", 1, "--seconds", 0.05, "--side", 64]
    done = cli("bench", *words, "--json", "-o", tmp_path / "results")
    assert done.code == 0
    latency, spent = json.loads(done.out)
    assert [row["scenario"] for row in latency["rows"]] == ["single-stream", "multi-stream", "offline", *["server"] * 3]
    for row in latency["rows"]:
        samples = row["samples_ms"]
        assert row["count"] == len(samples) >= 12
        assert 0 < row["p50_ms"] <= row["p90_ms"] <= row["p99.9_ms"] == max(samples)
        assert row["p50_ms"] == percentile(samples, 50)
        assert row["images_per_s"] > 0
        assert isinstance(row["stable"], bool)
    assert [row["stage"] for row in spent["rows"]] == ["score", "decode", "sample", "infer", "rest"]
    assert spent["rows"][0]["share"] == 1
    offered = [row["offered_per_s"] for row in latency["rows"][3:]]
    assert offered == sorted(offered)
    environment = latency["environment"]
    assert (environment["threads"], environment["model"]["name"], environment["model"]["device"]) == (1, "tiny", "cpu")
    assert len(environment["model"]["sha256"]) == 64
    assert str(tiny_model) not in done.out, "a result file names no folder of this machine"
    files = sorted(path.name for path in (tmp_path / "results").iterdir())
    assert [name.split("-")[0] + Path(name).suffix for name in files] == [
        "bench_latency.csv", "bench_latency.json", "bench_latency.png", "bench_stages.csv", "bench_stages.json",
    ]  # fmt: skip
    read = Record.read(tmp_path / "results" / files[1])
    assert read.instrument == "bench_latency"


def test_a_table_of_one_scenario_on_given_images(cli: Cli, tiny_model: Path, tmp_path: Path) -> None:
    image = write_image(tmp_path / "a.png")
    words = ["--model", tiny_model, "--threads", 1, "--seconds", 0.01, "--scenario", "single-stream"]
    done = cli("bench", image, *words)
    assert done.code == 0
    assert "| single-stream | 1 image |" in done.out
    assert "offline" not in done.out
    assert "512x512" in done.out


def test_a_missing_image_is_one_line_and_exit_code_3(cli: Cli, tiny_model: Path, tmp_path: Path) -> None:
    done = cli("bench", tmp_path / "none.jpg", "--model", tiny_model)
    assert done.code == 3
    assert "none.jpg" in done.error


def test_images_are_cut_in_the_centre_and_encoded_the_same_way_every_time(tmp_path: Path) -> None:
    wide = np.zeros((100, 300, 3), np.uint8)
    wide[:, 100:200] = 200
    assert (square(wide, 50) == 200).all()
    cv2.imwrite(str(tmp_path / "wide.png"), wide)
    (once,), (again,) = (jpegs([tmp_path / "wide.png"], 96) for _ in range(2))
    assert once == again
    assert load(once).shape == (96, 96, 3)
    assert all(load(data).shape == (512, 512, 3) for data in jpegs())


def test_a_recorded_command_names_nobodys_folders() -> None:
    words = ["/home/me/models/mine", "--data=agiqa3k:/data/AGIQA-3K", "runs/a", "--seconds", "5"]
    assert command("pscr bench", words) == "pscr bench mine --data=agiqa3k:AGIQA-3K runs/a --seconds 5"
