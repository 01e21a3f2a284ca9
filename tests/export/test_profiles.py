"""An engine's shapes: none that TensorRT cannot index or a common card not hold, and static ones for what is usual."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import tiny_linear

from pscr.export import profiles
from pscr.export.baking import bake
from pscr.export.graph_costs import costs
from pscr.export.model_folder import StoredModel
from pscr.export.precision import to_half
from pscr.runtime.errors import PscrError, Status

DENSE = ("agiqa3k-lite0", "agiqa3k-pair")


@pytest.mark.parametrize("name", DENSE)
def test_a_card_of_8_gb_opens_the_default_engine(name: str) -> None:
    model = StoredModel.read(name)
    chosen = profiles.choose(model.graph, model)
    assert chosen[0]["patches"] == ((1, 1, 512, 512, 3), (8, 1, 512, 512, 3), (16, 4, 512, 512, 3))
    assert chosen[0]["bank_scores"] == ((1,), (2385,), (4096,))
    found = costs(onnx.load_from_string(model.graph), {key: shapes[2] for key, shapes in chosen[0].items()})
    assert 2 * found.held <= 5e9
    assert found.largest < 2**31


@pytest.mark.parametrize("name", DENSE)
def test_one_image_and_a_full_batch_of_the_usual_view_have_static_profiles(name: str) -> None:
    model = StoredModel.read(name)
    _, *static = profiles.choose(model.graph, model)
    assert profiles.static_shapes([{}, *static]) == [[1, 1, 512, 512, 3], [8, 1, 512, 512, 3]]
    assert all(low == best == high for profile in static for low, best, high in profile.values())
    assert [profile["bank_scores"][0] for profile in static] == [(2385,), (2385,)]
    assert len(profiles.choose(model.graph, model, static=False)) == 1


def test_half_the_bytes_are_twice_the_images() -> None:
    model = StoredModel.read("agiqa3k-lite0")
    half = to_half(onnx.load_from_string(model.graph)).SerializeToString()
    assert profiles.choose(half, model)[0]["patches"][2][0] == 32


def test_a_small_network_takes_as_many_images_as_anybody_sends(own_model: Path) -> None:
    model = StoredModel.read(own_model)
    assert profiles.choose(model.graph, model)[0]["patches"][2] == (64, 9, 32, 32, 3)
    baked = bake(onnx.load_from_string(model.graph), model.signature).SerializeToString()
    assert [set(profile) for profile in profiles.choose(baked, model)] == [{"patches"}] * 3


def test_who_names_a_batch_gets_it_unless_it_cannot_be_indexed() -> None:
    model = StoredModel.read("agiqa3k-lite0")
    chosen = profiles.choose(model.graph, model, (2, 4, 64))
    assert chosen[0]["patches"][2] == (64, 4, 512, 512, 3)
    assert [shape[0] for shape in profiles.static_shapes(chosen)] == [2, 4]
    with pytest.raises(PscrError, match=r"128 images of 4 patches .* TensorRT takes up to 2,147,483,647") as caught:
        profiles.choose(model.graph, model, (1, 8, 128))
    assert caught.value.status is Status.INVALID_ARGUMENT


def test_whole_images_have_the_dynamic_profile_alone_and_a_batch_that_tensorrt_can_index(tmp_path: Path) -> None:
    model = StoredModel.read(tiny_linear.write(tmp_path / "model"))
    (chosen,) = profiles.choose(model.graph, model)
    assert [shape[2:4] for shape in chosen["patches"]] == [(64, 64), (512, 512), (1024, 1024)]
    with pytest.raises(PscrError, match="fewer images with --batch"):
        profiles.choose(model.graph, model, (1, 1, 128))
