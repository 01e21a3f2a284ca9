"""The examples: the degraded copies are what the script makes, each image's source is on record, the best of n is."""

from __future__ import annotations

import csv
import importlib.util
import re
import shutil
import string
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import pscr

EXAMPLES = Path(__file__).parents[1] / "examples"
IMAGES = EXAMPLES / "images"


def script() -> Any:
    spec = importlib.util.spec_from_file_location("examples_degrade", EXAMPLES / "degrade.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


DEGRADE = script()


def pixels(data: bytes) -> Any:
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), int)


@pytest.mark.parametrize("copy", sorted(DEGRADE.COPIES))
def test_script_makes_the_committed_copy(copy: str) -> None:
    made, committed = pixels(DEGRADE.degrade(copy)), pixels((IMAGES / copy).read_bytes())
    assert made.shape == committed.shape
    assert np.abs(made - committed).mean() < 1  # JPEG decoders may differ in the last bit


def test_script_writes_its_copies_beside_the_originals(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    images = tmp_path / "examples" / "images"
    for copy in DEGRADE.COPIES:
        (images / copy).unlink()
    command = [sys.executable, str(tmp_path / "examples" / "degrade.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"wrote {images / copy}" for copy in DEGRADE.COPIES]
    assert all((images / copy).stat().st_size > 1000 for copy in DEGRADE.COPIES)


@pytest.mark.parametrize("copy", sorted(DEGRADE.COPIES))
def test_copy_differs_plainly_from_its_original(copy: str) -> None:
    original, _, _ = DEGRADE.COPIES[copy]
    difference = pixels((IMAGES / copy).read_bytes()) - pixels((IMAGES / original).read_bytes())
    assert np.abs(difference).mean() > 3


def test_every_image_has_its_source_and_every_source_its_image() -> None:
    listed = re.findall(r"^(\S+\.jpg)$", (EXAMPLES / "SOURCES.txt").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(path.name for path in IMAGES.iterdir())


def test_originals_name_author_and_licence() -> None:
    entries = re.split(r"^(?=\S+\.jpg$)", (EXAMPLES / "SOURCES.txt").read_text(), flags=re.MULTILINE)[1:]
    originals = [entry for entry in entries if "From:" not in entry]
    assert len(originals) == len(entries) - len(DEGRADE.COPIES)
    for entry in originals:
        assert all(field in entry for field in ("Author:", "Source:", "Licence:", "Done:")), entry
        assert re.search(r"public domain|CC0", entry), entry


def test_examples_stay_small() -> None:
    assert sum(path.stat().st_size for path in IMAGES.iterdir()) < 1_500_000


def best_of_n(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the example on its stub, whatever is installed: no pipeline is named."""
    script = [
        sys.executable,
        str(EXAMPLES / "diffusers_best_of_n.py"),
        "a prompt",
        "--output",
        str(folder / "best.png"),
    ]
    return subprocess.run([*script, "--model", "agiqa3k-lite0", *words], capture_output=True, text=True, timeout=300)


@pytest.mark.slow
@pytest.mark.parametrize("output_type", ["np", "pt"])
def test_best_of_n_keeps_the_image_with_the_best_score_and_logs_the_seeds(tmp_path: Path, output_type: str) -> None:
    done = best_of_n(tmp_path, "--count", "3", "--seed", "5", "--output-type", output_type)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("STUB PIPELINE (no --pipeline is named)")
    with (tmp_path / "best.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["seed"] for row in rows) == ["5", "6", "7"]
    scores = [float(row["score"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    with pscr.open("agiqa3k-lite0", device="cpu") as scorer:
        assert scorer.score(tmp_path / "best.png").score == pytest.approx(scores[0], abs=6e-4)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("diffusers") is not None, reason="diffusers is installed")
def test_best_of_n_says_that_diffusers_is_missing(tmp_path: Path) -> None:
    done = best_of_n(tmp_path, "--count", "1", "--pipeline", "some/pipeline")
    assert done.stdout.startswith("STUB PIPELINE (diffusers is not installed)"), done.stderr


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small Stable Diffusion pipeline of random weights, whose images are 64x64 noise."""
    diffusers, transformers = pytest.importorskip("diffusers"), pytest.importorskip("transformers")
    import torch

    torch.manual_seed(0)
    letters = [letter + end for end in ("", "</w>") for letter in string.ascii_lowercase]
    words = {word: number for number, word in enumerate([*letters, "<|startoftext|>", "<|endoftext|>"])}
    first, last = len(words) - 2, len(words) - 1
    blocks = {"block_out_channels": (4, 8), "layers_per_block": 1, "norm_num_groups": 2}
    unet = diffusers.UNet2DConditionModel(
        sample_size=32,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=2,
        **blocks,
    )
    coder = diffusers.AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2, **blocks
    )
    text = transformers.CLIPTextConfig(
        vocab_size=len(words),
        bos_token_id=first,
        eos_token_id=last,
        pad_token_id=last,
        hidden_size=32,
        intermediate_size=37,
        num_attention_heads=4,
        num_hidden_layers=2,
    )
    folder = tmp_path_factory.mktemp("pipeline")
    diffusers.StableDiffusionPipeline(
        unet=unet,
        vae=coder,
        text_encoder=transformers.CLIPTextModel(text),
        tokenizer=transformers.CLIPTokenizer(vocab=words, merges=[], model_max_length=77),
        scheduler=diffusers.DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_best_of_n_of_a_diffusers_pipeline_is_the_same_as_array_and_as_tensor(tmp_path: Path, pipeline: Path) -> None:
    logs = []
    for output_type in ("np", "pt"):
        words = ["--pipeline", str(pipeline), "--count", "2", "--seed", "5", "--device", "cpu"]
        done = best_of_n(tmp_path, *words, "--output-type", output_type)
        assert done.returncode == 0, done.stderr
        assert "STUB" not in done.stdout
        logs.append((done.stdout, (tmp_path / "best.png").read_bytes()))
    assert logs[0] == logs[1]
    scores = [float(line.split()[1]) for line in logs[0][0].splitlines()[1:3]]
    with pscr.open("agiqa3k-lite0", device="cpu") as scorer:
        assert scorer.score(tmp_path / "best.png").score == pytest.approx(scores[0], abs=6e-4)
