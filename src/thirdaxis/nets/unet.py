"""The small 2D U-Net of the ACS proof of concept."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _two_convs(channels_in: int, channels_mid: int, channels_out: int) -> list[nn.Module]:
    return [
        nn.Conv2d(channels_in, channels_mid, 3, padding=1),
        nn.BatchNorm2d(channels_mid),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels_mid, channels_out, 3, padding=1),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    ]


class UNet(nn.Module):
    """The proof-of-concept U-Net of Yang et al., "Reinventing 2D Convolutions for 3D Images", 2021.

    Two poolings; the one skip is the first encoder's output *after* its pooling, so that the
    decoder works at half resolution and the last resize restores the input's. With one input
    channel and six classes it has 389,286 parameters.

    Args:
        in_channels: channels of the image.
        classes: channels of the answer.
    """

    def __init__(self, in_channels: int = 1, classes: int = 6) -> None:
        super().__init__()
        self.enc1 = nn.Sequential(*_two_convs(in_channels, 64, 64), nn.MaxPool2d(2))
        self.enc2 = nn.Sequential(*_two_convs(64, 128, 128), nn.MaxPool2d(2))
        self.dec1 = nn.Sequential(*_two_convs(64 + 128, 64, 32))
        self.head = nn.Conv2d(32, classes, 1)

    def features(self, image: Tensor) -> Tensor:
        """The decoder's 32 channels at half resolution, before the last resize and the head.

        Args:
            image: ``(N, in_channels, H, W)``, both sides at least 4.

        Returns:
            ``(N, 32, H // 2, W // 2)``.
        """
        skip = self.enc1(image)
        deep = self.enc2(skip)
        deep = F.interpolate(deep, size=skip.shape[-2:], mode="bilinear", align_corners=False)
        return self.dec1(torch.cat([skip, deep], dim=1))

    def forward(self, image: Tensor) -> Tensor:
        """Class scores (logits) at the resolution of the image.

        Args:
            image: ``(N, in_channels, H, W)``, both sides at least 4.

        Returns:
            ``(N, classes, H, W)``.
        """
        features = F.interpolate(
            self.features(image), size=image.shape[-2:], mode="bilinear", align_corners=False
        )
        return self.head(features)
