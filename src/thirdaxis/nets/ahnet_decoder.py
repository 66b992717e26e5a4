"""AH-Net's way up: anisotropic dense blocks, then volumetric pooling in a pyramid."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thirdaxis.convert.rules_resize import resize_depth
from thirdaxis.fusion.depth import convolve_thin

GROWTH = 20
LAYERS = 3
POOLS = (8, 16, 32, 64)
POOLED = 1  # this map is as large as the one behind it


class Convolution(nn.Conv3d):
    """A flat 3D convolution by the operators' code: fast for small volumes, right in bfloat16."""

    def forward(self, input: Tensor) -> Tensor:
        """``(N, channels_in, D, H, W)`` to ``(N, channels_out, D, H, W)``."""
        assert not isinstance(self.padding, str)
        return convolve_thin(
            input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
        )


def norm_relu_conv(
    channels_in: int, channels_out: int, kernel: tuple[int, int, int] = (1, 1, 1)
) -> nn.Sequential:
    """Batch norm, ReLU and a convolution without bias that keeps the volume's size."""
    depth, height, width = kernel
    return nn.Sequential(
        nn.BatchNorm3d(channels_in),
        nn.ReLU(inplace=True),
        Convolution(
            channels_in,
            channels_out,
            kernel,
            padding=(depth // 2, height // 2, width // 2),
            bias=False,
        ),
    )


def enlarged(x: Tensor, size: Sequence[int]) -> Tensor:
    """A volume at another size, linearly, ends on ends."""
    depth, *plane = size
    if isinstance(depth, torch.SymInt):  # in an export, which may not ask if there is one slice
        planes = F.interpolate(x.flatten(1, 2), plane, mode="bilinear", align_corners=True)
        return resize_depth(planes.unflatten(1, x.shape[1:3]), depth, "trilinear", True)
    return F.interpolate(x, tuple(size), mode="trilinear", align_corners=True)


class AnisotropicLayer(nn.Module):
    """A convolution in the plane, one along depth beside it, both joined to the input.

    Args:
        channels: of the input.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.enter = norm_relu_conv(channels, 4 * GROWTH)
        self.plane = norm_relu_conv(4 * GROWTH, GROWTH, (1, 3, 3))
        self.depth = norm_relu_conv(GROWTH, GROWTH, (3, 1, 1))
        self.leave = norm_relu_conv(GROWTH, GROWTH)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, channels, D, H, W)`` to ``(N, channels + GROWTH, D, H, W)``."""
        plane = self.plane(self.enter(x))
        return torch.cat([x, self.leave(plane + self.depth(plane))], dim=1)


class PyramidPooling(nn.Module):
    """The largest values in windows of several sides, one channel each, in front of the input.

    Args:
        channels: of the input.
        sides: of the windows, side × side in the plane; one at the end holds what is left.
    """

    def __init__(self, channels: int, sides: Sequence[int] = POOLS) -> None:
        super().__init__()
        self.sides = tuple(sides)
        # The code pads the plane of its 1 x 1 x 1 kernels: a border of the bias alone.
        self.project = nn.ModuleList(nn.Conv3d(channels, 1, 1, padding=(0, 1, 1)) for _ in sides)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, channels, D, H, W)`` to ``(N, len(sides) + channels, D, H, W)``."""
        levels = [
            enlarged(project(F.max_pool3d(x, (1, side, side), ceil_mode=True)), x.shape[2:])
            for side, project in zip(self.sides, self.project, strict=True)
        ]
        return torch.cat([*levels, x], dim=1)


class AnisotropicDecoder(nn.Module):
    """From the maps of an encoder up to class scores.

    Five times the way goes: fewer channels, the size of the next finer map, that map added, and a
    dense block of three `AnisotropicLayer`. Then `PyramidPooling`, and the scores.

    Source: Liu et al., "3D Anisotropic Hybrid Network", MICCAI 2018, and its code, whose start is
    this one too: normal with ``sqrt(2 / (K_h K_w C_out))``. All steps up are trilinear with ends on
    ends, as in the torch of that time.

    Args:
        channels: of the six maps, from the finest to the coarsest.
        classes: channels of the answer.
        output_kernel: side of the last kernel, K × K in the plane: the code's 3, or the text's 1.
        pools: sides of the windows of the pyramid.
    """

    def __init__(
        self,
        channels: Sequence[int],
        classes: int,
        *,
        output_kernel: int = 3,
        pools: Sequence[int] = POOLS,
    ) -> None:
        super().__init__()
        *finer, deepest = channels
        self.narrow, self.dense = nn.ModuleList(), nn.ModuleList()
        width = deepest
        for skip in reversed(finer):
            self.narrow.append(norm_relu_conv(width, skip))
            self.dense.append(
                nn.Sequential(*(AnisotropicLayer(skip + i * GROWTH) for i in range(LAYERS)))
            )
            width = skip + LAYERS * GROWTH
        self.pyramid = PyramidPooling(width, pools)
        plane = (1, output_kernel, output_kernel)
        self.output = norm_relu_conv(width + len(pools), classes, plane)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                fan = math.prod(module.kernel_size[1:]) * module.out_channels
                nn.init.normal_(module.weight, std=math.sqrt(2 / fan))

    def forward(self, maps: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        """Class scores (logits).

        Args:
            maps: six of ``(N, C, d, h, w)``, from the finest to the coarsest.
            size: D, H and W of the answer.

        Returns:
            ``(N, classes, D, H, W)``.
        """
        *finer, x = maps
        levels = zip(self.narrow, self.dense, reversed(range(len(finer))), strict=True)
        for narrow, dense, level in levels:
            x = narrow(x) if level == POOLED else enlarged(narrow(x), finer[level].shape[2:])
            x = dense(x + finer[level])
        return enlarged(self.output(self.pyramid(x)), size)
