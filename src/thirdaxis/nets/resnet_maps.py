"""A ResNet that gives all its maps, and that can halve the depth of volumes by pools of its own."""

from collections import OrderedDict
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import models

from thirdaxis.convert.carrier import Hidden, hide_volume_like, volume_of
from thirdaxis.errors import UsageError, did_you_mean

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")


class DepthPool(nn.Module):
    """The larger of every two neighbouring slices of a volume; a picture stays as it is.

    ``D`` slices become ``ceil(D / 2)``: a last one without a neighbour stays.

    Attributes:
        slices: that are pooled; 1 keeps them all.
    """

    slices = 2

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)``, whose depth only a converted network has."""
        if not isinstance(x, Hidden) or self.slices == 1:
            return x
        window = (self.slices, 1, 1)
        with x.bare():
            return hide_volume_like(F.max_pool3d(volume_of(x), window, ceil_mode=True), x)


class PooledNorm(nn.BatchNorm2d):
    """A batch norm with a `DepthPool` behind it, under the names of the norm alone."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.pool = DepthPool()

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)``."""
        return self.pool(super().forward(x))


class ResNetMaps(nn.Module):
    """A ResNet (He et al., 2016) without its head; parameters have torchvision's names.

    With `depth_pools` it is, once converted with depth kept at its convolutions, the encoder of
    AH-Net: Liu et al., "3D Anisotropic Hybrid Network", MICCAI 2018, and its code. A stride would
    pass over every second slice; there depth is pooled instead, after the first convolution and
    in each block that halves the plane, in the shortcut between convolution and norm.

    Args:
        resnet: torchvision's name of it.
        depth_pools: whether to put `DepthPool` where depth is to be halved.

    Raises:
        UsageError: an unknown name.
    """

    def __init__(self, resnet: str = "resnet50", *, depth_pools: bool = False) -> None:
        super().__init__()
        if resnet not in RESNETS:
            raise UsageError(f"unknown ResNet {resnet!r}{did_you_mean(resnet, RESNETS)}")
        net: Any = models.get_model(resnet, weights=None)
        self.conv1, self.pool = net.conv1, DepthPool() if depth_pools else nn.Identity()
        self.bn1, self.relu, self.maxpool = net.bn1, net.relu, net.maxpool
        self.layer1, self.layer2 = net.layer1, net.layer2
        self.layer3, self.layer4 = net.layer3, net.layer4
        if depth_pools:
            for layer in (self.layer2, self.layer3, self.layer4):
                _pool_depth_in(layer[0])
        deepest = net.fc.in_features
        self.channels = (64, 64, deepest // 8, deepest // 4, deepest // 2, deepest)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Maps of the stem, of the stem pooled, and of the four layers.

        Args:
            image: ``(N, 3, H, W)``.

        Returns:
            Six of ``(N, C, h, w)`` with strides 2, 4, 4, 8, 16 and 32, rounded up.
        """
        maps = [self.relu(self.bn1(self.pool(self.conv1(image))))]
        for step in (self.maxpool, self.layer1, self.layer2, self.layer3, self.layer4):
            maps.append(step(maps[-1]))
        return maps


def _pool_depth_in(block: Any) -> None:
    last = "bn3" if hasattr(block, "bn3") else "bn2"
    setattr(block, last, PooledNorm(getattr(block, last).num_features))
    convolution, norm = block.downsample
    steps = [("0", convolution), ("pool", DepthPool()), ("1", norm)]
    block.downsample = nn.Sequential(OrderedDict(steps))
