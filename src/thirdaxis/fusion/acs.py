"""ACS: a 2D kernel's output channels shared out over the axial, coronal and sagittal planes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from thirdaxis.axes import DEPTH, HEIGHT, WIDTH, Geometry, depth_window, known, strided
from thirdaxis.errors import UsageError, did_you_mean
from thirdaxis.fusion.base import (
    Fusion,
    convolve_slices,
    depth_padded,
    pad_axis,
    repeat_slices,
    transpose_slices,
)

VIEW_AXIS = {"axial": DEPTH, "coronal": HEIGHT, "sagittal": WIDTH}


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

    Raises:
        UsageError: a plane that is none of axial, coronal and sagittal.
    """

    name: ClassVar[str] = "acs"
    planes: tuple[str, str, str] = ("axial", "coronal", "sagittal")

    def __post_init__(self) -> None:
        """Checks the planes."""
        if len(self.planes) != 3:
            raise UsageError(f"ACS: planes takes three names, got {self.planes!r}")
        for plane in self.planes:
            if plane not in VIEW_AXIS:
                raise UsageError(f"ACS: unknown plane {plane!r}{did_you_mean(plane, VIEW_AXIS)}")

    def convolve(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry
    ) -> Tensor:
        """Convolves (N, C, D, H, W) with each third of the kernels in its plane."""
        parts = []
        for view, inputs, outputs, groups in shares(self.planes, weight.shape[0], geometry.groups):
            axis, part = VIEW_AXIS[view], replace(geometry, groups=groups)
            parts.append(_plane(_channels(x, inputs, geometry), weight[outputs], part, axis))
        return _joined(parts, bias)

    def convolve_transposed(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry
    ) -> Tensor:
        """Transposed twin; along the axis that a plane leaves out, values are repeated."""
        parts = []
        total = weight.shape[1] * geometry.groups
        for view, inputs, outputs, groups in shares(self.planes, total, geometry.groups):
            axis, part = VIEW_AXIS[view], replace(geometry, groups=groups)
            kernel = _transposed_kernel(weight, inputs, outputs, geometry.groups)
            parts.append(_plane_transposed(_channels(x, inputs, geometry), kernel, part, axis))
        return _joined(parts, bias)


def thirds(count: int) -> list[slice]:
    """``count`` things shared out in three runs, the first ones longer: 8 is 3, 3, 2."""
    sizes = [count // 3 + (i < count % 3) for i in range(3)]
    starts = [0, sizes[0], sizes[0] + sizes[1]]
    return [slice(a, a + n) for a, n in zip(starts, sizes, strict=True)]


def shares(
    planes: Sequence[str], channels: int, groups: int
) -> Iterator[tuple[str, slice, slice, int]]:
    """Yields (plane, groups it reads, output channels it makes, groups of its convolution).

    The runs come in the order of the output channels, so their results need only joining.
    """
    per_group = channels // groups
    if groups >= 3:
        for plane, run in zip(planes, thirds(groups), strict=True):
            outputs = slice(run.start * per_group, run.stop * per_group)
            yield plane, run, outputs, run.stop - run.start
        return
    for group in range(groups):
        for plane, run in zip(planes, thirds(per_group), strict=True):
            if run.stop > run.start:
                start = group * per_group
                outputs = slice(start + run.start, start + run.stop)
                yield plane, slice(group, group + 1), outputs, 1


def _channels(x: Tensor, groups: slice, geometry: Geometry) -> Tensor:
    """The input channels of some of the groups."""
    if groups.stop - groups.start == geometry.groups:
        return x
    size = x.shape[1] // geometry.groups
    return x[:, groups.start * size : groups.stop * size]


def _transposed_kernel(weight: Tensor, inputs: slice, outputs: slice, groups: int) -> Tensor:
    """The part of a transposed kernel (C_in, C_out / groups, K, K) that makes ``outputs``."""
    rows, columns = weight.shape[0] // groups, weight.shape[1]
    part = weight[inputs.start * rows : inputs.stop * rows]
    if inputs.stop - inputs.start > 1 or groups >= 3:
        return part
    first = outputs.start - inputs.start * columns
    return part[:, first : first + outputs.stop - outputs.start]


def _joined(parts: list[Tensor], bias: Tensor | None) -> Tensor:
    out = torch.cat(parts, 1) if len(parts) > 1 else parts[0]
    return out if bias is None else out + bias.to(out.dtype).view(-1, 1, 1, 1)


def _plane(x: Tensor, weight: Tensor, geometry: Geometry, axis: int) -> Tensor:
    """Convolves the planes that leave out ``axis``."""
    if axis == DEPTH:
        return convolve_slices(x, weight, None, geometry)
    view = axis - HEIGHT
    x = _at_kernel_centres(x, geometry, axis, view)
    x, left = depth_padded(x, geometry, weight.shape[-1])
    padding, dilation = [left, *geometry.padding], [geometry.dilation[0], *geometry.dilation]
    padding[1 + view], dilation[1 + view] = 0, 1
    return F.conv3d(
        x,
        weight.unsqueeze(axis),
        None,
        (geometry.depth_stride, *geometry.stride),
        padding,
        dilation,
        geometry.groups,
    )


def _at_kernel_centres(x: Tensor, geometry: Geometry, axis: int, view: int) -> Tensor:
    """Pads or crops ``axis`` so that a strided single tap meets the centres of the 2D kernel."""
    size, stride = x.shape[axis], geometry.stride[view]
    first = geometry.dilation[view] * (geometry.kernel[view] // 2) - geometry.padding[view]
    if first == 0 and known(strided(size, stride) == geometry.plane_out(view, size)):
        return x
    span = geometry.span(geometry.kernel[view])
    return pad_axis(x, axis, -first, first + 2 * geometry.padding[view] - span + 1)


def _plane_transposed(x: Tensor, weight: Tensor, geometry: Geometry, axis: int) -> Tensor:
    """Transposed convolution in the planes that leave out ``axis``."""
    if axis == DEPTH:
        return transpose_slices(x, weight, None, geometry)
    view = axis - HEIGHT
    size, stride, span = x.shape[axis], geometry.stride[view], geometry.span(weight.shape[-1])
    left, _ = depth_window(span, stride, geometry.half)
    shift = left - geometry.padding[view]
    x = repeat_slices(x, stride, size * stride, axis)
    x = pad_axis(x, axis, shift, geometry.plane_out_transposed(view, size) - shift - size * stride)
    strides, extra = [geometry.depth_stride, *geometry.stride], [0, *geometry.output_padding]
    padding, dilation = [0, *geometry.padding], [geometry.dilation[0], *geometry.dilation]
    strides[1 + view], padding[1 + view], dilation[1 + view], extra[1 + view] = 1, 0, 1, 0
    out = F.conv_transpose3d(
        x, weight.unsqueeze(axis), None, strides, padding, extra, geometry.groups, dilation
    )
    left, _ = geometry.depth_window(weight.shape[-1])
    return pad_axis(out, DEPTH, -left, left + geometry.depth_out - out.shape[DEPTH])
