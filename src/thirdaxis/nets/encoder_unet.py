"""A U-Net around any 2D classifier: its feature maps going down, a plain decoder going up."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thirdaxis.nets.encoders import Encoder


def conv_norm_relu(channels_in: int, channels_out: int, kernel: int) -> list[nn.Module]:
    """A convolution that keeps the picture's size, batch norm and ReLU."""
    return [
        nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    ]


class EncoderUNet(nn.Module):
    """A U-Net (Ronneberger et al., 2015) with a pretrained classifier as its way down.

    Up the decoder each map is resized to the next finer one, joined with it and passed through
    two 3 × 3 convolutions. Classifiers halve the image in their first layer; so that small scans
    keep their detail, two convolutions of the image itself join at full resolution.

    Args:
        encoder: a `ChainEncoder`, a `TimmEncoder` or another module like them.
        classes: channels of the answer.
        widths: channels of the decoder from the coarsest join on; none is wider than the map it
            joins (or 16), the last serves for all further ones.
        image_skip: channels of the full-resolution path; 0 leaves it out.
    """

    def __init__(
        self,
        encoder: Encoder,
        classes: int,
        *,
        widths: Sequence[int] = (256, 128, 64, 32, 16),
        image_skip: int = 16,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        *skips, deepest = encoder.channels
        skips.reverse()
        self.image_skip: nn.Sequential | None = None
        if image_skip and encoder.strides[0] > 1:
            self.image_skip = nn.Sequential(
                *conv_norm_relu(encoder.in_channels, image_skip, 3),
                *conv_norm_relu(image_skip, image_skip, 3),
            )
            skips.append(image_skip)
        width = min(widths[0], deepest)
        self.bridge = nn.Sequential(*conv_norm_relu(deepest, width, 1))
        self.joins = nn.ModuleList()
        for i, skip in enumerate(skips):
            narrower = min(widths[min(i, len(widths) - 1)], max(skip, 16))
            self.joins.append(
                nn.Sequential(
                    *conv_norm_relu(width + skip, narrower, 3),
                    *conv_norm_relu(narrower, narrower, 3),
                )
            )
            width = narrower
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Class scores (logits) at the resolution of the image.

        Args:
            image: ``(N, in_channels, H, W)``.

        Returns:
            ``(N, classes, H, W)``.
        """
        *skips, deepest = self.encoder(image)
        skips.reverse()
        if self.image_skip is not None:
            skips.append(self.image_skip(image))
        x = self.bridge(deepest)
        for join, skip in zip(self.joins, skips, strict=True):
            x = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=False)
            x = join(torch.cat([x, skip], dim=1))
        # The head is 1 × 1: before or after the resize is the same, before is cheaper.
        return F.interpolate(
            self.head(x), size=image.shape[-2:], mode="bilinear", align_corners=False
        )
