"""From maps of several slices to one map: the group transform, and the centre slice."""

from torch import Tensor, nn

from thirdaxis.axes import DEPTH
from thirdaxis.errors import InputError


class GroupTransform(nn.Module):
    """Fuses the slices of every channel by weights of its own: a 1 × 1 convolution in C groups.

    A map (C, D, H, W) is viewed as one of C · D channels, a channel's slices side by side, so that
    each group takes exactly the slices of one channel. Its weights cannot follow when a network
    moves to another number of slices.

    Source: the group transform module of Zhang et al., "Advancing 3D Medical Image Analysis with
    Variable Dimension Transform based Supervised 3D Pre-training" (SVD-Net), 2022, whose code
    leaves out the bias. It starts as the mean of the slices, which no source says.

    Args:
        channels: of the maps.
        slices: of the maps.
    """

    def __init__(self, channels: int, slices: int) -> None:
        super().__init__()
        self.slices = slices
        self.fuse = nn.Conv2d(channels * slices, channels, 1, groups=channels, bias=False)
        nn.init.constant_(self.fuse.weight, 1 / slices)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps ``(N, C, D, H, W)`` to ``(N, C, H, W)``.

        Raises:
            InputError: another number of slices.
        """
        if maps.shape[DEPTH] != self.slices:
            raise InputError(
                f"a group transform of {self.slices} slices got maps of {maps.shape[DEPTH]}; give "
                "volumes of the depth that the network was made for"
            )
        return self.fuse(maps.flatten(1, DEPTH))


class CentreSlice(nn.Module):
    """Takes the slice in the middle, as the published P3D detector of SVD-Net does."""

    def forward(self, maps: Tensor) -> Tensor:
        """Maps ``(N, C, D, H, W)`` to ``(N, C, H, W)``."""
        return maps.select(DEPTH, maps.shape[DEPTH] // 2)
