"""EfficientNet-Lite is the public network: same names, same numbers."""

import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet

from pscr import PscrError, Status
from pscr.training.backbones import BACKBONES
from pscr.training.model import build, load_pretrained


@pytest.fixture(scope="module")
def public():
    torch.manual_seed(0)
    return EfficientNet.from_name("efficientnet-lite0").eval()


def test_pooled_features_equal_the_public_implementation(public):
    model = build("efficientnet_lite0").eval()
    state = {key: value for key, value in public.state_dict().items() if not key.startswith("_fc.")}
    model.backbone.load_state_dict(state)
    x = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        expected = public.extract_features(x).mean((2, 3))
        torch.testing.assert_close(model.backbone(x), expected, rtol=1e-4, atol=1e-5)


def test_frozen_statistics_give_the_same_gradients_as_plain_batch_normalisation(public):
    model = build("efficientnet_lite0").eval()
    model.backbone.load_state_dict({k: v for k, v in public.state_dict().items() if not k.startswith("_fc.")})
    x = torch.randn(1, 3, 64, 64)
    reference = EfficientNet.from_name("efficientnet-lite0", image_size=64).eval()
    reference.load_state_dict(public.state_dict())
    reference.extract_features(x).mean((2, 3)).square().sum().backward()
    model.backbone(x).square().sum().backward()
    ours = dict(model.backbone.named_parameters())
    for name, parameter in reference.named_parameters():
        if name.startswith("_fc."):
            continue
        scale = parameter.grad.abs().max().clamp_min(1e-9)
        assert ((ours[name].grad - parameter.grad).abs().max() / scale) < 1e-3, name


def test_stem_and_trunk_meet_at_every_block():
    backbone = build("efficientnet_lite0").backbone.eval()
    x = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        whole = backbone(x)
        for blocks in (1, 5, BACKBONES["efficientnet_lite0"].blocks):
            torch.testing.assert_close(backbone.trunk(backbone.stem(x, blocks), blocks), whole)


def test_fusing_batch_normalisation_changes_nothing():
    torch.manual_seed(1)
    backbone = build("efficientnet_lite0").backbone.eval()
    for module in backbone.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    x = torch.randn(1, 3, 96, 96)
    with torch.inference_mode():
        before = backbone(x)
        backbone.fuse()
        torch.testing.assert_close(backbone(x), before, rtol=1e-3, atol=1e-5)


def test_imagenet_weights_load_by_name():
    model, untouched = build("efficientnet_lite0"), build("efficientnet_lite0")
    load_pretrained(model, "imagenet")
    key = "_blocks.15._project_conv.weight"
    assert not torch.equal(model.backbone.state_dict()[key], untouched.backbone.state_dict()[key])


@pytest.mark.parametrize("damage", ["missing", "shape", "extra"])
def test_a_checkpoint_that_does_not_fit_is_refused_by_key(tmp_path, damage):
    model = build("efficientnet_lite0")
    state = model.backbone.state_dict()
    if damage == "missing":
        del state["_bn1.weight"]
    elif damage == "shape":
        state["_bn1.weight"] = torch.zeros(7)
    else:
        state["layer1.0.conv1.weight"] = torch.zeros(1)
    file = tmp_path / "checkpoint.pth"
    torch.save(state, file)
    with pytest.raises(
        PscrError, match=r"layer1\.0\.conv1\.weight" if damage == "extra" else r"_bn1\.weight"
    ) as caught:
        load_pretrained(model, str(file))
    assert caught.value.status is Status.MODEL_INVALID


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    file = tmp_path / "checkpoint.pth"
    file.write_bytes(b"not a checkpoint")
    with pytest.raises(PscrError) as caught:
        load_pretrained(build("efficientnet_lite0"), str(file))
    assert caught.value.status is Status.MODEL_INVALID
    assert "\n" not in str(caught.value)


def test_an_unknown_backbone_is_refused_with_the_known_names():
    with pytest.raises(PscrError, match="efficientnet_lite0"):
        build("alexnet")
