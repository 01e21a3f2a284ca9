"""A short form of each stress script, and of the promises about threads and processes, in every test run."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

import endurance
import harness
import interruptions
import long_folder
import serve_abuse

import pscr

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")]


def pictures(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [cv2.resize(rng.integers(0, 256, (5, 6, 3), np.uint8), (80 + n, 64)) for n in range(count)]


@pytest.mark.parametrize(("script", "count"), [("fuzz_images.py", 400), ("fuzz_models.py", 200)])
def test_mutated_inputs_are_refused_or_read_in_bounded_time_and_memory(script: str, count: int) -> None:
    report = harness.run_cases(script, count, seed=2, minutes=5)
    assert report.broken == []
    assert report.cases == count
    assert len(report.outcomes) >= 2
    assert report.peak[0] < 1000


def test_a_case_that_ends_its_process_is_counted_and_the_rest_goes_on(tmp_path: Path) -> None:
    """The harness itself: a child that dies, one that throws a fault at C, one that writes to stderr."""
    script = tmp_path / "dying.py"
    script.write_text(
        f"import sys, os; sys.path.insert(0, {str(harness.HERE)!r})\nfrom harness import main\n"
        "def case(seed, number):\n    if number == 3: os.abort()\n    return 'OK'\n"
        "sys.exit(main('dying.py', case, 6, 1))\n"
    )
    report = harness.run_cases(str(script), 6, seed=1, minutes=1)
    assert report.cases == 6
    assert report.outcomes == {"OK": 5, "DIED": 1}
    assert len(report.broken) == 1
    assert "case 3: the process ended with -6" in report.broken[0]


def test_a_long_folder_is_scored_whole_in_memory_that_stays(tiny_model: Path, tmp_path: Path) -> None:
    parts = long_folder.score(str(tiny_model), long_folder.make_images(tmp_path / "images", 800), tmp_path / "out.csv")
    assert len(parts) >= 3
    assert parts[-1].memory < parts[0].memory + 30


def test_memory_threads_and_descriptors_stay(tiny_model: Path) -> None:
    found = endurance.endure(tiny_model, scores=3000, opens=40)
    assert (found["scores"], found["opens"]) == (3000, 40)
    assert [found[name] for name in found if name.startswith(("threads", "descriptors"))] == [0] * 4
    assert found["bytes a score"] < 500
    assert found["bytes an open"] < 100_000


def test_interrupted_folders_are_finished_by_resuming(tiny_model: Path, tmp_path: Path) -> None:
    paths = interruptions.make_images(tmp_path / "images", 300)
    rng = random.Random(3)
    for number, ending in enumerate(("csv", "jsonl")):
        found = interruptions.one_round(tiny_model, paths, tmp_path / f"{number}.{ending}", rng, longest=0.2)
        assert found["finished"] == 1


def test_clients_that_mean_ill_leave_the_service_healthy(tiny_model: Path) -> None:
    lines = serve_abuse.abuse(tiny_model, count=160)
    assert [line for line in lines if "BROKEN" in line] == []
    assert len(lines) == 13


def test_32_threads_and_8_scorers_give_the_serial_results_to_the_bit(tiny_model: Path) -> None:
    images = pictures(64)
    scorers = [pscr.open(tiny_model, device="cpu", threads=2) for _ in range(8)]
    serial = [scorers[0].score(image, pixel_format="bgr") for image in images]
    with ThreadPoolExecutor(32) as pool:
        one = list(pool.map(lambda image: scorers[0].score(image, pixel_format="bgr"), images * 4))
        eight = list(pool.map(lambda n: scorers[n % 8].score(images[n % 64], pixel_format="bgr"), range(256)))
        streams = list(pool.map(lambda s: list(s.score_many(images, pixel_format="bgr", batch=1)), scorers))
    assert one == serial * 4
    assert eight == serial * 4
    assert streams == [serial] * 8
    for scorer in scorers:
        scorer.close()
        scorer.close()


def in_child(model: str) -> float:
    """What a worker of a pool does: it opens the model itself."""
    with pscr.open(model, device="cpu", threads=1) as scorer:
        return scorer.score(pictures(1)[0], pixel_format="bgr").score


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_workers_of_every_start_method_open_their_own(tiny_model: Path, method: str) -> None:
    expected = in_child(str(tiny_model))
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(in_child, [str(tiny_model)] * 4, chunksize=1) == [expected] * 4


def test_after_a_fork_the_open_scorer_says_closed_and_a_new_one_works(tiny_model: Path) -> None:
    image = pictures(1)[0]
    with pscr.open(tiny_model, device="cpu", threads=2) as scorer:
        expected = scorer.score(image, pixel_format="bgr")
        child = os.fork()
        if child == 0:  # pragma: no cover
            signal.alarm(60)
            code = 9
            try:
                scorer.score(image, pixel_format="bgr")
            except pscr.PscrError as error:
                told = error.status is pscr.Status.CLOSED and "fork" in error.message
                scorer.close()
                with pscr.open(tiny_model, device="cpu", threads=2) as again:
                    code = 0 if told and again.score(image, pixel_format="bgr") == expected else 8
            os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        assert scorer.score(image, pixel_format="bgr") == expected
