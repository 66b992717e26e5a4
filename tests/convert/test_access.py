"""Features from the middle, slice by slice what the 2D network gives there."""

import copy

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from torchvision import models
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.feature_extraction import create_feature_extractor

import thirdaxis

pytestmark = pytest.mark.usefixtures("repeatable")


def as_list(output):
    """Feature maps of a network, whatever they came in."""
    if isinstance(output, torch.Tensor):
        return [output]
    parts = output.values() if isinstance(output, dict) else output
    return [tensor for part in parts for tensor in as_list(part)]


def assert_each_slice_is_the_2d_answer(flat, deep, volume):
    """What came from a volume is, slice by slice, what comes from a picture."""
    deep = as_list(deep)
    with torch.no_grad():
        slices = [as_list(flat(volume[:, :, i])) for i in range(volume.shape[2])]
    assert len(deep) == len(slices[0]) > 0
    for found, *expected in zip(deep, *slices, strict=True):
        assert type(found) is torch.Tensor
        if expected[0].dim() == 2:  # a vector per slice leaves as the mean over slices
            expected = torch.stack(expected).mean(0)
        else:
            expected = torch.stack(expected, 1 if expected[0].dim() == 3 else 2)
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def resnet():
    return models.resnet18(weights=None).eval()


def unet():
    return smp.Unet("resnet18", encoder_weights=None).eval()


def fpn_backbone():
    build = models.detection.fasterrcnn_resnet50_fpn
    return build(weights=None, weights_backbone=None).backbone.eval()


def tokens():
    return timm.create_model("vit_tiny_patch16_224", img_size=64).eval()


def features(name, **extra):
    return lambda: timm.create_model(name, features_only=True, **extra).eval()


ACCESS = {  # a network, and what its user does with it
    "a convolution": (resnet, lambda net, x: net.conv1(x)),
    "by keyword": (resnet, lambda net, x: net.conv1(input=x)),
    "a norm": (resnet, lambda net, x: net.bn1(net.conv1(x))),
    "a pool": (resnet, lambda net, x: net.maxpool(net.conv1(x))),
    "a stage": (resnet, lambda net, x: net.layer1(net.maxpool(net.conv1(x)))),
    "a block": (resnet, lambda net, x: net.layer2[0](net.conv1(x))),
    "checkpointed": (resnet, lambda net, x: checkpoint(net.conv1, x, use_reentrant=False)),
    "features": (lambda: models.mobilenet_v2(weights=None).eval(), lambda net, x: net.features(x)),
    "sliced": (
        lambda: models.mobilenet_v2(weights=None).eval(),
        lambda net, x: net.features[:4](x),
    ),
    "encoder": (unet, lambda net, x: net.encoder(x)),
    "decoder": (unet, lambda net, x: net.decoder(net.encoder(x))),
    "head": (unet, lambda net, x: net.segmentation_head(net.decoder(net.encoder(x)))),
    "predict": (unet, lambda net, x: net.predict(x)),
    "pyramid": (fpn_backbone, lambda net, x: net(x)),
    "body": (fpn_backbone, lambda net, x: net.body(x)),
    "pyramid of a body": (fpn_backbone, lambda net, x: net.fpn(net.body(x))),
    "timm features": (
        lambda: timm.create_model("resnet18").eval(),
        lambda net, x: net.forward_features(x),
    ),
    "timm head": (
        lambda: timm.create_model("resnet18").eval(),
        lambda net, x: net.forward_head(net.forward_features(x)),
    ),
    "timm intermediates": (
        lambda: timm.create_model("convnext_atto").eval(),
        lambda net, x: net.forward_intermediates(x),
    ),
    "tokens": (tokens, lambda net, x: net.forward_features(x)),
    "token maps": (tokens, lambda net, x: net.forward_intermediates(x, intermediates_only=True)),
    "token layers": (tokens, lambda net, x: net.get_intermediate_layers(x, n=2)),
    "features only": (features("mobilenetv3_small_100"), lambda net, x: net(x)),
    "features by hooks": (features("resnet18", feature_cls="hook"), lambda net, x: net(x)),
    "features by a graph": (features("resnet18", feature_cls="fx"), lambda net, x: net(x)),
    "channels last": (
        features("swin_tiny_patch4_window7_224", img_size=64),
        lambda net, x: net(x),
    ),
    "feature extractor": (
        lambda: create_feature_extractor(resnet(), {"layer1": "a", "layer3.0.relu": "b"}),
        lambda net, x: net(x),
    ),
    "layer getter": (
        lambda: IntermediateLayerGetter(resnet(), {"layer1": "a", "layer3": "b"}),
        lambda net, x: net(x),
    ),
    "layer getter on top": (
        resnet,
        lambda net, x: IntermediateLayerGetter(net, {"layer1": "a", "layer3": "b"})(x),
    ),
    "own sequence": (resnet, lambda net, x: nn.Sequential(net.conv1, net.bn1, net.layer1)(x)),
}


@pytest.mark.parametrize("name", ACCESS)
def test_the_middle_of_a_network_takes_and_gives_volumes(name, volume):
    build, use = ACCESS[name]
    net = build()
    lifted = thirdaxis.convert(net, "slicewise", depth_stride=False)
    assert_each_slice_is_the_2d_answer(lambda x: use(net, x), use(lifted, volume), volume)
    twin = copy.deepcopy(copy.deepcopy(lifted))
    assert_each_slice_is_the_2d_answer(lambda x: use(net, x), use(twin, volume), volume)
