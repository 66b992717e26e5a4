"""ACS: a 2D kernel's output channels shared out over the axial, coronal and sagittal planes."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from thirdaxis.axes import Geometry
from thirdaxis.errors import UsageError, did_you_mean
from thirdaxis.fusion.base import Fusion, Layer, Operator
from thirdaxis.fusion.channel_planes import ChannelPlanes
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

ASSIGN = ("order", "kernel", "learned")


@dataclass(frozen=True)
class ACS(Fusion):
    """Axial, coronal and sagittal convolutions with the parameters of the 2D one.

    Of C output channels the first third convolves the axial (H, W) planes, the next the coronal
    (D, W), the last the sagittal (D, H); a remainder goes to the first planes. Grouped
    convolutions share out whole groups from three groups on, else the channels of each group.
    Equals a dense K x K x K convolution whose kernel is zero outside those planes.

    Which channel looks at which plane may also be chosen one by one, at the same cost and with the
    same parameters: ``assign="kernel"`` judges each 2D kernel, by how it is built, when the network
    is converted or loads a 2D checkpoint (see `thirdaxis.fusion.channel_planes.planes_by_kernel`);
    ``assign="learned"`` is what `thirdaxis.harden` makes of a trained ``soft_acs``, and starts in
    order. The planes go into checkpoints, as ``fusion.planes`` beside the weight. Kernels that no
    layer owns keep the order.

    Source: Yang et al., "Reinventing 2D Convolutions for 3D Images", IEEE JBHI 2021. The paper
    prints the opposite assignment of thirds to planes than its code; this is the code's. Planes
    for single channels are beyond the paper, which leaves the best assignment to further study.

    Attributes:
        planes: the plane of each third of the output channels.
        split: proportions in which the channels are shared out, in the order of ``planes``.
        assign: ``"order"``, ``"kernel"`` or ``"learned"``.

    Raises:
        UsageError: a plane that is none of axial, coronal and sagittal, no proportions, or an
            unknown way to assign.
    """

    name: ClassVar[str] = "acs"
    runs: ClassVar[str] = "1×K×K, K×1×K, K×K×1, each on a third of the output channels"
    fixed_point: ClassVar[str] = "each third is a dense convolution with a flat kernel"
    planes: Planes = ("axial", "coronal", "sagittal")
    split: Three = EVEN
    assign: str = "order"

    def __post_init__(self) -> None:
        """Checks the planes and the split."""
        check_planes("ACS", self.planes)
        numbers = len(self.split) == 3 and all(type(n) is int and n >= 0 for n in self.split)
        if not numbers or sum(self.split) == 0:
            raise UsageError(
                f"ACS: split takes three whole numbers from 0, not all 0, got {self.split!r}"
            )
        if self.assign not in ASSIGN:
            guess = did_you_mean(str(self.assign), ASSIGN)
            raise UsageError(f"ACS: unknown assign {self.assign!r}{guess}")

    def operator(self, layer: Layer) -> Operator | None:
        """The planes of the channels of one convolution, where they are not in order."""
        if self.assign == "order":
            return None
        judged = self.assign == "kernel"
        return ChannelPlanes(self, layer, self.planes, self.split, judged)

    def convolve(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry
    ) -> Tensor:
        """Convolves (N, C, D, H, W) with each third of the kernels in its plane."""
        parts = []
        mine = shares(self.planes, weight.shape[0], geometry.groups, self.split)
        for view, inputs, outputs, groups in mine:
            axis, part = VIEW_AXIS[view], replace(geometry, groups=groups)
            read = channels_of(x, inputs, geometry)
            shift = None if bias is None else bias[outputs]
            parts.append(convolve_plane(read, weight[outputs], part, axis, shift))
        return joined(parts, None)

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
