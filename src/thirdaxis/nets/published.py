"""Segmentation networks of the papers by name, each with torchvision's name for its weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

import thirdaxis
from thirdaxis.nets.ahnet import flat_ahnet, lift_ahnet
from thirdaxis.nets.ahnet_weights import from_monai
from thirdaxis.nets.fcn import FCN
from thirdaxis.nets.gcn import GCN, PRINTED
from thirdaxis.nets.lidc import LidcDenseNet121, LidcResNet18, LidcVGG16
from thirdaxis.nets.resnet_maps import RESNETS
from thirdaxis.nets.resnet_unet import ResNetUNet


@dataclass(frozen=True)
class Published:
    """How a network is made.

    Args:
        make: from the number of classes; takes RGB images.
        weights: torchvision's classifier whose weights its encoder takes.
        renamed: the tensors of a file, under the network's names where it knows others.
        lift: what makes a network on volumes of it.
    """

    make: Callable[[int], nn.Module]
    weights: str
    renamed: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] = dict
    lift: Callable[..., nn.Module] = thirdaxis.convert


NETWORKS: dict[str, Published] = {
    "fcn:resnet18": Published(lambda n: FCN(LidcResNet18(), n, norm=False), "resnet18"),
    "fcn:vgg16_bn": Published(
        lambda n: FCN(LidcVGG16(), n, width=(256, 64), norm=False), "vgg16_bn"
    ),
    "fcn:densenet121": Published(
        lambda n: FCN(LidcDenseNet121(), n, width=(256, 64), norm=False), "densenet121"
    ),
    "fcn-norm:resnet18": Published(lambda n: FCN(LidcResNet18(), n, norm=True), "resnet18"),
    "resunet:resnet18": Published(lambda n: ResNetUNet(n, "resnet18"), "resnet18"),
    "resunet:resnet34": Published(lambda n: ResNetUNet(n, "resnet34"), "resnet34"),
    "resunet:resnet50": Published(lambda n: ResNetUNet(n, "resnet50"), "resnet50"),
    **{f"gcn:{name}": Published(partial(GCN, resnet=name), name) for name in RESNETS},
    "gcn-large:resnet50": Published(partial(GCN, kernels=PRINTED), "resnet50"),
    **{
        f"ahnet:{name}": Published(
            partial(flat_ahnet, resnet=name), name, renamed=from_monai, lift=lift_ahnet
        )
        for name in RESNETS
    },
}
