"""What the spread stands for: measured, stored as data, said by info, and true of other images of the same kind."""

import json

import numpy as np
import pytest

import pscr
from pscr.runtime.calibration import LEVELS, Calibration, correlation, measure, ranks
from pscr.runtime.errors import PscrError, Status


def drawn(count: int, seed: int):
    """Scores, spreads and opinions whose errors are as wide as the spread says, times 1.5."""
    rng = np.random.default_rng(seed)
    scores, spreads = rng.uniform(1, 4, count), rng.uniform(0.2, 0.8, count)
    return scores, spreads, scores + 1.5 * spreads * rng.standard_t(4, count)


def test_intervals_hold_what_they_state_on_other_images_whatever_the_errors_look_like():
    found = measure(*drawn(500, 0), "made up")
    scores, spreads, opinions = drawn(4000, 1)
    for level, factor, coverage in zip(LEVELS, found.factors, found.coverage, strict=True):
        held = np.mean(np.abs(opinions - scores) <= factor * spreads)
        assert held == pytest.approx(level, abs=0.05)
        assert coverage == pytest.approx(level, abs=0.02)
    assert found.spread_correlation > 0.2


def test_stated_confidence_is_how_often_people_agree():
    rng = np.random.default_rng(0)
    opinions = rng.uniform(0, 5, 600)
    scores = opinions + rng.normal(0, 0.5, 600)
    found = measure(scores[:300], np.full(300, 0.3), opinions[:300], "made up")
    first, second = rng.integers(300, 600, (2, 20_000))
    kept = opinions[first] != opinions[second]
    agree = (np.sign(scores[first] - scores[second]) == np.sign(opinions[first] - opinions[second]))[kept]
    stated = np.array([found.agreement(d) for d in (scores[first] - scores[second])[kept]])
    for low, high in ((0.5, 0.6), (0.6, 0.75), (0.75, 0.9), (0.9, 0.99)):
        here = (stated >= low) & (stated < high)
        assert agree[here].mean() == pytest.approx(stated[here].mean(), abs=0.06)


def test_the_same_images_give_the_same_calibration_and_it_survives_json():
    found = measure(*drawn(100, 3), "made up")
    assert found == measure(*drawn(100, 3), "made up")
    assert Calibration.from_dict(json.loads(json.dumps(found.to_dict())), "x") == found


@pytest.mark.parametrize("change", [lambda s, d, o: (s[:19], d[:19], o[:19]), lambda s, d, o: (s, d * 0, o),
                                    lambda s, d, o: (s, d, o * np.nan), lambda s, d, o: (s, d, o * 0)])  # fmt: skip
def test_data_that_cannot_calibrate_are_refused(change):
    with pytest.raises(PscrError) as caught:
        measure(*change(*drawn(50, 0)), "made up")
    assert caught.value.status is Status.INVALID_ARGUMENT


def test_ranks_share_ties():
    assert ranks([10, 20, 20, 5]).tolist() == [2, 3.5, 3.5, 1]
    assert correlation([1, 2, 3], [2, 4, 6]) == pytest.approx(1)
    assert correlation([1, 1, 1], [2, 4, 6]) == 0


@pytest.fixture
def labelled(tmp_path, tiny_model):
    """Forty images with opinions near the model's scores."""
    import cv2

    rng = np.random.default_rng(0)
    rows = ["path,score"]
    with pscr.open(tiny_model, device="cpu", threads=1) as scorer:
        for number in range(40):
            pixels = rng.integers(0, 6 * number + 20, (64, 64, 3)).astype(np.uint8)
            (tmp_path / f"{number}.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
            opinion = scorer.score(tmp_path / f"{number}.png").score + rng.normal(0, 0.2)
            rows.append(f"{number}.png,{opinion:.4f}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    return tmp_path / "labels.csv"


def test_evaluate_writes_the_calibration_and_info_says_it(own_model, labelled, capsys):
    from pscr.commands.main import main

    words = ["evaluate", str(own_model), "--data", f"csv:{labelled}", "--device=cpu", "--resamples=10", "--calibrate"]
    assert main(words) == 2
    assert "needs images that did not train the model" in capsys.readouterr().err
    assert main([*words, "--split", "image:0.6:1"]) == 0
    out = capsys.readouterr().out
    assert "24 images" in out.splitlines()[0]
    assert out.count("x spread") == len(LEVELS)
    entries = json.loads((own_model / "manifest.json").read_text())
    assert set(entries["files"]) == {"model.onnx", "bank.npz", "reliability.png"}
    assert (own_model / "reliability.png").read_bytes().startswith(b"\x89PNG")
    with pscr.open(own_model, device="cpu", threads=1) as scorer:
        result = scorer.score(labelled.parent / "0.png")
        low, high = scorer.interval(result)
        assert (low + high) / 2 == pytest.approx(result.score)
        assert high - low == pytest.approx(2 * entries["calibration"]["factors"][2] * result.spread)
        assert "holds 90 % of opinion scores" in scorer.info["interval"]
        with pytest.raises(PscrError, match=r"0\.33"):
            scorer.interval(result, 0.33)
    assert main(["verify", str(own_model), "--device", "cpu"]) == 0


def test_a_model_without_calibration_gives_no_interval(tiny_model):
    with pscr.open(tiny_model, device="cpu", threads=1) as scorer:
        with pytest.raises(PscrError, match="--calibrate"):
            scorer.interval(scorer.score(np.zeros((64, 64), np.uint8)))
        assert scorer.info["interval"] is None
