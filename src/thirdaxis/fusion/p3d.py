"""P3D: a 1 x K x K convolution, then a K x 1 x 1 one that starts as the identity."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from thirdaxis.axes import DEPTH, Geometry
from thirdaxis.fusion.base import Layer, Operator, OwningFusion
from thirdaxis.fusion.depth import convolve_along, convolve_slices, transpose_slices

POINTWISE_TAPS = 3


@dataclass(frozen=True)
class P3D(OwningFusion):
    """``y = along * (w2d * x + b)``, the 2D kernel in every slice, then K taps along depth.

    ``along`` (C_out, C_out / groups, K) is a parameter of the layer, the identity in its middle tap
    and zero elsewhere at its start, without bias; nothing lies between the two convolutions. The
    depth stride is that of the second. In grouped convolutions ``along`` is grouped alike.

    Source: Qiu, Yao and Mei, "Learning Spatio-Temporal Representation with Pseudo-3D Residual
    Networks", ICCV 2017, as an operator in Yang et al., "Asymmetric 3D Context Fusion for Universal
    Lesion Detection", MICCAI 2021, whose costs tell that 1 x 1 convolutions get three taps too
    (overrides ``"@dense_layers"``).

    Attributes:
        pointwise: whether 1 x 1 convolutions are followed by three taps along depth too.
    """

    name: ClassVar[str] = "p3d"
    runs: ClassVar[str] = "1×K×K, then K×1×1"
    extra: ClassVar[str] = "Co·Co·K"
    fixed_point: ClassVar[str] = "at its start equals `slicewise`"
    pointwise: bool = False

    def reaches(self, geometry: Geometry) -> bool:
        """Square kernels; 1 x 1 ones where the settings say so."""
        return geometry.square and (self.pointwise or not geometry.pointwise)

    def operator(self, layer: Layer) -> Operator:
        """The taps along depth of one convolution."""
        return Along(self, layer)


class Along(Operator):
    """The taps along depth of one convolution.

    Attributes:
        along: (C_out, C_out / groups, K).
    """

    def __init__(self, settings: P3D, layer: Layer) -> None:
        super().__init__(settings)
        taps = POINTWISE_TAPS if layer.kernel == (1, 1) else layer.kernel[0]
        size = layer.out_channels // layer.groups
        start = layer.like.new_zeros(layer.out_channels, size, taps)
        one = torch.eye(size, dtype=start.dtype, device=start.device)
        start[:, :, (taps - 1) // 2] = one.repeat(layer.groups, 1)
        self.along = nn.Parameter(start)

    def cost(self, weight: Tensor) -> int:
        """Both convolutions."""
        return weight.numel() + self.along.numel()

    def convolve(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry
    ) -> Tensor:
        """Convolves every slice of (N, C, D, H, W), then along depth."""
        planes = convolve_slices(x, weight, bias, replace(geometry, depth_stride=1))
        return self._along(planes, geometry)

    def convolve_transposed(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry
    ) -> Tensor:
        """Transposed convolution of every slice, then along the depth that it has grown to."""
        planes = transpose_slices(x, weight, bias, geometry)
        return self._along(planes, replace(geometry, depth_stride=1))

    def _along(self, x: Tensor, geometry: Geometry) -> Tensor:
        """Output slice i sees the taps around slice i * s, however the plane is padded."""
        taps, dilation = self.along.shape[-1], geometry.dilation[0]
        before = dilation * ((taps - 1) // 2)
        window = before, dilation * (taps - 1) - before
        return convolve_along(x, self.along[..., None, None], geometry, (DEPTH,), window)
