"""A3D: every channel mixes all slices by a matrix of its own, then every slice is convolved."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from thirdaxis.axes import DEPTH, Geometry
from thirdaxis.errors import InputError, UsageError
from thirdaxis.fusion.base import Layer, Operator, OwningFusion
from thirdaxis.fusion.depth import convolve_slices, transpose_slices


@dataclass(frozen=True)
class A3D(OwningFusion):
    """``x'[c, k] = sum over d of P[d, k, c] x[c, d]``, then a 1 x K x K convolution.

    P (D, D, C_in) is a parameter of the layer, the identity plus U(-0.1, 0.1) at its start. So the
    number of slices D is fixed: ``depth`` for the volumes, and for each layer what comes of it,
    found by running the network's shapes when it is converted. Kernels of any sides are reached.

    Source: Yang et al., "Asymmetric 3D Context Fusion for Universal Lesion Detection", MICCAI 2021,
    before both convolutions of every dense layer (overrides ``"@dense_layers"``).

    Attributes:
        depth: slices D of the volumes that the network takes.
        noise: half-width of the uniform noise at the start.
        pointwise: whether slices are mixed before 1 x 1 convolutions too.

    Raises:
        UsageError: a depth below 1, or noise below 0.
    """

    name: ClassVar[str] = "a3d"
    runs: ClassVar[str] = "1×K×K, after a D×D mix of the slices of each input channel"
    extra: ClassVar[str] = "D²·Ci"
    fixed_point: ClassVar[str] = "with the identity for a mix equals `slicewise`"
    depth: int = 7
    noise: float = 0.1
    pointwise: bool = False

    def __post_init__(self) -> None:
        """Checks the settings."""
        if type(self.depth) is not int or self.depth < 1:
            raise UsageError(f"a3d: depth is a whole number of slices from 1, got {self.depth!r}")
        if not self.noise >= 0:
            raise UsageError(f"a3d: noise is a number from 0, got {self.noise!r}")

    def reaches(self, geometry: Geometry) -> bool:
        """Kernels of any sides; 1 x 1 ones where the settings say so."""
        return self.pointwise or not geometry.pointwise

    def fixed_depth(self) -> int:
        """Slices of the volumes."""
        return self.depth

    def operator(self, layer: Layer) -> Operator:
        """The mix of one convolution."""
        return Mix(self, layer)


class Mix(Operator):
    """The D x D matrices of one convolution.

    Attributes:
        mix: (D, D, C_in): from slice, to slice, channel.
    """

    settings: A3D

    def __init__(self, settings: A3D, layer: Layer) -> None:
        super().__init__(settings)
        count = layer.slices
        noise = layer.like.new_empty(count, count, layer.in_channels)
        noise.uniform_(-settings.noise, settings.noise)
        start = torch.eye(count, dtype=noise.dtype, device=noise.device).unsqueeze(-1)
        self.mix = nn.Parameter(start + noise)

    def mixed(self, x: Tensor) -> Tensor:
        """(N, C, D, H, W) with the slices of each channel mixed.

        Raises:
            InputError: another number of slices.
        """
        if x.shape[DEPTH] != self.mix.shape[0]:
            raise InputError(
                f"a3d: the network was converted for volumes of {self.settings.depth} slices, "
                f"which are {self.mix.shape[0]} at a layer that got {x.shape[DEPTH]}: give volumes "
                f"of {self.settings.depth}, or convert with A3D(depth=...)"
            )
        return torch.einsum("ncdhw,dkc->nckhw", x, self.mix.to(x.dtype))

    def convolve(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry
    ) -> Tensor:
        """Convolves every slice of the mixed (N, C, D, H, W)."""
        return convolve_slices(self.mixed(x), weight, bias, geometry)

    def convolve_transposed(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry
    ) -> Tensor:
        """Transposed convolution of every slice of the mixed (N, C, D, H, W)."""
        return transpose_slices(self.mixed(x), weight, bias, geometry)
