"""Mean-ACS: the whole 2D kernel in all three planes, averaged."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from thirdaxis.axes import Geometry
from thirdaxis.fusion.base import Fusion
from thirdaxis.fusion.planes import VIEW_AXIS, convolve_plane, transpose_plane


@dataclass(frozen=True)
class MeanACS(Fusion):
    """``y = (W_a * x + W_c * x + W_s * x) / 3 + b``, each W the 2D kernel in another plane.

    (N, C_in, D, H, W) to (N, C_out, D, H, W), the parameters of the 2D convolution, three times the
    cost of ACS. Equals a dense K x K x K convolution with the mean of the three flat kernels.

    Source: Yang et al., "Reinventing 2D Convolutions for 3D Images", IEEE JBHI 2021, equation 4.
    """

    name: ClassVar[str] = "mean_acs"
    runs: ClassVar[str] = "1×K×K, K×1×K and K×K×1, averaged"
    fixed_point: ClassVar[str] = "the mean of three convolutions with a flat kernel"

    def cost(self, weight: Tensor) -> int:
        """Three convolutions."""
        return 3 * weight.numel()

    def convolve(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry
    ) -> Tensor:
        """Convolves (N, C, D, H, W) in the three planes."""
        third = weight / 3
        return summed([convolve_plane(x, third, geometry, axis) for axis in AXES], bias)

    def convolve_transposed(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry
    ) -> Tensor:
        """Transposed twin."""
        third = weight / 3
        return summed([transpose_plane(x, third, geometry, axis) for axis in AXES], bias)


AXES = tuple(VIEW_AXIS.values())


def summed(views: list[Tensor], bias: Tensor | None) -> Tensor:
    """The sum of what three planes give, with the bias."""
    out = views[0] + views[1] + views[2]
    return out if bias is None else out + bias.to(out.dtype).view(-1, 1, 1, 1)
