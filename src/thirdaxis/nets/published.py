"""Segmentation networks of the papers by name, each with torchvision's name for its weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from thirdaxis.nets.fcn import FCN
from thirdaxis.nets.lidc import LidcDenseNet121, LidcResNet18, LidcVGG16
from thirdaxis.nets.resnet_unet import ResNetUNet


def gcn(classes: int) -> nn.Module:
    """The global convolutional network of AH-Net's first stage, around ResNet-50.

    Source: Liu et al., "3D Anisotropic Hybrid Network", MICCAI 2018, and its code, which MONAI
    holds: 23,576,758 parameters with one class. The paper feeds it three neighbouring slices as
    RGB: converted with ``"slicewise"``, ``in_channels=1``, ``stem="depth"`` and
    ``depth_stride=False`` it sees these around every slice of a volume.

    Args:
        classes: channels of the answer.
    """
    from monai.networks.blocks.fcn import FCN as GlobalConvolutional

    net = GlobalConvolutional(out_channels=classes, pretrained=False)
    # Its inner maps have as many channels as there are classes, three perhaps.
    net.reads_picture = ("conv1",)
    return net


def _gcn_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Torchvision calls the stem's norm `bn1`, this network `bn0`."""
    return {
        f"bn0.{name.removeprefix('bn1.')}" if name.startswith("bn1.") else name: value
        for name, value in tensors.items()
    }


@dataclass(frozen=True)
class Published:
    """How a network is made.

    Args:
        make: from the number of classes; takes RGB images.
        weights: torchvision's classifier whose weights its encoder takes.
        renamed: torchvision's tensors under the network's names.
    """

    make: Callable[[int], nn.Module]
    weights: str
    renamed: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] = dict


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
    "gcn:resnet50": Published(gcn, "resnet50", _gcn_names),
}
