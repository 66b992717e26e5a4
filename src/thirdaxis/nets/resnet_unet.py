"""The U-Net around a ResNet that segments livers."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import models

from thirdaxis.nets.encoder_unet import conv_norm_relu


class ResNetUNet(nn.Module):
    """A ResNet whose stem keeps the image's size, four joins back up, and a narrow head.

    Maps have strides 1 (stem), 2, 4, 8 and 16. Each is enlarged (linearly), brought to the width
    of the next finer one by a 1 × 1 convolution, joined with it, and passed through two 3 × 3
    convolutions; all with batch norm and ReLU. Parameters of the encoder have torchvision's names.

    Source: the liver experiment of Zhang et al., "Advancing 3D Medical Image Analysis with Variable
    Dimension Transform based Supervised 3D Pre-training" (SVD-Net), 2022, and of its code.

    Args:
        classes: channels of the answer.
        resnet: torchvision's name of the encoder.
        head: channels of the two 3 × 3 convolutions before the last one.
        dropout: share of the head's channels that training drops.
    """

    def __init__(
        self, classes: int, resnet: str = "resnet18", *, head: int = 16, dropout: float = 0.1
    ) -> None:
        super().__init__()
        encoder: Any = models.get_model(resnet, weights=None)
        encoder.conv1.stride = (1, 1)
        deepest = encoder.fc.in_features
        del encoder.fc, encoder.avgpool
        self.encoder = encoder
        skips = [deepest // 2, deepest // 4, deepest // 8, 64]
        self.narrow = nn.ModuleList()
        self.joins = nn.ModuleList()
        for width, skip in zip([deepest, *skips], skips, strict=False):
            self.narrow.append(nn.Sequential(*conv_norm_relu(width, skip, 1)))
            self.joins.append(
                nn.Sequential(*conv_norm_relu(2 * skip, skip, 3), *conv_norm_relu(skip, skip, 3))
            )
        self.head = nn.Sequential(
            *conv_norm_relu(skips[-1], head, 3),
            *conv_norm_relu(head, head, 3),
            nn.Dropout2d(dropout),
            nn.Conv2d(head, classes, 1),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Class scores (logits) at the resolution of the image.

        Args:
            image: ``(N, 3, H, W)``.

        Returns:
            ``(N, classes, H, W)``.
        """
        encoder = self.encoder
        maps = [encoder.relu(encoder.bn1(encoder.conv1(image)))]
        x = encoder.maxpool(maps[0])
        for layer in (encoder.layer1, encoder.layer2, encoder.layer3, encoder.layer4):
            x = layer(x)
            maps.append(x)
        x = maps.pop()
        for narrow, join in zip(self.narrow, self.joins, strict=True):
            skip = maps.pop()
            x = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=False)
            x = join(torch.cat([skip, narrow(x)], dim=1))
        return self.head(x)
