"""Every backbone is the public network: its parameters by name, shape and number, and how it is cut and fused."""

from importlib import import_module

import pytest
import torch
from random_network import settled, structure

from pscr.training.backbones import BACKBONES
from pscr.training.model import build

pytestmark = pytest.mark.slow

PUBLIC = {  # parameters without the classifier, as their authors and timm's tables give them
    "efficientnet_lite0": 4_652_008 - 1_281_000,
    "efficientnet_lite1": 5_416_680 - 1_281_000,
    "efficientnet_lite2": 6_092_072 - 1_281_000,
    "resnet18": 11_689_512 - 513_000,
    "resnet50": 25_557_032 - 2_049_000,
    "vgg16": 138_357_544 - 123_642_856,
    "vgg19": 143_667_240 - 123_642_856,
    "inception_v4": 42_679_816 - 1_537_000,
}
KEYS = {  # spot checks: names and shapes in the public checkpoints
    "efficientnet_lite0": {
        "_conv_stem.weight": (32, 3, 3, 3),
        "_blocks.15._project_conv.weight": (320, 1152, 1, 1),
        "_bn1.running_var": (1280,),
    },
    "efficientnet_lite1": {
        "_blocks.20._project_conv.weight": (320, 1152, 1, 1),
        "_conv_head.weight": (1280, 320, 1, 1),
    },
    "efficientnet_lite2": {
        "_blocks.20._project_conv.weight": (352, 1248, 1, 1),
        "_conv_head.weight": (1280, 352, 1, 1),
    },
    "resnet18": {
        "conv1.weight": (64, 3, 7, 7),
        "bn1.running_mean": (64,),
        "layer1.0.conv1.weight": (64, 64, 3, 3),
        "layer2.0.downsample.0.weight": (128, 64, 1, 1),
        "layer2.0.downsample.1.running_var": (128,),
        "layer4.1.bn2.bias": (512,),
    },
    "resnet50": {
        "layer1.0.conv1.weight": (64, 64, 1, 1),
        "layer1.0.downsample.0.weight": (256, 64, 1, 1),
        "layer3.5.conv3.weight": (1024, 256, 1, 1),
        "layer4.0.conv2.weight": (512, 512, 3, 3),
        "layer4.2.bn3.weight": (2048,),
    },
    "vgg16": {
        "features.0.weight": (64, 3, 3, 3),
        "features.7.bias": (128,),
        "features.17.weight": (512, 256, 3, 3),
        "features.28.weight": (512, 512, 3, 3),
    },
    "vgg19": {"features.0.bias": (64,), "features.19.weight": (512, 256, 3, 3), "features.34.weight": (512, 512, 3, 3)},
    "inception_v4": {
        "features.0.conv.weight": (32, 3, 3, 3),
        "features.0.bn.running_mean": (32,),
        "features.3.conv.conv.weight": (96, 64, 3, 3),
        "features.4.branch1.2.conv.weight": (64, 64, 7, 1),
        "features.5.conv.bn.weight": (192,),
        "features.6.branch3.1.conv.weight": (96, 384, 1, 1),
        "features.10.branch1.2.conv.weight": (256, 224, 3, 3),
        "features.11.branch2.4.conv.weight": (256, 224, 1, 7),
        "features.18.branch1.2.conv.weight": (320, 256, 7, 1),
        "features.21.branch1_1a.conv.weight": (256, 384, 1, 3),
        "features.21.branch2_3b.bn.bias": (256,),
    },
}
TENSORS = {"resnet18": 120, "resnet50": 318, "vgg16": 26, "vgg19": 32, "inception_v4": 894}
SIDE = {"inception_v4": 139}  # 64 pixels are too few for its unpadded layers


def test_the_registry_is_the_list_of_the_design():
    assert {name: (spec.patch, spec.channels) for name, spec in BACKBONES.items()} == {
        **{f"efficientnet_lite{size}": (224, 1280) for size in (0, 1, 2)},
        "resnet18": (224, 512),
        "resnet50": (224, 2048),
        "vgg16": (224, 512),
        "vgg19": (224, 512),
        "inception_v4": (299, 1536),
    }
    lite = {name for name, spec in BACKBONES.items() if (spec.mean[0], spec.std[0]) == (127 / 255, 128 / 255)}
    assert lite == {name for name in BACKBONES if name.startswith("efficientnet_lite")}
    assert all(spec.mean == (0.485, 0.456, 0.406) for name, spec in BACKBONES.items() if name not in lite)
    assert all(spec.std == (0.229, 0.224, 0.225) for name, spec in BACKBONES.items() if name not in lite)
    assert all(bool(spec.package) != bool(spec.url) for spec in BACKBONES.values())
    assert all(spec.frozen <= spec.blocks for spec in BACKBONES.values())


