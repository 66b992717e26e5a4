"""Soft-ACS: the whole 2D kernel in all three planes, weighted for each output channel."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from thirdaxis.axes import Geometry
from thirdaxis.fusion.base import Layer, Operator
from thirdaxis.fusion.mean_acs import AXES, MeanACS, summed
from thirdaxis.fusion.planes import convolve_plane, transpose_plane


@dataclass(frozen=True)
class SoftACS(MeanACS):
    """``y_o = a_o (W_a * x)_o + c_o (W_c * x)_o + s_o (W_s * x)_o + b_o`` for output channel o.

    ``(a_o, c_o, s_o) = softmax(logits_o)``; ``logits`` (C_out, 3) is a parameter of the layer that
    starts at zero, so that it starts as Mean-ACS. A kernel that no layer owns stays Mean-ACS.

    Source: Yang et al., "Reinventing 2D Convolutions for 3D Images", IEEE JBHI 2021, equation 5.
    The equation has one weight for each plane; table III counts one for each plane and output
    channel, as does the code, which puts them through a softmax and starts them at random.
    """

    name: ClassVar[str] = "soft_acs"
    owns_parameters: ClassVar[bool] = True
    runs: ClassVar[str] = "1×K×K, K×1×K and K×K×1, weighted for each output channel"
    extra: ClassVar[str] = "3·Co"
    fixed_point: ClassVar[str] = (
        "at its start equals `mean_acs`; with one plane's weight 1, its kernel"
    )

    def operator(self, layer: Layer) -> Operator:
        """The weights of the planes."""
        return PlaneWeights(self, layer)


class PlaneWeights(Operator):
    """The weights of the planes of one convolution.

    Attributes:
        logits: (C_out, 3), in the order axial, coronal, sagittal.
    """

    def __init__(self, settings: SoftACS, layer: Layer) -> None:
        super().__init__(settings)
        self.logits = nn.Parameter(layer.like.new_zeros(layer.out_channels, 3))

    def leaning(self, planes: Tensor, groups: int) -> Tensor:
        """The plane of the largest weight of each output channel, 0 axial, 1 coronal, 2 sagittal.

        From three groups on, the channels of a group decide together.

        Args:
            planes: (C_out,), the planes of channels that lean nowhere.
            groups: groups of the convolution.

        Returns:
            (C_out,).
        """
        shares = torch.softmax(self.logits.detach(), 1)
        shares = shares + 1e-6 * nn.functional.one_hot(planes.long(), 3)
        if groups >= 3:
            together = shares.unflatten(0, (groups, -1)).mean(1, keepdim=True)
            shares = together.expand(-1, len(planes) // groups, -1).flatten(0, 1)
        return shares.argmax(1)

    def cost(self, weight: Tensor) -> int:
        """Three convolutions."""
        return 3 * weight.numel()

    def convolve(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry
    ) -> Tensor:
        """Convolves (N, C, D, H, W) in the three planes; weighting the kernels is the cheap way."""
        shares = torch.softmax(self.logits, 1).to(weight.dtype).view(-1, 3, 1, 1, 1)
        views = [convolve_plane(x, weight * shares[:, i], geometry, a) for i, a in enumerate(AXES)]
        return summed(views, bias)

    def convolve_transposed(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry
    ) -> Tensor:
        """Transposed twin; the kernel is (C_in, C_out / groups, K, K)."""
        shares = torch.softmax(self.logits, 1).to(weight.dtype)
        by_group = shares.view(geometry.groups, 1, -1, 3, 1, 1)
        grouped = weight.unflatten(0, (geometry.groups, -1))
        kernels = [(grouped * by_group[:, :, :, i]).flatten(0, 1) for i in range(3)]
        views = [transpose_plane(x, k, geometry, a) for k, a in zip(kernels, AXES, strict=True)]
        return summed(views, bias)
