"""The robustness figures are what they say: moves, orders and correlations of scores that are known beforehand."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import robustness
from robustness import PEOPLE, SIDE

import pscr
from pscr.bench.record import Record
from pscr.runtime.image import load
from pscr.training.distortions import TYPES

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "examples" / "images"


class Mean:
    """A scorer whose score is the mean of the pixels, of 0 to 510."""

    info = {"range": [0, 510], "higher_is_better": True}  # noqa: RUF012

    def score_many(self, sources, *, pixel_format, on_error):
        assert (pixel_format, on_error) == ("rgb", "raise")
        for source in sources:
            yield SimpleNamespace(score=float(load(source, pixel_format="rgb").mean()))


@pytest.fixture(scope="module")
def picture():
    return robustness.base(load(sorted(IMAGES.iterdir())[0]))


def run(*words):
    command = [sys.executable, str(ROOT / "benchmarks" / "robustness.py"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("shape", [(512, 512), (512, 768), (768, 512), (1300, 1100), (100, 300), (1, 7)])
def test_a_picture_is_its_middle_square_at_512(shape):
    image = np.zeros((*shape, 3), np.uint8)
    inside = np.s_[shape[0] // 2, shape[1] // 2]
    image[inside] = 255
    found = robustness.base(image)
    assert found.shape == (SIDE, SIDE, 3)
    assert found[SIDE // 4 : -SIDE // 4, SIDE // 4 : -SIDE // 4].max() > 0
    if min(shape) == SIDE:
        assert found[SIDE // 2, SIDE // 2].tolist() == [255] * 3


def test_sizes_and_aspects_are_those_that_their_names_say(picture):
    cases = robustness.size_cases()
    names = [case.name for case in cases]
    assert len(set(names)) == len(names) == 2 * len(robustness.SIZES) + 13
    assert {case.share for case in cases} == {1, 0.5, 0.25}
    for case in cases:
        if "4096" in case.name or "3000" in case.name:
            continue
        height, width = load(case.make(picture)).shape[:2]
        word, *rest = case.name.split(", ")[0].split()
        if word.isdigit():
            assert (height, width) == (int(word), int(word))
        else:
            across, down = map(int, rest[0].split(":"))
            assert width / height == pytest.approx(across / down, rel=0.01)
            short = (
                SIDE
                if "short side" in case.name or word == "mirrored"
                else round(SIDE / max(across / down, down / across))
            )
            assert min(height, width) == pytest.approx(short, abs=1)
    assert max(int(case.name.split()[0]) for case in robustness.size_cases(1024)[:8]) == 1024


def test_the_middle_stays_where_borders_are_mirrored(picture):
    found = robustness.mirrored(picture, 0, 256)
    assert np.array_equal(found[:, 256:-256], picture)
    assert np.array_equal(found[:, 255], picture[:, 1])


def test_moves_of_a_known_score_are_those_that_follow(picture):
    rows = robustness.compared(
        Mean(), {"a": [picture, picture // 2], "b": [picture]}, lambda image: image, robustness.change_cases()
    )
    found = {(row["source"], row["case"]): row for row in rows}
    assert len(rows) == 3 * 13
    for case in ("PNG", "mirrored"):
        assert [found["all", case][key] for key in ("median", "largest", "mean", "largest_share")] == [0] * 4
    fall = 0.2 * picture.mean()  # bars are an eighth of the height on either side: a fifth of the new height
    row = found["b", "letterboxed"]
    assert row["median"] == row["largest"] == pytest.approx(fall, abs=1e-3)
    assert row["mean"] == pytest.approx(-fall, abs=1e-3)
    assert row["largest_share"] == pytest.approx(100 * fall / 510, abs=0.01)
    row = found["a", "letterboxed"]
    assert row["pictures"] == 2
    assert row["median"] == pytest.approx((fall + 0.2 * (picture // 2).mean()) / 2, abs=1e-3)
    assert row["largest"] == pytest.approx(fall, abs=1e-3)
    assert found["all", "letterboxed"]["pictures"] == 3


def test_large_sizes_take_fewer_pictures(picture):
    cases = [robustness.Case("half", lambda image: image, 0.5), robustness.Case("quarter", lambda image: image, 0.25)]
    rows = robustness.compared(Mean(), {"a": [picture] * 5}, lambda image: image, cases)
    assert [row["pictures"] for row in rows] == [3, 2]


def test_scores_that_are_peoples_means_are_all_in_order_and_reversed_ones_are_all_wrong():
    found = np.repeat(PEOPLE[..., None], 3, 2)
    for scores, sign, share in ((found, 1, 1), (-found, 1, 0), (-found, -1, 1), (0 * found, 1, 0)):
        right, clear = robustness.ordered(scores, sign=sign)
        assert (right == share * clear[:, None]).all()
    assert robustness.agreement(found) == robustness.agreement(-found, -1) == pytest.approx(1)
    assert robustness.agreement(-found) == pytest.approx(-1)


def test_pairs_are_counted_one_by_one():
    rng = np.random.default_rng(0)
    found = rng.normal(size=(25, 5, 4))
    right, clear = robustness.ordered(found)
    for kind in range(25):
        pairs = [(i, j) for i in range(5) for j in range(i + 1, 5) if abs(PEOPLE[kind, i] - PEOPLE[kind, j]) >= 0.1]
        assert clear[kind] == len(pairs)
        for picture in range(4):
            hits = sum(
                (PEOPLE[kind, i] > PEOPLE[kind, j]) == (found[kind, i, picture] > found[kind, j, picture])
                for i, j in pairs
            )
            assert right[kind, picture] == hits
    assert 250 - clear.sum() == 12


def test_the_better_half_is_told_apart_and_the_interval_holds_the_share():
    good, flat = np.repeat(PEOPLE[..., None], 4, 2) + 5, np.ones((25, 5, 4))
    before = {"a": np.array([9.0] * 4), "b": np.array([1.0] * 4)}
    rows, facts = robustness.distortion_rows(before, {"a": good, "b": flat}, 1)
    assert (facts["a"]["right"], facts["b"]["right"], facts["all"]["right"]) == (1, 0, 0.5)
    assert (facts["all"]["right_upper_half"], facts["all"]["rank_upper_half"]) == (1, 1)
    low, high = facts["all"]["right_95"]
    assert 0 < low < 0.5 < high < 1
    assert facts["a"]["pairs"] == 4 * 238
    assert facts["a"]["left_out"] == 4 * 12
    assert all(facts["a"][group] == 1 for group in robustness.GROUPS)
    assert len(rows) == 75
    assert rows[0]["level_1"] == pytest.approx(5 + TYPES[0].people[0], abs=1e-3)
    assert rows[0]["original"] == 9


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder whose pictures, two of other sizes, are in a folder of it."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "inner").mkdir()
    for place, size in enumerate(((300, 400), (520, 700))):
        image = cv2.resize(cv2.imread(str(sorted(IMAGES.iterdir())[place])), size)
        cv2.imwrite(str(folder / "inner" / f"{place}.png"), image)
    return folder


def test_a_run_writes_three_results_with_plots(tiny_model, photos, tmp_path):
    words = ("--model", tiny_model, "--photos", photos, "--images", IMAGES, "--quick", "--threads", 1)
    done = run(*words, "-o", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("| tiny")
    files = sorted(tmp_path.iterdir())
    assert sorted({file.suffix for file in files}) == [".csv", ".json", ".png"]
    assert len(files) == 9
    for file in files[2::3]:
        assert min(cv2.imread(str(file)).shape[:2]) > 300
    records = {record.instrument: record for record in map(Record.read, files[1::3])}
    assert set(records) == {"robustness_size", "robustness_distortions", "robustness_changes"}
    rows = records["robustness_changes"].rows
    assert [row["largest"] for row in rows if row["case"] == "PNG"] == [0, 0, 0]
    assert len(records["robustness_distortions"].rows) == 75
    facts = records["robustness_distortions"].facts
    assert set(facts) == {"photos", "images", "all"}
    assert facts["all"]["pairs"] == 2 * 238
    assert str(IMAGES) not in json.dumps(records["robustness_size"].command)


def test_each_model_has_its_line_and_one_part_can_be_had_alone(tiny_model, photos, tmp_path):
    done = run("--model", tiny_model, "--model", tiny_model, "--photos", photos, "--parts", "changes", "-o", tmp_path)
    assert done.returncode == 0, done.stderr
    heading, _, *last = done.stdout.splitlines()[-4:]
    assert len(last) == 2
    assert last[0] == last[1], "the same model has the same figures"
    assert "JPEG 60" in heading
    assert "rank" not in heading
    (record,) = map(Record.read, tmp_path.glob("*.json"))
    assert record.instrument == "robustness_changes"
    assert {row["source"] for row in record.rows} == {"photos"}


def test_the_figures_do_not_depend_on_the_run(tiny_model, picture):
    with pscr.open(tiny_model, device="cpu", threads=1) as scorer:
        first, second = (robustness.damaged(scorer, [picture[:64, :64].copy()]) for _ in range(2))
    assert first.shape == (25, 5, 1)
    assert np.array_equal(first, second)


def test_without_pictures_it_says_what_it_needs(tmp_path):
    done = run()
    assert done.returncode == 2
    assert "expected --photos DIR, --images DIR or both" in done.stderr
    done = run("--photos", tmp_path)
    assert done.returncode == 1
    assert "no picture found; expected a folder with .png" in done.stderr
