"""EfficientNet-Lite is the public network: same names, same numbers."""

import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet
from random_network import settled

from pscr import PscrError
from pscr.training.model import build


@pytest.fixture(scope="module")
def public():
    torch.manual_seed(0)
    return EfficientNet.from_name("efficientnet-lite0").eval()


@pytest.mark.parametrize("size", [0, 1, 2])
def test_pooled_features_equal_the_public_implementation(size):
    """On the patches that we cut; the public module fixes its padding when it is built."""
    ours = settled(f"efficientnet_lite{size}").backbone
    public = EfficientNet.from_name(f"efficientnet-lite{size}", image_size=224).eval()
    classifier = {key: value for key, value in public.state_dict().items() if key.startswith("_fc.")}
    public.load_state_dict({**ours.state_dict(), **classifier})
    x = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        expected = public.extract_features(x).mean((2, 3))
        torch.testing.assert_close(ours(x), expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


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


def test_an_unknown_backbone_is_refused_with_the_known_names():
    with pytest.raises(PscrError, match="efficientnet_lite0"):
        build("alexnet")
