"""ResNet3D, as SVD-Net pretrains it on photographs and transfers it: torchvision's, converted."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import models

import thirdaxis
from thirdaxis.errors import UsageError, did_you_mean
from thirdaxis.nets.starts import start_anew

DEPTHS = (18, 34, 50)
STEMS = ("7", "v1c")
SHORTCUTS = ("A", "B")
NORMS = {"batch": nn.BatchNorm2d, "group": partial(nn.GroupNorm, 32)}
STRIDED_PARTS = ("conv1", "maxpool", "layer2", "layer3", "layer4")


def resnet3d(
    depth: int = 18,
    *,
    in_channels: int = 1,
    classes: int = 1000,
    depth_strides: bool | Sequence[bool] = False,
    start: str = "kaiming",
    **kind: Any,
) -> nn.Module:
    """A ResNet on volumes, with K × K × K kernels from a random start.

    Its parameters have torchvision's names. With one channel and 1000 classes there are 33,673,000
    of them (18), 63,982,632 (34) and 48,204,072 (50), as in Table II of Zhang et al., "Advancing 3D
    Medical Image Analysis with Variable Dimension Transform based Supervised 3D Pre-training"
    (SVD-Net), 2022. The weights do not depend on the strides along depth: photographs of three
    slices are learnt with none of them, medical volumes with those that suit the task.

    Args:
        depth: 18, 34 or 50 layers.
        in_channels: of the volumes.
        classes: outputs of the last layer.
        depth_strides: whether depth is halved where height and width are: everywhere or nowhere, or
            in the stem, its pooling and the last three of the four stages, one by one.
        start: see `thirdaxis.nets.starts.start_anew`.
        **kind: see `resnet`.

    Returns:
        Takes ``(N, in_channels, D, H, W)``, gives ``(N, classes)``.

    Raises:
        UsageError: an unknown setting.
    """
    net = resnet(depth, in_channels=in_channels, classes=classes, **kind)
    net3d = thirdaxis.convert(net, "i3d", depth_stride=False, overrides=_strided(depth_strides))
    start_anew(net3d, start)
    return net3d


def resnet(
    depth: int = 18,
    *,
    in_channels: int = 1,
    classes: int = 1000,
    stem: str = "7",
    norm: str = "batch",
    shortcut: str = "B",
    dilated: bool = False,
) -> models.ResNet:
    """The 2D network whose conversion by ``"i3d"`` is `resnet3d`.

    Args:
        depth: 18, 34 or 50 layers.
        in_channels: of the pictures.
        classes: outputs of the last layer.
        stem: ``"7"``, or ``"v1c"`` for three 3 × 3 convolutions (He et al., "Bag of Tricks for
            Image Classification", 2019), all of whose taps three slices can teach.
        norm: ``"batch"``, or ``"group"`` for group norms of 32 groups.
        shortcut: ``"B"``, strided 1 × 1 convolutions, or ``"A"``, strides and channels of zeros
            without parameters (He et al., 2016), as in Kinetics and Med3D weights of 18 and 34.
        dilated: whether the last two stages dilate by 2 and 4 instead of striding (Chen et al.,
            "Med3D", 2019).

    Raises:
        UsageError: an unknown setting.
    """
    told = {"depth": (depth, DEPTHS), "stem": (stem, STEMS), "norm": (norm, tuple(NORMS))}
    for name, (value, known) in (told | {"shortcut": (shortcut, SHORTCUTS)}).items():
        if value not in known:
            guess = did_you_mean(str(value), map(str, known))
            raise UsageError(f"resnet3d: unknown {name} {value!r}{guess}")
    norm_layer = NORMS[norm]
    net: Any = models.get_model(f"resnet{depth}", num_classes=classes, norm_layer=norm_layer)
    if stem == "v1c":
        net.conv1 = _deep_stem(in_channels, norm_layer)
    elif in_channels != 3:
        net.conv1 = nn.Conv2d(in_channels, 64, 7, 2, 3, bias=False)
    net.maxpool = ThickPool()
    if dilated:
        _dilate(net)
    if shortcut == "A":
        for block in [*net.layer1, *net.layer2, *net.layer3, *net.layer4]:
            if block.downsample is not None:
                conv = block.downsample[0]
                block.downsample = PaddedShortcut(conv.out_channels, conv.stride[0])
    return net


class ThickPool(nn.Module):
    """A max pool of 3 × 3 with stride 2 that also takes in 3 slices where it keeps every slice.

    Conversion lets pools of stride 1 alone look along depth without striding there; hence it is
    such a pool, and then a stride.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """Maps ``(N, C, H, W)`` of half the height and width."""
        return F.max_pool2d(F.max_pool2d(maps, 3, 1, 1), 1, 2)


class PaddedShortcut(nn.Module):
    """A shortcut without parameters: strides, and channels of zeros behind those there are.

    Args:
        channels: that it gives.
        stride: of height and width.
    """

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.channels, self.stride = channels, stride

    def forward(self, maps: Tensor) -> Tensor:
        """Maps ``(N, channels, H / stride, W / stride)``."""
        kept = F.max_pool2d(maps, 1, self.stride)
        return F.pad(kept, (0, 0, 0, 0, 0, self.channels - kept.shape[1]))


def _strided(told: bool | Sequence[bool]) -> dict[str, dict[str, bool]]:
    flags = (told,) * len(STRIDED_PARTS) if isinstance(told, bool) else tuple(told)
    if len(flags) != len(STRIDED_PARTS):
        raise UsageError(
            f"resnet3d: depth_strides takes True, False, or one of them for each of "
            f"{', '.join(STRIDED_PARTS)}; got {told!r}"
        )
    return {
        part: {"depth_stride": bool(flag)} for part, flag in zip(STRIDED_PARTS, flags, strict=True)
    }


def _deep_stem(in_channels: int, norm: Any) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, 32, 3, 2, 1, bias=False),
        norm(32),
        nn.ReLU(inplace=True),
        nn.Conv2d(32, 32, 3, 1, 1, bias=False),
        norm(32),
        nn.ReLU(inplace=True),
        nn.Conv2d(32, 64, 3, 1, 1, bias=False),
    )


def _dilate(net: Any) -> None:
    for stage, rate in ((net.layer3, 2), (net.layer4, 4)):
        for layer in stage.modules():
            if isinstance(layer, nn.Conv2d):
                layer.stride = (1, 1)
                if layer.kernel_size == (3, 3):
                    layer.dilation = layer.padding = (rate, rate)
