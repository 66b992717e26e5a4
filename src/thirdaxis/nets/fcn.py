"""The decoder of the experiments on lung nodules: two joins of maps, then a small head."""

from collections.abc import Sequence
from typing import Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CLASSIFIER_PARTS = ("fc", "classifier", "features.norm5")


class ThreeMaps(Protocol):
    """What the decoder asks of an encoder, a module with these (`thirdaxis.nets.lidc` has some)."""

    channels: tuple[int, ...]

    def maps(self, image: Tensor) -> list[Tensor]:
        """Three maps ``(N, C, h, w)`` from the finest, of the image's own size, to the coarsest."""
        ...


class FCN(nn.Module):
    """A classifier with an FCN-like decoder, for nodules.

    The coarsest map is enlarged to the middle one (nearest neighbour), joined with it and mixed by
    a 1 × 1 convolution; so again with the finest; a 3 × 3 convolution and a 1 × 1 convolution
    score the voxels.

    Source: Yang et al., "Reinventing 2D Convolutions for 3D Images", IEEE JBHI 2021, whose code
    leaves the 1 × 1 mixes plain; Zhang et al., "Advancing 3D Medical Image Analysis with
    Variable Dimension Transform based Supervised 3D Pre-training" (SVD-Net), 2022, follow each by a
    batch norm and ReLU. With ResNet-18 and two classes the first has 12,389,442 parameters, and
    35,596,482 with every kernel inflated.

    Args:
        encoder: gives three maps; the parts of it that classify are taken out of it.
        classes: channels of the answer.
        width: channels behind each mix.
        norm: whether each mix is followed by a batch norm and ReLU.
    """

    def __init__(
        self, encoder: nn.Module, classes: int, *, width: Sequence[int] = (512, 512), norm: bool
    ) -> None:
        super().__init__()
        for part in CLASSIFIER_PARTS:
            owner, _, name = part.rpartition(".")
            holder = getattr(encoder, owner, None) if owner else encoder
            if isinstance(holder, nn.Module) and hasattr(holder, name):
                delattr(holder, name)
        self.encoder = encoder
        fine, middle, coarse = cast(ThreeMaps, encoder).channels
        self.mixes = nn.ModuleList()
        for joined, out in zip((coarse + middle, width[0] + fine), width, strict=True):
            mix: list[nn.Module] = [nn.Conv2d(joined, out, 1, bias=False)]
            if norm:
                mix += [nn.BatchNorm2d(out), nn.ReLU()]
            self.mixes.append(nn.Sequential(*mix))
        inner = width[1] // 4
        self.head = nn.Sequential(
            nn.Conv2d(width[1], inner, 3, padding=1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
            nn.Conv2d(inner, classes, 1),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Class scores (logits) at the resolution of the image.

        Args:
            image: ``(N, 3, H, W)``.

        Returns:
            ``(N, classes, H, W)``.
        """
        *finer, x = cast(ThreeMaps, self.encoder).maps(image)
        for mix, skip in zip(self.mixes, reversed(finer), strict=True):
            larger = F.interpolate(x, size=skip.shape[-2:], mode="nearest")
            x = mix(torch.cat([skip, larger], dim=1))
        return self.head(x)
