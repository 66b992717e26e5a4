"""From maps of slices to one 2D map: depth is reduced level by level, then levels are joined."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from thirdaxis.axes import HEIGHT


def windows(volume: Tensor, depth: int) -> Tensor:
    """Every window of so many neighbouring slices, as a batch.

    Args:
        volume: ``(N, C, D + n, H, W)``.
        depth: D.

    Returns:
        ``(N * (n + 1), C, D, H, W)``, the windows of the first volume first.
    """
    return volume.unfold(2, depth, 1).permute(0, 2, 1, 5, 3, 4).flatten(0, 1)


def folded(volume: Tensor) -> Tensor:
    """The slices of ``(N, C, D, H, W)`` as pictures ``(N * D, C, H, W)``."""
    return volume.movedim(2, 1).flatten(0, 1)


class Reduction(nn.Conv3d):
    """A D x 1 x 1 convolution from every channel to every one: D slices become one picture.

    It slides: n slices more give n pictures more, each of the window of D slices around it.

    Source: Yang et al., "AlignShift", MICCAI 2020; no bias, and Kaiming's normal start, as in its
    code.

    Args:
        channels: of the map.
        depth: D.
    """

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__(channels, channels, (depth, 1, 1), bias=False)
        nn.init.kaiming_normal_(self.weight)

    def forward(self, volume: Tensor) -> Tensor:
        """Pictures ``(N * (n + 1), C, H, W)`` of ``(N, C, D + n, H, W)``."""
        # A plane of depth and pixels: as conv3d it would be slow on a CPU with a single thread.
        plane = F.conv2d(volume.flatten(HEIGHT), self.weight.squeeze(-1))
        return folded(plane.unflatten(HEIGHT, volume.shape[HEIGHT:]))


class Folding(nn.Module):
    """Stands for a `Reduction` where the backbone has already made one picture of D slices."""

    def forward(self, volume: Tensor) -> Tensor:
        """Pictures ``(N * D, C, H, W)`` of ``(N, C, D, H, W)``."""
        return folded(volume)


class Pyramid(nn.Module):
    """The 2D decoder: 1 x 1 laterals, enlarged to the next finer level (nearest) and added.

    There is no convolution behind a sum, and only the finest sum is given.

    Source: the code of "AlignShift", after Lin et al., "Feature Pyramid Networks for Object
    Detection", CVPR 2017.

    Args:
        channels: of the levels, finest first.
        width: channels of the answer.
    """

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        laterals = [nn.Conv2d(given, width, 1) for given in channels]
        for lateral in laterals:
            nn.init.kaiming_uniform_(lateral.weight, a=1)
            nn.init.constant_(lateral.get_parameter("bias"), 0.0)
        self.laterals = nn.ModuleList(laterals)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """``(N, width, h, w)``, the size of the finest of the levels ``(N, C, h, w)``."""
        found: Tensor | None = None
        for lateral, level in zip(reversed(self.laterals), reversed(levels), strict=True):
            here = lateral(level)
            if found is not None:
                here = here + F.interpolate(found, size=here.shape[-2:], mode="nearest")
            found = here
        assert found is not None
        return found
