"""The 2D classifiers of the experiments on lung nodules: torchvision's, kept at fine resolution.

Crops of 48 voxels leave nothing to a network that divides them by 32. Yang et al., "Reinventing 2D
Convolutions for 3D Images", IEEE JBHI 2021, therefore take strides out of three networks of
torchvision and pool globally before one linear layer. The parameters keep torchvision's names, so
that its ImageNet weights fit, all but the last layer. Besides scores, every network gives the three
maps that a decoder for segmentation joins.
"""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models.resnet import BasicBlock
from torchvision.models.vgg import cfgs, make_layers


class LidcResNet18(models.ResNet):
    """ResNet-18 with a stride-1 stem, no first pooling, and layer strides 1, 2, 1, 2.

    The paper names the stem and the pooling; the third layer's stride of 1 is in its code, and in
    "SVD-Net" (Zhang et al., 2022).

    Args:
        classes: channels of the answer.
    """

    in_channels = 3
    channels = (64, 128, 512)
    strides = (1, 2, 4)

    def __init__(self, classes: int = 2) -> None:
        super().__init__(BasicBlock, [2, 2, 2, 2], num_classes=classes)
        self.conv1.stride = (1, 1)
        self.maxpool = nn.Identity()  # type: ignore[assignment]
        first: Any = self.layer3[0]
        first.conv1.stride = first.downsample[0].stride = (1, 1)
        first.stride = 1

    def maps(self, image: Tensor) -> list[Tensor]:
        """Stem (after norm and ReLU), layer 2 and layer 4.

        Args:
            image: ``(N, 3, H, W)``.

        Returns:
            ``(N, 64, H, W)``, ``(N, 128, H / 2, W / 2)``, ``(N, 512, H / 4, W / 4)``.
        """
        stem = self.relu(self.bn1(self.conv1(image)))
        middle = self.layer2(self.layer1(stem))
        return [stem, middle, self.layer4(self.layer3(middle))]


class LidcVGG16(nn.Module):
    """VGG-16 with batch norms and two poolings instead of five, after 128 and 512 channels.

    Its widths are 64, 64, 128, 128, pool, 256, 256, 256, 512, 512, 512, pool, 512, 512, 512.

    Args:
        classes: channels of the answer.
    """

    in_channels = 3
    channels = (64, 256, 512)
    strides = (1, 2, 4)

    def __init__(self, classes: int = 2) -> None:
        super().__init__()
        self.features = make_layers(cfgs["D"], batch_norm=True)
        for layer in self.features:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(cast(Tensor, layer.bias))
        pools = [i for i, layer in enumerate(self.features) if isinstance(layer, nn.MaxPool2d)]
        for number in (0, 2, 4):
            self.features[pools[number]] = nn.Identity()
        self.taps = (pools[0], pools[2])
        self.classifier = nn.Linear(512, classes)

    def maps(self, image: Tensor) -> list[Tensor]:
        """The last map of 64 channels, that of 256, and the last of all.

        Args:
            image: ``(N, 3, H, W)``.

        Returns:
            ``(N, 64, H, W)``, ``(N, 256, H / 2, W / 2)``, ``(N, 512, H / 4, W / 4)``.
        """
        found = []
        for number, layer in enumerate(self.features):
            image = layer(image)
            if number in self.taps:
                found.append(image)
        return [*found, image]

    def forward(self, image: Tensor) -> Tensor:
        """Class scores ``(N, classes)`` of an image ``(N, 3, H, W)``."""
        return self.classifier(_pooled(self.maps(image)[-1]))


class LidcDenseNet121(models.DenseNet):
    """DenseNet-121 with a stride-1 stem and no first pooling; all transitions halve.

    The last norm and ReLU of torchvision's network, which the paper's code leaves out, are kept
    before the classifier, as ImageNet weights expect them; the maps are taken before them.

    Args:
        classes: channels of the answer.
    """

    in_channels = 3
    channels = (64, 256, 1024)
    strides = (1, 4, 8)

    def __init__(self, classes: int = 2) -> None:
        super().__init__(32, (6, 12, 24, 16), 64, num_classes=classes)
        stem: Any = self.features.conv0
        stem.stride = (1, 1)
        self.features.pool0 = nn.Identity()

    def maps(self, image: Tensor) -> list[Tensor]:
        """Stem (after norm and ReLU), the second transition, the fourth block.

        Args:
            image: ``(N, 3, H, W)``, both sides at least 8.

        Returns:
            ``(N, 64, H, W)``, ``(N, 256, H / 4, W / 4)``, ``(N, 1024, H / 8, W / 8)``.
        """
        found = []
        for name, layer in self.features.named_children():
            if name == "norm5":
                break
            image = layer(image)
            if name in ("relu0", "transition2"):
                found.append(image)
        return [*found, image]


LIDC: dict[str, tuple[Callable[[int], nn.Module], str]] = {
    "resnet18": (LidcResNet18, "resnet18"),
    "vgg16_bn": (LidcVGG16, "vgg16_bn"),
    "densenet121": (LidcDenseNet121, "densenet121"),
}
"""Name after ``lidc:`` to the network, by classes, and to torchvision's name of its weights."""


def _pooled(maps: Tensor) -> Tensor:
    return torch.flatten(nn.functional.adaptive_avg_pool2d(maps, 1), 1)
