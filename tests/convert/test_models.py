"""Networks of three libraries convert: 2D answer under slicewise, everything lifted, gradients."""

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from torch import nn
from torchvision import models

import thirdaxis
from thirdaxis.convert.check import tensors
from thirdaxis.nets.unet import UNet

ATTENTION = ("vit_", "swin_", "maxvit_")
CLASSIFIERS = [n for n in models.list_models(models) if not n.startswith(ATTENTION)]
SEGMENTERS = models.list_models(models.segmentation)
TIMM = [
    *("resnet18", "resnet50d", "resnetv2_50", "densenet121", "efficientnet_b0"),
    *("tf_efficientnet_b0", "convnext_atto", "convnextv2_atto", "mobilenetv3_large_100"),
    "tf_mobilenetv3_small_100",
]
SMP = [f"{kind}/{encoder}" for kind in ("Unet", "FPN") for encoder in ("resnet18", "mobilenet_v2")]
NETWORKS = [
    "own/unet",
    *(f"torchvision/{name}" for name in [*CLASSIFIERS, *SEGMENTERS]),
    *(f"timm/{name}" for name in TIMM),
    *(f"smp/{name}" for name in SMP),
]
SIDE = {"torchvision/inception_v3": 299, "torchvision/alexnet": 96}


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    library, _, model = name.partition("/")
    if library == "own":
        return UNet(3, 6)
    if library == "timm":
        return timm.create_model(model)
    if library == "smp":
        kind, encoder = model.split("/")
        return smp.create_model(kind, encoder, encoder_weights=None, classes=3)
    extra = {"init_weights": False} if model in {"googlenet", "inception_v3"} else {}
    if model in SEGMENTERS:
        extra = {"weights_backbone": None}
    return models.get_model(model, weights=None, **extra)


@pytest.mark.parametrize("name", NETWORKS)
def test_network_converts(name):
    net = build(name)
    side = SIDE.get(name, 64)
    pictures = torch.randn(2, 3, side, side)
    for depth_stride in (True, False):
        checked = thirdaxis.check(net, pictures, depth_stride=depth_stride)
        assert checked.passed and checked.conclusive, str(checked)
    odd = [run for run in checked.executed if run.kernel[0] != run.kernel[1]]
    assert checked.lifted == len(checked.executed) - len(odd) > 0

    lifted = thirdaxis.convert(net, "acs")
    assert {k: v.shape for k, v in lifted.state_dict().items()} == {
        k: v.shape for k, v in net.state_dict().items()
    }
    lifted.load_state_dict(net.state_dict(), strict=True)
    if sum(p.numel() for p in net.parameters()) > 2e8:
        return  # twice its gradients do not fit beside another worker
    shallow = 5
    volume = torch.randn(2, 3, shallow, side, side + 32)
    expected = tensors(net.train()(volume[:, :, 0]))
    got = tensors(lifted.train()(volume))
    for flat, deep in zip(expected, got, strict=True):
        shape = list(flat.shape)
        assert list(deep.shape) == (shape[:2] + [shallow] + shape[2:] if len(shape) == 4 else shape)
    sum(out.square().sum() for out in expected).backward()
    sum(out.square().sum() for out in got).backward()
    for (key, flat), (_, deep) in zip(
        net.named_parameters(), lifted.named_parameters(), strict=True
    ):
        assert (flat.grad is None) == (deep.grad is None), key
