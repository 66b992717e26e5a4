"""ACS: a 2D kernel's output channels shared out over the axial, coronal and sagittal planes."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from thirdaxis.axes import Geometry
from thirdaxis.errors import UsageError
from thirdaxis.fusion.base import Fusion
from thirdaxis.fusion.planes import (
    EVEN,
    VIEW_AXIS,
    Planes,
    Three,
    channels_of,
    check_planes,
    convolve_plane,
    shares,
    transpose_plane,
)


@dataclass(frozen=True)
class ACS(Fusion):
    """Axial, coronal and sagittal convolutions with the parameters of the 2D one.

    Of C output channels the first third convolves the axial (H, W) planes, the next the coronal
    (D, W), the last the sagittal (D, H); a remainder goes to the first planes. Grouped
    convolutions share out whole groups from three groups on, else the channels of each group.
    Equals a dense K x K x K convolution whose kernel is zero outside those planes.

    Source: Yang et al., "Reinventing 2D Convolutions for 3D Images", IEEE JBHI 2021. The paper
    prints the opposite assignment of thirds to planes than its code; this is the code's.

    Attributes:
        planes: the plane of each third of the output channels.
        split: proportions in which the channels are shared out, in the order of ``planes``.

    Raises:
        UsageError: a plane that is none of axial, coronal and sagittal, or no proportions.
    """

    name: ClassVar[str] = "acs"
    runs: ClassVar[str] = "1×K×K, K×1×K, K×K×1, each on a third of the output channels"
    fixed_point: ClassVar[str] = "each third is a dense convolution with a flat kernel"
    planes: Planes = ("axial", "coronal", "sagittal")
    split: Three = EVEN

    def __post_init__(self) -> None:
        """Checks the planes and the split."""
        check_planes("ACS", self.planes)
        numbers = len(self.split) == 3 and all(type(n) is int and n >= 0 for n in self.split)
        if not numbers or sum(self.split) == 0:
            raise UsageError(
                f"ACS: split takes three whole numbers from 0, not all 0, got {self.split!r}"
            )

    def convolve(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry
    ) -> Tensor:
        """Convolves (N, C, D, H, W) with each third of the kernels in its plane."""
        parts = []
        mine = shares(self.planes, weight.shape[0], geometry.groups, self.split)
        for view, inputs, outputs, groups in mine:
            axis, part = VIEW_AXIS[view], replace(geometry, groups=groups)
            read = channels_of(x, inputs, geometry)
            parts.append(convolve_plane(read, weight[outputs], part, axis))
        return joined(parts, bias)

    def convolve_transposed(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry
    ) -> Tensor:
        """Transposed twin; along the axis that a plane leaves out, values are repeated."""
        parts = []
        total = weight.shape[1] * geometry.groups
        mine = shares(self.planes, total, geometry.groups, self.split)
        for view, inputs, outputs, groups in mine:
            axis, part = VIEW_AXIS[view], replace(geometry, groups=groups)
            kernel = _transposed_kernel(weight, inputs, outputs, geometry.groups)
            read = channels_of(x, inputs, geometry)
            parts.append(transpose_plane(read, kernel, part, axis))
        return joined(parts, bias)


def _transposed_kernel(weight: Tensor, inputs: slice, outputs: slice, groups: int) -> Tensor:
    """The part of a transposed kernel (C_in, C_out / groups, K, K) that makes ``outputs``."""
    rows, columns = weight.shape[0] // groups, weight.shape[1]
    part = weight[inputs.start * rows : inputs.stop * rows]
    if groups >= 3:
        return part
    first = outputs.start - inputs.start * columns
    return part[:, first : first + outputs.stop - outputs.start]


def joined(parts: list[Tensor], bias: Tensor | None) -> Tensor:
    """Parts of the output channels, with their bias."""
    out = torch.cat(parts, 1) if len(parts) > 1 else parts[0]
    return out if bias is None else out + bias.to(out.dtype).view(-1, 1, 1, 1)
