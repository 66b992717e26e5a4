"""Convolutions along depth that the operators share, and padding under the depth rule."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from thirdaxis.axes import DEPTH, HEIGHT, WIDTH, Geometry, Pair, depth_window, known, strided


def pad_axis(
    x: torch.Tensor, axis: int, before: int, after: int, mode: str = "constant"
) -> torch.Tensor:
    """Pads (or, where negative, crops) one of the last three axes of a volume.

    Reflection and wrap-around fall back to repeating the end slice where the volume has fewer
    slices than they need.
    """
    if before < 0 or after < 0:
        start = max(0, -before)
        x = x.narrow(axis, start, x.shape[axis] - start - max(0, -after))
        before, after = max(0, before), max(0, after)
    if before == 0 and after == 0:
        return x
    if mode != "constant" and max(before, after) >= x.shape[axis]:
        mode = "replicate"
    pads = [0] * 6
    pads[2 * (WIDTH - axis)], pads[2 * (WIDTH - axis) + 1] = before, after
    return F.pad(x, pads, mode)


def by_rows(func: Callable, volume: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    """A 2D call along depth alone: each plane is one row of a picture (N, C, D, H * W) to it."""
    rows = func(volume.flatten(HEIGHT), *args, **kwargs)
    return rows.unflatten(HEIGHT, volume.shape[HEIGHT:])


def depth_padded(
    x: torch.Tensor, geometry: Geometry, taps: int, window: Pair | None = None
) -> tuple[torch.Tensor, int]:
    """Makes room for ``taps`` along depth: the volume, padded if need be, and what is left to pad.

    The convolution can pad zeros by itself wherever the same number on both sides obeys the depth
    rule; only elsewhere is the volume padded here, at the cost of a copy. So is a thin volume under
    a strided kernel: there oneDNN (seen in torch 2.15, kernel 7, stride 2, 5 to 7 slices) writes
    out of bounds in the backward pass of an ordinary ``conv3d``.
    """
    depth, stride = x.shape[DEPTH], geometry.depth_stride
    left, right = window or geometry.depth_window(taps)
    symmetric = (depth + 2 * left - geometry.span(taps)) // stride + 1
    thin = stride > 1 and known(depth <= geometry.span(taps))
    fits = known(symmetric == strided(depth, stride))
    if geometry.pad_mode == "constant" and fits and not thin:
        return x, left
    return pad_axis(x, DEPTH, left, right, geometry.pad_mode), 0


def convolve_thin(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> torch.Tensor:
    """``F.conv3d`` with a kernel of a single tap along some axis, fast for small volumes too.

    A single volume of few values, as the deeper layers of most networks get, torch leaves on a CPU
    to slow code of its own. Cut into planes along that axis it is many pictures, and a 2D
    convolution of these goes to oneDNN: three times faster or more, forward and backward.
    """
    flat = (axis for axis in (DEPTH, HEIGHT, WIDTH) if weight.shape[axis] == 1)
    axis = next((axis for axis in flat if padding[axis - DEPTH] == 0), None)
    if axis is None or groups > 1 or not _left_to_slow_code(x, weight, stride):
        return _convolve(x, weight, bias, stride, padding, dilation, groups)
    planes = x[(slice(None),) * axis + (slice(None, None, stride[axis - DEPTH]),)]
    pictures = planes.movedim(axis, 1).flatten(0, 1)
    plane = [i for i in range(3) if DEPTH + i != axis]
    steps, pads, gaps = ([v[i] for i in plane] for v in (stride, padding, dilation))
    out = F.conv2d(pictures, weight.squeeze(axis), bias, steps, pads, gaps)
    volume = out.unflatten(0, (x.shape[0], -1)).movedim(1, axis)
    return volume.contiguous() if axis == DEPTH else volume


def _convolve(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> torch.Tensor:
    """``F.conv3d``, quick on maps of a single voxel along some axis, and right in bfloat16.

    Of a kernel that reaches beyond its volume, oneDNN (seen in torch 2.15 on a CPU, kernel 3, 2
    slices) leaves parts of the weight's gradient in bfloat16 unwritten. Padded before, it fits.
    """
    weight, padding = _without_idle_taps(x, weight, padding, dilation)
    if x.device.type == "cpu" and _precision(x) == torch.bfloat16:
        spans = (gap * (taps - 1) + 1 for gap, taps in zip(dilation, weight.shape[2:], strict=True))
        if any(known(side < span) for side, span in zip(x.shape[2:], spans, strict=True)):
            depth, height, width = padding
            x = F.pad(x, (width, width, height, height, depth, depth))
            padding = (0, 0, 0)
    return F.conv3d(x, weight, bias, stride, padding, dilation, groups)


def _without_idle_taps(
    x: torch.Tensor, weight: torch.Tensor, padding: Sequence[int], dilation: Sequence[int]
) -> tuple[torch.Tensor, Sequence[int]]:
    """The kernel and its padding without taps that meet nothing but padding.

    Along an axis of one voxel, as the last maps of small pictures have, that is all of a padded
    kernel but one tap: a 3 x 3 x 3 kernel has a ninth of its work left on maps of 1 x 1.
    """
    padding = list(padding)
    for i, (pad, gap) in enumerate(zip(padding, dilation, strict=True)):
        taps = weight.shape[DEPTH + i]
        centred = 2 * pad == gap * (taps - 1)
        if taps > 1 and centred and pad % gap == 0 and known(x.shape[DEPTH + i] == 1):
            weight, padding[i] = weight.narrow(DEPTH + i, pad // gap, 1), 0
    return weight, padding


def _precision(x: torch.Tensor) -> torch.dtype:
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype


def _left_to_slow_code(x: torch.Tensor, weight: torch.Tensor, stride: Sequence[int]) -> bool:
    """Whether torch, from 2.8 to 2.15 at least, keeps an ungrouped ``conv3d`` from oneDNN.

    With 1 x 1 x 1 kernels its own code is fast, and some larger ones it never takes. For the few
    voxels of a last layer it is fast too, since oneDNN sorts the weights anew in every call.
    """
    if x.device.type != "cpu" or max(weight.shape[2:]) == 1 or min(weight.shape[3:]) > 3:
        return False
    batch, channels, depth, height, width = x.shape
    small = known(batch == 1) and known(channels * depth * height <= 20480)
    return small and known(depth * height * width > 32 * math.prod(stride))


def convolve_volume(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, geometry: Geometry
) -> torch.Tensor:
    """Convolves with a 3D kernel (C_out, C_in / groups, K_d, K_h, K_w) under the depth rule."""
    x, left = depth_padded(x, geometry, weight.shape[DEPTH])
    return _convolve(
        x,
        weight,
        bias,
        (geometry.depth_stride, *geometry.stride),
        (left, *geometry.padding),
        (geometry.dilation[0], *geometry.dilation),
        geometry.groups,
    )


def convolve_slices(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, geometry: Geometry
) -> torch.Tensor:
    """Convolves every slice with a 2D kernel; a depth stride keeps slices 0, s, 2s, …"""
    return convolve_thin(
        x,
        weight.unsqueeze(DEPTH),
        bias,
        (geometry.depth_stride, *geometry.stride),
        (0, *geometry.padding),
        (1, *geometry.dilation),
        geometry.groups,
    )


def repeat_slices(x: torch.Tensor, stride: int, depth_out: int, axis: int = DEPTH) -> torch.Tensor:
    """Repeats every slice ``stride`` times and cuts to ``depth_out`` (the last fills a rest)."""
    if stride == 1 and known(x.shape[axis] == depth_out):
        return x
    source = torch.arange(depth_out, device=x.device) // stride
    return x.index_select(axis, source.clamp(max=x.shape[axis] - 1))


def transpose_slices(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, geometry: Geometry
) -> torch.Tensor:
    """Transposed convolution of every slice; depth grows by repeating slices."""
    return transpose_volume(x, weight.unsqueeze(DEPTH), bias, geometry)


def transpose_volume(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, geometry: Geometry
) -> torch.Tensor:
    """Transposed convolution with a 3D kernel: depth repeated first, then kernel stride 1 there.

    Repeating keeps the mean of a constant volume for every kernel and stride; a strided kernel
    along depth would leave slices that fewer taps reach.
    """
    x = repeat_slices(x, geometry.depth_stride, geometry.depth_out)
    taps = weight.shape[DEPTH]
    out = F.conv_transpose3d(
        x,
        weight,
        bias,
        (1, *geometry.stride),
        (0, *geometry.padding),
        (0, *geometry.output_padding),
        geometry.groups,
        (geometry.dilation[0], *geometry.dilation),
    )
    left, _ = depth_window(geometry.span(taps), 1, geometry.half)
    return out.narrow(DEPTH, left, x.shape[DEPTH])


def convolve_along(
    x: torch.Tensor,
    weight: torch.Tensor,
    geometry: Geometry,
    axes: tuple[int, ...],
    window: Pair | None = None,
) -> torch.Tensor:
    """Convolves along some of depth, height and width; elsewhere the kernel has a single tap.

    Stride, padding and dilation act along these axes only, depth under the depth rule, so that the
    convolutions along all three, one after the other, give the size of the K x K x K one.

    Args:
        x: (N, C_in, D, H, W).
        weight: (C_out, C_in / groups, k_d, k_h, k_w), one tap along the other axes.
        geometry: of the K x K x K convolution.
        axes: those of ``DEPTH``, ``HEIGHT`` and ``WIDTH`` along which it acts.
        window: slices to add before and after, if not those of the depth rule.
    """
    strides = (geometry.depth_stride, *geometry.stride)
    paddings, dilations = [0, *geometry.padding], (geometry.dilation[0], *geometry.dilation)
    if DEPTH in axes:
        x, paddings[0] = depth_padded(x, geometry, weight.shape[DEPTH], window)
    sizes = _along(axes, strides, 1), _along(axes, paddings, 0), _along(axes, dilations, 1)
    if axes == (DEPTH,) and x.device.type == "cpu":  # conv3d would be slow with a single thread
        stride, padding, dilation = (list(values[:2]) for values in sizes)
        kernel, groups = weight.squeeze(WIDTH), geometry.groups
        return by_rows(F.conv2d, x, kernel, None, stride, padding, dilation, groups)
    return convolve_thin(x, weight, None, *sizes, geometry.groups)


def transpose_along(
    x: torch.Tensor, weight: torch.Tensor, geometry: Geometry, axes: tuple[int, ...]
) -> torch.Tensor:
    """Transposed twin of `convolve_along`; slices are repeated first, as in `transpose_volume`.

    Args:
        x: (N, C_in, D, H, W).
        weight: (C_in, C_out / groups, k_d, k_h, k_w), one tap along the other axes.
        geometry: of the transposed K x K x K convolution.
        axes: those of ``DEPTH``, ``HEIGHT`` and ``WIDTH`` along which it acts.
    """
    taps = 1
    if DEPTH in axes:
        x = repeat_slices(x, geometry.depth_stride, geometry.depth_out)
        taps = weight.shape[DEPTH]
    strides = _along(axes, (1, *geometry.stride), 1)
    paddings = _along(axes, (0, *geometry.padding), 0)
    extra = _along(axes, (0, *geometry.output_padding), 0)
    dilations = _along(axes, (geometry.dilation[0], *geometry.dilation), 1)
    depth = x.shape[DEPTH]
    out = F.conv_transpose3d(x, weight, None, strides, paddings, extra, geometry.groups, dilations)
    left, _ = depth_window(geometry.span(taps), 1, geometry.half)
    return out.narrow(DEPTH, left, depth) if taps > 1 else out


def _along(axes: tuple[int, ...], values: Sequence[int], elsewhere: int) -> list[int]:
    return [value if DEPTH + i in axes else elsewhere for i, value in enumerate(values)]
