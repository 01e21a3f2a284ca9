"""Several networks in one graph: it scores like their mean, and is a model folder like any other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import tiny_model as tiny

import pscr
from pscr.export import trt_builder
from pscr.export.ensemble import join, main
from pscr.export.precision import to_half, to_int8
from pscr.runtime import verification
from pscr.runtime.bank import Bank
from pscr.runtime.manifest import Manifest

IMAGES = Path(__file__).parents[2] / "examples" / "images"
IMAGE = IMAGES / "astronaut.jpg"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two tiny models with different weights and the same exemplars."""
    folder = tmp_path_factory.mktemp("pair")
    return [str(tiny.write(folder / str(seed), seed)) for seed in (7, 8)]


@pytest.fixture(scope="module")
def joined(pair: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("joined") / "both"
    assert main([*pair, "-o", str(output), "--threads", "1"]) == 0
    return output


def kinds(proto: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in proto.graph.node]


def test_votes_are_the_mean_of_the_members_votes(pair: list[str], joined: Path) -> None:
    votes = []
    for model in (*pair, joined):
        with pscr.open(model, device="cpu", threads=1) as scorer:
            votes.append(scorer.infer(scorer.patches(IMAGE)[None]).votes[0])
    assert np.abs(votes[0] - votes[1]).max() > 0.1
    np.testing.assert_allclose(votes[2], (votes[0] + votes[1]) / 2, atol=1e-5)


def test_what_the_members_compute_alike_is_computed_once(pair: list[str], joined: Path) -> None:
    proto = onnx.load(joined / "model.onnx")
    assert kinds(proto).count("Transpose") == kinds(proto).count("Cast") == 1
    assert kinds(proto).count("Conv") == 2
    twice = join([onnx.load(Path(pair[0]) / "model.onnx")] * 2)
    assert kinds(twice).count("Conv") == 1, "a network joined with itself is one network"


def test_the_folder_says_what_it_is_made_of(joined: Path) -> None:
    manifest = Manifest.read(joined)
    assert (manifest.name, manifest.backbone) == ("both", "one convolution + one convolution")
    assert manifest.training["members"] == [{"backbone": "one convolution"}] * 2
    assert "metrics" not in manifest.training, "what one member reaches says nothing of the whole"
    assert manifest.parity["largest_difference"] <= manifest.parity["tolerance"]
    assert Bank.read(joined / "bank.npz").terms.shape == (tiny.EXEMPLARS, 2 * tiny.WIDTH)
    with pscr.open(joined, device="cpu", threads=1) as scorer:
        for _, promised, found in verification.check(scorer):
            assert found == pytest.approx(promised, abs=1e-5)


def test_it_is_measured_on_a_database_where_one_is_given(pair: list[str], tmp_path: Path) -> None:
    names = sorted(path.name for path in IMAGES.iterdir() if path.suffix in (".jpg", ".png"))
    labels = "\n".join(["path,score", *(f"{IMAGES / name},{number}" for number, name in enumerate(names))])
    (tmp_path / "labels.csv").write_text(labels)
    words = [*pair, "-o", str(tmp_path / "both"), "--data", f"csv:{tmp_path / 'labels.csv'}", "--threads", "1"]
    assert main(words) == 0
    metrics = Manifest.read(tmp_path / "both").training["metrics"]
    with pscr.open(tmp_path / "both", device="cpu", threads=1) as scorer:
        found = [scorer.score(IMAGES / name).score for name in names]
    assert metrics["plcc"] == pytest.approx(np.corrcoef(found, np.arange(len(names)))[0, 1], abs=1e-3)
    assert "held-out: all" in metrics["protocol"]


def test_each_member_keeps_its_first_convolutions_in_float(joined: Path) -> None:
    rng = np.random.default_rng(0)
    proto = onnx.load(joined / "model.onnx")
    patches = [rng.integers(0, 256, (9, 32, 32, 3), np.uint8)]
    assert kinds(to_int8(proto, patches, 1)).count("QuantizeLinear") == 0
    origin = {name: node.op_type for node in to_int8(proto, patches, 0).graph.node for name in node.output}
    assert list(origin.values()).count("QuantizeLinear") >= 1
    half = to_half(proto)
    assert kinds(half).count("Conv") == 2


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_tensorrt_builds_it(joined: Path, precision: str) -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx has no wheel for this platform")
    proto = onnx.load(joined / "model.onnx")
    data = (to_half(proto) if precision == "fp16" else proto).SerializeToString()
    profile = {
        "patches": ((1, 9, 32, 32, 3), (2, 9, 32, 32, 3), (4, 9, 32, 32, 3)),
        "bank_terms": ((1, 2 * tiny.WIDTH), (5, 2 * tiny.WIDTH), (16, 2 * tiny.WIDTH)),
        "bank_scores": ((1,), (5,), (16,)),
    }
    built = trt_builder.build(data, "tensorrt_rtx", precision, [profile], trt_builder.PORTABLE)
    assert built.types == {{"fp32": "FLOAT", "fp16": "HALF"}[precision]: 2}


def test_members_that_do_not_fit_are_one_line_and_nothing_is_written(
    pair: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tiny.write(tmp_path / "other", 9)
    manifest = Manifest.read(other)
    replace(manifest, sampling=replace(manifest.sampling, reference_side=96)).write(other, ["model.onnx", "bank.npz"])
    assert main([pair[0], str(other), "-o", str(tmp_path / "out")]) == 2
    assert "sampling is" in capsys.readouterr().err
    bank = Bank.read(other / "bank.npz")
    replace(bank, scores=bank.scores + 1).write(other / "bank.npz")
    manifest.write(other, ["model.onnx", "bank.npz"])
    assert main([pair[0], str(other), "-o", str(tmp_path / "out")]) == 2
    assert "has other exemplars" in capsys.readouterr().err
    assert main([pair[0], str(tmp_path / "none"), "-o", str(tmp_path / "out")]) == 3
    error = capsys.readouterr().err
    assert error.startswith("pscr export: error: ")
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
    with pytest.raises(SystemExit):
        main([pair[0], "-o", str(tmp_path / "out")])
