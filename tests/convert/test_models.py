"""Networks of three libraries convert, one of each kind; `benchmarks/zoo.py` tries all of them."""

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from torch import nn
from torchvision import models
from torchvision.models.detection.backbone_utils import mobilenet_backbone

from thirdaxis.convert.claims import CLAIMS
from thirdaxis.convert.proof import prove
from thirdaxis.nets.unet import UNet

CLASSIFIERS = [
    *("alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s"),
    *("googlenet", "inception_v3", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small"),
    *("regnet_x_400mf", "regnet_y_400mf", "resnet18", "resnet50", "resnext50_32x4d"),
    *("shufflenet_v2_x0_5", "squeezenet1_0", "squeezenet1_1", "vgg11_bn", "wide_resnet50_2"),
]
SEGMENTERS = models.list_models(models.segmentation)
TIMM = [
    *("resnet18", "resnet50d", "resnetv2_18", "densenet121", "efficientnet_b0"),
    *("tf_efficientnet_b0", "convnext_atto", "convnextv2_atto", "mobilenetv3_small_050"),
    *("tf_mobilenetv3_small_100", "inception_next_atto", "starnet_s050", "repvit_m1"),
]
ATTENTION = [  # and mixers, and hybrids of both with convolutions; some only for small pictures
    *("vit_tiny_patch16_224", "deit_tiny_patch16_224", "xcit_nano_12_p8_224", "mixer_s32_224"),
    *("resmlp_12_224", "pvt_v2_b0", "edgenext_xx_small", "mobilevit_xxs", "efficientvit_b0"),
    *("swiftformer_xs", "shvit_s1", "lowformer_b0", "efficientvim_m1"),
    "swin_s3_tiny_224",
]
SMP = [f"{kind}/{encoder}" for kind in ("Unet", "FPN") for encoder in ("resnet18", "mit_b0")]
NETWORKS = [
    "own/unet",
    *(f"torchvision/{name}" for name in [*CLASSIFIERS, *SEGMENTERS]),
    "detection/mobilenet_v2",
    *(f"timm/{name}" for name in [*TIMM, *ATTENTION]),
    *(f"smp/{name}" for name in SMP),
]
SIDE = {
    "own/unet": 32,
    "torchvision/inception_v3": 299,
    "torchvision/alexnet": 96,
    "timm/swin_s3_tiny_224": 112,
}
FIXED = ("vit_tiny", "deit_tiny", "mixer", "resmlp", "xcit", "swin_s3")


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    library, _, model = name.partition("/")
    if library == "own":
        return UNet(3, 6)
    if library == "timm":
        fixed = {"img_size": SIDE.get(name, 64)} if model.startswith(FIXED) else {}
        return timm.create_model(model, **fixed)
    if library == "smp":
        kind, encoder = model.split("/")
        return smp.create_model(kind, encoder, encoder_weights=None, classes=3)
    if library == "detection":
        return mobilenet_backbone(
            backbone_name=model, weights=None, fpn=True, norm_layer=nn.BatchNorm2d
        )
    extra = {"init_weights": False} if model in {"googlenet", "inception_v3"} else {}
    if model in SEGMENTERS:
        extra = {"weights_backbone": None}
    return models.get_model(model, weights=None, **extra)


def woken(net: nn.Module) -> nn.Module:
    """Parameters that start near zero, such as layer scales, would hide what lies behind them."""
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.abs().max() < 1e-3:
                parameter.normal_(std=0.1)
    return net


@pytest.mark.parametrize("name", NETWORKS)
def test_network_converts(name):
    side = SIDE.get(name, 64)
    proof = prove(woken(build(name)), torch.randn(2, 3, side, side))
    assert proof.passed, proof.failure
    assert proof.claims == tuple(CLAIMS)
    assert proof.depth_stride == (name.rpartition("/")[2] not in (*ATTENTION, "mit_b0"))
    square = [run for run in proof.executed if run.kernel[0] == run.kernel[1]]
    assert proof.lifted == len(square) > 0
