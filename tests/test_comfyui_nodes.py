"""The ComfyUI nodes by ComfyUI's protocol: loaded as a custom node is, called as its executor calls, with torch."""

from __future__ import annotations

import importlib.util
import inspect
import json
import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pscr
from pscr.runtime import quality_map as maps
from pscr.runtime.models import packaged

FOLDER = Path(__file__).parents[1] / "examples" / "comfyui" / "pscr_nodes"
MODEL = {"model": "agiqa3k-lite0", "device": "cpu"}
NODES = ["PscrScore", "PscrBestOfN", "PscrGate", "PscrMapOverlay"]


@pytest.fixture(scope="module")
def pack() -> Iterator[Any]:
    """The folder, loaded as ComfyUI loads what lies in custom_nodes."""
    spec = importlib.util.spec_from_file_location("pscr_nodes", FOLDER / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["pscr_nodes"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["pscr_nodes"], sys.modules["pscr_nodes.nodes"]


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    """An IMAGE of four: the first is the cleanest, noise grows to the last but one, the third."""
    y, x = np.mgrid[:160, :200] / 160
    clean = np.stack([0.2 + 0.5 * x, 0.8 - 0.6 * y, 0.3 + 0.2 * np.sin(4 * x * y)], -1)
    grains = np.random.default_rng(0).standard_normal(clean.shape)
    batch = np.stack([clean + strength * grains for strength in (0, 0.1, 0.5, 0.2)])
    return torch.from_numpy(batch.clip(0, 1).astype(np.float32))


@pytest.fixture(scope="module")
def expected(images: torch.Tensor) -> list[float]:
    """The scores of the images as they would be saved."""
    levels = (images.numpy() * 255).round().astype(np.uint8)
    with pscr.open(MODEL["model"], device="cpu") as scorer:
        return [scorer.score(image, pixel_format="rgb").score for image in levels]


def run(pack: Any, name: str, **inputs: Any) -> tuple[Any, ...]:
    """Call a node as the executor does: an instance, its FUNCTION, inputs by name, in inference mode."""
    node = pack.NODE_CLASS_MAPPINGS[name]()
    with torch.inference_mode():
        found: Any = getattr(node, node.FUNCTION)(**{**MODEL, **inputs})
    result: tuple[Any, ...] = found["result"] if isinstance(found, dict) else found
    assert len(result) == len(node.RETURN_TYPES)
    return result


def latents(count: int, **more: Any) -> dict[str, Any]:
    return {"samples": torch.arange(count * 4.0).reshape(count, 4, 1, 1), **more}


# --- the protocol -----------------------------------------------------------------------------------------------------


def test_every_node_has_a_title(pack: Any) -> None:
    assert sorted(pack.NODE_CLASS_MAPPINGS) == sorted(NODES)
    assert pack.NODE_DISPLAY_NAME_MAPPINGS.keys() == pack.NODE_CLASS_MAPPINGS.keys()


@pytest.mark.parametrize("name", NODES)
def test_a_node_says_what_comes_in_and_goes_out(pack: Any, name: str) -> None:
    node = pack.NODE_CLASS_MAPPINGS[name]
    inputs = node.INPUT_TYPES()
    assert inputs["required"]["images"][0] == "IMAGE"
    assert set(inputs["required"]["model"][0]) == set(packaged())
    assert inputs["required"]["model"][0][0] == "agiqa3k-pair"
    assert {"cpu", "auto", "cuda"} <= set(inputs["required"]["device"][0])
    assert len(node.RETURN_TYPES) == len(node.RETURN_NAMES)
    assert node.CATEGORY
    assert node.DESCRIPTION
    parameters = inspect.signature(getattr(node, node.FUNCTION)).parameters
    assert list(parameters)[1:] == [*inputs["required"], *inputs["optional"]]
    assert all(parameters[one].default is None for one in inputs["optional"])


def test_every_input_and_output_explains_itself(pack: Any) -> None:
    for node in pack.NODE_CLASS_MAPPINGS.values():
        inputs = node.INPUT_TYPES()
        assert all(options["tooltip"] for _, options in {**inputs["required"], **inputs["optional"]}.values())
        assert len(node.OUTPUT_TOOLTIPS) == len(node.RETURN_TYPES)
        assert "image quality" in node.SEARCH_ALIASES


def test_score_runs_unconnected_and_leaves_its_text_in_the_history(pack: Any, images: torch.Tensor) -> None:
    node = pack.NODE_CLASS_MAPPINGS["PscrScore"]
    assert node.OUTPUT_NODE is True
    given = node().run(images[:1], **MODEL)
    assert json.loads(json.dumps(given["ui"])) == {"text": [given["result"][1]]}


def test_progress_is_shown_by_parts_and_cancels(
    pack: Any, images: torch.Tensor, expected: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    class CancelError(Exception):
        pass

    class Bar:
        """As comfy.utils has it: a total, steps, and what a step raises once the user cancels."""

        def __init__(self, total: int) -> None:
            self.left = total
            bars.append(self)

        def update(self, value: int) -> None:
            self.left -= value
            if cancelled:
                raise CancelError

    bars: list[Bar] = []
    cancelled = False
    monkeypatch.setattr(sys.modules["pscr_nodes.nodes"], "ProgressBar", Bar)
    monkeypatch.setattr(sys.modules["pscr_nodes.nodes"], "PART", 3)
    assert run(pack, "PscrScore", images=images)[0] == expected  # to the bit, in whatever parts
    run(pack, "PscrMapOverlay", images=images)
    assert [bar.left for bar in bars] == [0, 0]
    cancelled = True
    with pytest.raises(CancelError):
        run(pack, "PscrScore", images=images)
    assert bars[-1].left == 1


# --- the folder as it is handed on ------------------------------------------------------------------------------------


def test_registry_and_manager_install_the_same_package() -> None:
    project = (FOLDER / "pyproject.toml").read_text()  # tomllib is not in Python 3.10
    (dependencies,) = re.findall(r"^dependencies = (\[.*\])$", project, re.MULTILINE)
    assert json.loads(dependencies) == (FOLDER / "requirements.txt").read_text().split()
    (name,) = re.findall(r'^name = "(.*)"$', project, re.MULTILINE)
    assert re.fullmatch(r"[a-z][a-z0-9]*([-_.][a-z0-9]+)*", name)
    assert "comfyui" not in name
    assert re.search(r'^version = "\d+\.\d+\.\d+"$', project, re.MULTILINE)
    assert re.search(r"^\[tool\.comfy\]\nPublisherId = ", project, re.MULTILINE)


@pytest.mark.parametrize("file", sorted((FOLDER / "example_workflows").glob("*.json")), ids=lambda path: path.stem)
def test_an_example_workflow_fits_the_nodes(pack: Any, file: Path) -> None:
    workflow = json.loads(file.read_text())
    nodes = {node["id"]: node for node in workflow["nodes"]}
    for number, source, output, target, place, kind in workflow["links"]:
        assert nodes[source]["outputs"][output]["type"] == kind
        assert number in nodes[source]["outputs"][output]["links"]
        assert nodes[target]["inputs"][place]["link"] == number
        assert nodes[target]["inputs"][place]["type"] in (kind, "*")
    ours = [node for node in nodes.values() if node["type"] in NODES]
    assert ours
    for node in ours:
        known = pack.NODE_CLASS_MAPPINGS[node["type"]]
        assert [one["type"] for one in node["outputs"]] == list(known.RETURN_TYPES)
        assert [one["name"] for one in node["outputs"]] == list(known.RETURN_NAMES)
        asked = known.INPUT_TYPES()
        every = {**asked["required"], **asked["optional"]}
        sockets = {name: kind for name, (kind, _) in every.items() if kind in ("IMAGE", "LATENT")}
        assert {one["name"]: one["type"] for one in node["inputs"]} == sockets
        widgets = [kind for name, (kind, _) in every.items() if name not in sockets]
        for value, kind in zip(node["widgets_values"], widgets, strict=True):
            assert value in kind if isinstance(kind, list) else isinstance(value, (int, float))


# --- what the nodes give ----------------------------------------------------------------------------------------------


def test_score_gives_each_image_its_score_and_a_line(pack: Any, images: torch.Tensor, expected: list[float]) -> None:
    scores, text = run(pack, "PscrScore", images=images)
    assert scores == expected
    first, *lines = text.splitlines()
    assert first.startswith("agiqa3k-lite0 (")
    assert [line.split()[:2] for line in lines] == [[f"{n}:", f"{score:.3f}"] for n, score in enumerate(expected)]
    assert lines[0].endswith("padded from 200x160 to 512x512 by reflection")


def test_best_k_of_n_are_ranked_with_the_latents_of_the_same_places(
    pack: Any, images: torch.Tensor, expected: list[float]
) -> None:
    order = sorted(range(4), key=lambda place: -expected[place])
    given = latents(4, noise_mask=torch.arange(4.0).reshape(4, 1, 1), batch_index=[7, 8, 9, 10])
    best, chosen, text = run(pack, "PscrBestOfN", images=images, k=2, latents=given)
    assert torch.equal(best, images[order[:2]])
    assert torch.equal(chosen["samples"], given["samples"][order[:2]])
    assert torch.equal(chosen["noise_mask"], given["noise_mask"][order[:2]])
    assert chosen["batch_index"] == [7 + place for place in order[:2]]
    assert [int(line.split(":")[0]) for line in text.splitlines()[1:]] == order
    assert given["batch_index"] == [7, 8, 9, 10]


def test_latents_are_optional_and_one_mask_is_for_all(pack: Any, images: torch.Tensor) -> None:
    assert run(pack, "PscrBestOfN", images=images, k=1)[1] is None
    mask = torch.ones(1, 8, 8)
    _, chosen, _ = run(pack, "PscrBestOfN", images=images, k=3, latents=latents(4, noise_mask=mask))
    assert chosen["noise_mask"] is mask
    assert len(chosen["batch_index"]) == 3


def test_latents_of_five_axes_are_chosen_where_each_image_has_one(pack: Any, images: torch.Tensor) -> None:
    samples = torch.arange(4.0).reshape(4, 1, 1, 1, 1)
    best, chosen, _ = run(pack, "PscrBestOfN", images=images, k=1, latents={"samples": samples})
    assert torch.equal(best[0], images[int(chosen["samples"])])


def test_numbers_left_over_from_another_batch_are_made_anew(pack: Any, images: torch.Tensor) -> None:
    given = latents(4, batch_index=[7])
    best, chosen, _ = run(pack, "PscrBestOfN", images=images, k=1, latents=given)
    assert torch.equal(best[0], images[chosen["batch_index"][0]])


def test_gate_lets_pass_what_reaches_the_threshold_in_order(
    pack: Any, images: torch.Tensor, expected: list[float]
) -> None:
    threshold = sorted(expected)[2]
    passing = [place for place in range(4) if expected[place] >= threshold]
    passed, chosen, text = run(pack, "PscrGate", images=images, threshold=threshold, latents=latents(4))
    assert torch.equal(passed, images[passing])
    assert torch.equal(chosen["samples"], latents(4)["samples"][passing])
    assert len(text.splitlines()) == 5


def test_map_overlay_gives_a_picture_of_each_image_in_one_range_of_colours(pack: Any, images: torch.Tensor) -> None:
    overlays, text = run(pack, "PscrMapOverlay", images=images[:2])
    assert overlays.dtype == images.dtype
    assert (overlays.shape[0], overlays.shape[3]) == (2, 3)
    assert max(overlays.shape[1:3]) >= 200
    assert 0 <= float(overlays.min()) < float(overlays.max()) <= 1
    with pscr.open(MODEL["model"], device="cpu") as scorer:
        levels = (images[:2].numpy() * 255).round().astype(np.uint8)
        values = np.concatenate([maps.quality_map(scorer, one, pixel_format="rgb").values.ravel() for one in levels])
    low, high = (float(word.strip(",")) for word in text.split()[1:4:2])
    assert low <= values.min() + 0.01
    assert high >= values.max() - 0.01


def test_alpha_is_dropped_and_overshoot_clipped_as_when_saving(
    pack: Any, images: torch.Tensor, expected: list[float]
) -> None:
    assert run(pack, "PscrScore", images=torch.cat([images, images[..., :1]], 3))[0] == expected
    clipped = images.clone()
    clipped[images == images.max()] = 1.03
    assert run(pack, "PscrScore", images=clipped)[0] == run(pack, "PscrScore", images=clipped.clip(0, 1))[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda images: images.clone().requires_grad_(),
        lambda images: images.permute(3, 0, 1, 2).contiguous().permute(1, 2, 3, 0),
        lambda images: torch.cat([images, images], 2)[:, :, :200],
    ],
    ids=["gradient", "permuted", "strided"],
)
@pytest.mark.parametrize("name", ["PscrScore", "PscrMapOverlay"])
def test_how_a_tensor_lies_in_memory_makes_no_difference(
    pack: Any, images: torch.Tensor, name: str, change: Any
) -> None:
    given, changed = (run(pack, name, images=one) for one in (images[:2], change(images[:2])))
    assert given[1] == changed[1]
    assert torch.equal(torch.as_tensor(given[0]), torch.as_tensor(changed[0]))
    assert not getattr(changed[0], "requires_grad", False)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_are_scored(pack: Any, images: torch.Tensor, kind: torch.dtype) -> None:
    assert (
        run(pack, "PscrScore", images=images.to(kind))[0] == run(pack, "PscrScore", images=images.to(kind).float())[0]
    )


# --- what is wrong is one sentence ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NODES)
@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        (lambda images: images[0], "[160, 200, 3]; expected an IMAGE [B,H,W,3]"),
        (lambda images: images[:0], "[0, 160, 200, 3]"),
        (lambda images: images[:, :0], "[4, 0, 200, 3]"),
        (lambda images: images[..., :1], "[4, 160, 200, 1]"),
        (lambda images: images[None], "[1, 4, 160, 200, 3]"),
        (lambda images: [images], "found a list []; expected an IMAGE"),
        (lambda images: images.permute(0, 3, 1, 2), "[4, 3, 160, 200]"),
        (lambda images: images * 255, "expected an IMAGE, whose values are 0 to 1"),
        (lambda images: images + math.inf, "found values from inf to inf"),
        (lambda images: torch.cat([images[:2], images[2:] * math.nan]), "image 2 of 4 has NaN"),
    ],
    ids=["rank", "empty", "height", "grey", "video", "list", "layout", "range", "infinite", "nan"],
)
def test_what_is_no_image_is_told_in_one_sentence(
    pack: Any, images: torch.Tensor, name: str, wrong: Any, word: str
) -> None:
    own = {"PscrBestOfN": {"k": 1}, "PscrGate": {"threshold": 0.0}}.get(name, {})
    with pytest.raises((ValueError, pscr.PscrError)) as caught:
        run(pack, name, images=wrong(images), **own)
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_chosen_is_told_in_one_sentence(pack: Any, images: torch.Tensor, expected: list[float]) -> None:
    with pytest.raises(ValueError, match=r"k is 0; expected 1 or more"):
        run(pack, "PscrBestOfN", images=images, k=0)
    with pytest.raises(ValueError, match=r"4 images and 1 latents of a video.*leave the latents unconnected"):
        run(pack, "PscrGate", images=images, threshold=0.0, latents={"samples": torch.zeros(1, 16, 1, 8, 8)})
    with pytest.raises(ValueError, match=r"k is 5, and 4 of 4 images"):
        run(pack, "PscrBestOfN", images=images, k=5)
    with pytest.raises(ValueError, match=r"4 images and 2 latents"):
        run(pack, "PscrBestOfN", images=images, k=1, latents=latents(2))
    with pytest.raises(ValueError, match=f"none of 4 images passes.*best has {max(expected):.2f}"):
        run(pack, "PscrGate", images=images, threshold=9.0)
    with pytest.raises(pscr.PscrError, match=r"no-such-model"):
        run(pack, "PscrScore", images=images, model="no-such-model")


def test_of_many_frames_only_a_part_is_copied_at_a_time(pack: Any) -> None:
    nodes = sys.modules["pscr_nodes.nodes"]
    frames = torch.rand(1, 8, 8, 3).expand(512, -1, -1, -1)
    sizes = [len(part) for part in nodes.parts(frames)]
    assert max(sizes) == nodes.PART
    assert sum(sizes) == len(list(nodes.levels(frames))) == 512
