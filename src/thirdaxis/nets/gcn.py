"""The multi-channel global convolutional network (MC-GCN), with which AH-Net learns in 2D."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from thirdaxis.errors import UsageError
from thirdaxis.nets.encoder_unet import conv_norm_relu
from thirdaxis.nets.resnet_maps import ResNetMaps

MEASURED = (7, 7, 7, 7, 7)
PRINTED = (63, 31, 15, 9, 7, 5)


class GlobalConvolution(nn.Module):
    """A large K × K kernel as K × 1 then 1 × K, plus 1 × K then K × 1.

    Args:
        channels: of the map.
        classes: channels of the answer.
        kernel: K, odd.
    """

    def __init__(self, channels: int, classes: int, kernel: int) -> None:
        super().__init__()
        tall, wide = (kernel, 1), (1, kernel)
        self.tall_wide = nn.Sequential(
            _same(channels, classes, tall), _same(classes, classes, wide)
        )
        self.wide_tall = nn.Sequential(
            _same(channels, classes, wide), _same(classes, classes, tall)
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(N, channels, H, W)`` to ``(N, classes, H, W)``."""
        return self.tall_wide(x) + self.wide_tall(x)


class Refine(nn.Module):
    """Two 3 × 3 convolutions around which the input goes; one batch norm serves before both."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, channels, H, W)`` to the same."""
        inner = self.first(F.relu(self.norm(x)))
        return x + self.second(F.relu(self.norm(inner)))


class GCN(nn.Module):
    """A ResNet whose maps are scored by global convolutions, refined and added on the way up.

    Source: Liu et al., "3D Anisotropic Hybrid Network", MICCAI 2018, and its code. With the
    measured kernels, ResNet-50 and one class it has the paper's 23,576,758 parameters and 94
    convolutions, one of which, 256 to 64 channels, nothing runs: it is kept for the count and never
    trained. The text names six kernels instead, one for each map, and 1 × 1 convolutions before
    the steps up, which the code has not, and neither has this. The weights of all but the head come
    from ImageNet under torchvision's names, in `encoder`.

    The paper feeds it three neighbouring slices as RGB: converted with ``"slicewise"``,
    ``in_channels=1``, ``stem="depth"`` and ``depth_stride=False`` it sees these around every slice.

    Args:
        classes: channels of the answer.
        in_channels: of the image; others than 3 are brought to 3 by a 1 × 1 convolution, batch norm
            and ReLU.
        resnet: torchvision's name of the encoder.
        kernels: odd sizes of the global convolutions from the finest map to the coarsest: five
            leave out the map of the first layer, six take it. `MEASURED` are the code's, `PRINTED`
            the text's.

    Raises:
        UsageError: other numbers of kernels, or an even one.
    """

    def __init__(
        self,
        classes: int = 1,
        *,
        in_channels: int = 3,
        resnet: str = "resnet50",
        kernels: Sequence[int] = MEASURED,
    ) -> None:
        super().__init__()
        if len(kernels) not in (5, 6) or any(size < 1 or size % 2 == 0 for size in kernels):
            raise UsageError(f"gcn: kernels are 5 or 6 odd sizes, got {list(kernels)}")
        self.project = nn.Sequential(
            *(conv_norm_relu(in_channels, 3, 1) if in_channels != 3 else [])
        )
        self.encoder = ResNetMaps(resnet)
        channels = self.encoder.channels
        self.unused = nn.Conv2d(channels[2], channels[1], 1).requires_grad_(False)
        self.maps = tuple(i for i in range(6) if i != 2 or len(kernels) == 6)
        self.score = nn.ModuleList(
            GlobalConvolution(channels[i], classes, size)
            for i, size in zip(self.maps, kernels, strict=True)
        )
        self.refine = nn.ModuleList(Refine(classes) for _ in kernels)
        self.merge = nn.ModuleList(Refine(classes) for _ in kernels)
        # Its inner maps have as many channels as there are classes, three perhaps.
        self.reads_picture = ("project.0" if in_channels != 3 else "encoder.conv1",)

    def forward(self, image: Tensor) -> Tensor:
        """Class scores (logits) at the resolution of the image.

        Args:
            image: ``(N, in_channels, H, W)``.

        Returns:
            ``(N, classes, H, W)``.
        """
        maps = self.encoder(self.project(image))
        scored = [
            refine(score(maps[i]))
            for i, score, refine in zip(self.maps, self.score, self.refine, strict=True)
        ]
        x = scored.pop()
        for merge, finer in zip(self.merge[1:], reversed(scored), strict=True):
            x = merge(_enlarged(x, finer) + finer)
        return self.merge[0](_enlarged(x, image))


def _same(channels_in: int, channels_out: int, kernel: tuple[int, int]) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, kernel, padding=(kernel[0] // 2, kernel[1] // 2))


def _enlarged(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=True)
