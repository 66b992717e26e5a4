"""Convolutions in planes of any orientation, and how output channels are shared out over them."""

from collections.abc import Iterator, Sequence

import torch.nn.functional as F
from torch import Tensor

from thirdaxis.axes import DEPTH, HEIGHT, WIDTH, Geometry, depth_window, known, strided
from thirdaxis.errors import UsageError, did_you_mean
from thirdaxis.fusion.depth import (
    convolve_slices,
    convolve_thin,
    depth_padded,
    pad_axis,
    repeat_slices,
    transpose_slices,
)

VIEW_AXIS = {"axial": DEPTH, "coronal": HEIGHT, "sagittal": WIDTH}
EVEN = (1, 1, 1)

Three = tuple[int, int, int]
Planes = tuple[str, str, str]


def check_planes(operator: str, planes: Sequence[str]) -> None:
    """Refuses what are not three known planes.

    Raises:
        UsageError: a plane that is none of axial, coronal and sagittal.
    """
    if len(planes) != 3:
        raise UsageError(f"{operator}: planes takes three names, got {planes!r}")
    for plane in planes:
        if plane not in VIEW_AXIS:
            raise UsageError(
                f"{operator}: unknown plane {plane!r}{did_you_mean(str(plane), VIEW_AXIS)}"
            )


def runs_of(count: int, split: Three = EVEN) -> list[slice]:
    """``count`` things shared out in three runs in these proportions, by largest remainder.

    Of equal remainders the first gets more: 8 in equal parts is 3, 3, 2.
    """
    total = sum(split)
    sizes = [count * part // total for part in split]
    order = sorted(range(3), key=lambda i: (-(count * split[i] % total), i))
    for i in order[: count - sum(sizes)]:
        sizes[i] += 1
    starts = [0, sizes[0], sizes[0] + sizes[1]]
    return [slice(a, a + n) for a, n in zip(starts, sizes, strict=True)]


def shares(
    planes: Sequence[str], channels: int, groups: int, split: Three = EVEN
) -> Iterator[tuple[str, slice, slice, int]]:
    """Yields (plane, groups it reads, output channels it makes, groups of its convolution).

    The runs come in the order of the output channels, so their results need only joining. From
    three groups on whole groups are shared out, else the channels of each group.
    """
    per_group = channels // groups
    if groups >= 3:
        for plane, run in zip(planes, runs_of(groups, split), strict=True):
            if run.stop > run.start:
                outputs = slice(run.start * per_group, run.stop * per_group)
                yield plane, run, outputs, run.stop - run.start
        return
    for group in range(groups):
        for plane, run in zip(planes, runs_of(per_group, split), strict=True):
            if run.stop > run.start:
                start = group * per_group
                outputs = slice(start + run.start, start + run.stop)
                yield plane, slice(group, group + 1), outputs, 1


def channels_of(x: Tensor, groups: slice, geometry: Geometry) -> Tensor:
    """The input channels of some of the groups."""
    if groups.stop - groups.start == geometry.groups:
        return x
    size = x.shape[1] // geometry.groups
    return x[:, groups.start * size : groups.stop * size]


def convolve_plane(
    x: Tensor, weight: Tensor, geometry: Geometry, axis: int, bias: Tensor | None = None
) -> Tensor:
    """Convolves the planes that leave out ``axis``, at the size of a K x K x K convolution."""
    if axis == DEPTH:
        return convolve_slices(x, weight, bias, geometry)
    view = axis - HEIGHT
    x = _at_kernel_centres(x, geometry, axis, view)
    x, left = depth_padded(x, geometry, weight.shape[-1])
    padding, dilation = [left, *geometry.padding], [geometry.dilation[0], *geometry.dilation]
    padding[1 + view], dilation[1 + view] = 0, 1
    return convolve_thin(
        x,
        weight.unsqueeze(axis),
        bias,
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


def transpose_plane(x: Tensor, weight: Tensor, geometry: Geometry, axis: int) -> Tensor:
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