@pytest.mark.parametrize("name", BACKBONES)
def test_parameters_are_those_of_the_public_checkpoint(name):
    backbone = build(name).backbone
    assert sum(parameter.numel() for parameter in backbone.parameters()) == PUBLIC[name]
    state = backbone.state_dict()
    assert {key: tuple(state[key].shape) for key in KEYS[name]} == KEYS[name]
    assert len(state) == TENSORS.get(name, len(state))


@pytest.mark.parametrize("name", BACKBONES)
def test_stem_and_trunk_meet_at_every_block_and_fusing_changes_nothing(name):
    backbone, spec = settled(name).backbone, BACKBONES[name]
    assert len(backbone.blocks()) == spec.blocks
    side = SIDE.get(name, 64)
    x = structure(2, side)
    with torch.inference_mode():
        whole = backbone(x)
        assert whole.shape == (2, spec.channels)
        assert 0.01 < whole.std() < 100
        for blocks in range(0, spec.blocks + 1, 4):
            torch.testing.assert_close(backbone.trunk(backbone.stem(x, blocks), blocks), whole)
        backbone.fuse()
        assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in backbone.modules())
        torch.testing.assert_close(backbone(x), whole, rtol=1e-3, atol=1e-4 * float(whole.abs().max()))


@pytest.mark.parametrize("name", BACKBONES)
def test_parameters_behind_a_cut_are_those_that_the_trunk_uses(name):
    backbone, spec = build(name).backbone.eval(), BACKBONES[name]
    cut = spec.blocks - 1
    with torch.no_grad():
        stem = backbone.stem(torch.randn(1, 3, 107, 107), cut)
    backbone.trunk(stem, cut).sum().backward()
    used = {name for name, parameter in backbone.named_parameters() if parameter.grad is not None}
    after = {id(parameter) for parameter in backbone.after(cut)}
    assert used == {name for name, parameter in backbone.named_parameters() if id(parameter) in after}
    assert 0 < len(used) < len(list(backbone.parameters()))


@pytest.mark.parametrize("name", ["resnet18", "vgg16"])
def test_stochastic_depth_skips_blocks_in_training_only(name):
    backbone = settled(name).backbone
    x = torch.randn(2, 3, 64, 64)
    backbone.set_drop_path(0.9)
    with torch.inference_mode():
        torch.testing.assert_close(backbone(x), backbone(x), rtol=0, atol=0)
        backbone.train()
        for module in backbone.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eval()
        drawn = {round(float(backbone(x).sum()), 3) for _ in range(4)}
    assert (len(drawn) > 1) == (name != "vgg16")


def reference(library: str, name: str):
    """The network as another library builds it, or a skipped test."""
    try:
        import_module(library)
        models = import_module(f"{library}.models" if library == "torchvision" else library)
    except Exception as error:  # a torchvision of another torch fails with RuntimeError
        pytest.skip(f"{library} cannot be imported here ({type(error).__name__})")
    return models.create_model(name) if library == "timm" else getattr(models, name)()


@pytest.mark.parametrize(
    ("library", "name"),
    [*(("torchvision", name) for name in ("resnet18", "resnet50", "vgg16", "vgg19")), ("timm", "inception_v4")],
)
def test_features_equal_those_of_the_library_that_the_checkpoint_is_for(library, name):
    public, ours = reference(library, name).eval(), settled(name).backbone
    classifier = {k: v for k, v in public.state_dict().items() if k.startswith(BACKBONES[name].ignored)}
    assert classifier
    public.load_state_dict({**ours.state_dict(), **classifier})
    layers = public.features if hasattr(public, "features") else torch.nn.Sequential(*list(public.children())[:-2])
    x = torch.randn(1, 3, 128, 128)
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), layers(x).mean((2, 3)), rtol=1e-3, atol=1e-4)
