"""I3D: the 2D kernel repeated along depth and divided by its side."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from thirdaxis.axes import DEPTH, Geometry
from thirdaxis.fusion.base import Fusion, convolve_volume, transpose_volume


@dataclass(frozen=True)
class I3D(Fusion):
    """A K x K kernel becomes a K x K x K parameter of its own, K times as large.

    Every depth tap starts as the 2D kernel divided by K, so that a volume of identical slices gives
    the 2D answer away from its ends (Carreira and Zisserman, "Quo Vadis, Action Recognition?",
    2017).
    """

    name: ClassVar[str] = "i3d"

    def stored(self, weight: Tensor) -> Tensor:
        """(C_out, C_in, K, K) to (C_out, C_in, K, K, K); the same for transposed kernels."""
        side = weight.shape[-1]
        return weight.unsqueeze(DEPTH).repeat(1, 1, side, 1, 1) / side

    def convolve(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry
    ) -> Tensor:
        """Convolves with a 2D kernel that no layer owns, inflated on the spot."""
        return convolve_volume(x, self.stored(weight), bias, geometry)

    def convolve_transposed(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry
    ) -> Tensor:
        """Transposed convolution with a 2D kernel that no layer owns, inflated on the spot."""
        return transpose_volume(x, self.stored(weight), bias, geometry)
