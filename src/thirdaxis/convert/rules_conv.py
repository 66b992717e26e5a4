"""Rules for convolutions: the place where a fusion operator acts."""

import math
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from thirdaxis.axes import HEIGHT, Geometry, Pair, known, pair, shared_stride
from thirdaxis.convert.carrier import Hidden, hide_volume_like, layer, rule, volume_of
from thirdaxis.convert.slices import slice_by_slice, where
from thirdaxis.errors import InputError
from thirdaxis.fusion.base import Fusion, Operator
from thirdaxis.fusion.depth import (
    convolve_slices,
    convolve_volume,
    transpose_slices,
    transpose_volume,
)


@dataclass(frozen=True)
class Executed:
    """One spatial convolution as it ran.

    Attributes:
        module: name of the module that ran it.
        kernel: height and width of its kernel.
        status: ``"lifted"``, or why it acted slice by slice.
        macs: its multiply-accumulates.
    """

    module: str
    kernel: Pair
    status: str
    macs: int = field(default=0, compare=False)


NON_SQUARE = "stays 2D: the kernel is not square"
NO_FUSION = "2D by choice: slicewise"
UNOWNED = "not fused: no convolution layer owns parameters for its operator"
LIFTED = "lifted"


def fate(kernel_rank: int, geometry: Geometry, fusion: Fusion | Operator) -> str:
    """What becomes of a spatial convolution."""
    if kernel_rank == 5:
        return LIFTED
    if not fusion.reaches(geometry):
        return NON_SQUARE
    if fusion.owns_parameters:
        return UNOWNED
    return LIFTED if fusion.mixes_slices else NO_FUSION


def arguments(args: tuple, kwargs: dict, names: str) -> dict[str, Any]:
    """Positional and named arguments under their names."""
    return dict(zip(names.split(), args, strict=False)) | kwargs


def remember_depth(x: Hidden) -> None:
    """Notes how many slices there are at this height and width."""
    depth, *_, height, width = x.shape
    x.call.remember((height, width), depth)


def restored_depth(x: Hidden, plane: Pair, grown: int) -> int:
    """Slices that belong to a plane that this one grows to.

    As many as were seen at that plane; where it was not seen, for an odd height or a cropped
    border, as many as at the nearest plane from which striding leads to this depth; else ``grown``,
    the same multiple of depth as of height and width.
    """
    seen = x.call.depth_at(plane)
    if seen is not None:
        return seen
    if not all(type(size) is int for size in (*x.shape, *plane)):
        return grown  # sizes of a graph that is traced for any size cannot be compared
    factor = grown / x.shape[0]
    near = [
        (abs(height - plane[0]) + abs(width - plane[1]), depth)
        for (height, width), depth in x.call.depths
        if grown - factor < depth <= grown
    ]
    return min(near)[1] if near else grown


@rule(torch.conv2d, F.conv2d)
def conv2d(func, args, kwargs):
    """``F.conv2d`` on a volume, by the fusion operator in force."""
    x = args[0] if args else kwargs["input"]
    weight = args[1] if len(args) > 1 else kwargs["weight"]
    if not isinstance(x, Hidden) or x.dim() != 5 or isinstance(weight, Hidden):
        return slice_by_slice(func, args, kwargs)
    return _conv2d(*args, **kwargs)


@layer(nn.Conv2d)
def conv2d_layer(conv, x):
    """A convolution that pads zeros."""
    if conv.padding_mode != "zeros" or x.dim() != 5:
        return NotImplemented
    given = conv.stride, conv.padding, conv.dilation, conv.groups
    return _conv2d(x, conv.weight, conv.bias, *given)


def _conv2d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    remember_depth(input)
    setting, volume = input.setting, volume_of(input)
    pad_mode, padded = input.padded or ("constant", (0, 0))
    kernel, dilation = tuple(weight.shape[-2:]), pair(dilation)
    if isinstance(padding, str):
        volume, padding, padded = _named_padding(volume, padding, kernel, dilation, padded)
    geometry = _geometry(
        kernel,
        pair(stride),
        pair(padding),
        dilation,
        groups,
        setting.depth_stride,
        padded,
        pad_mode,
    )
    if input.call.thickness is not None:
        geometry = replace(geometry, thickness=input.call.thickness)
    fusion = setting.acting
    convolve = chosen(weight, geometry, fusion, convolve_volume, convolve_slices, fusion.convolve)
    try:
        out = convolve(volume, weight, bias, geometry)
    except RuntimeError:
        check_input(volume, weight.shape[1] * groups, geometry)
        raise
    input.call.planes.append((out.shape[-2], out.shape[-1]))
    if input.call.log is not None:
        log_spatial(input, weight, geometry, tuple(out.shape[-3:]))
    return hide_volume_like(out, input)


@lru_cache(maxsize=256)
def _geometry(kernel, stride, padding, dilation, groups, depth_stride, padded, pad_mode):
    """The geometry of a convolution; a network asks for the same few again and again."""
    step = shared_stride(stride, depth_stride)
    return Geometry(kernel, stride, padding, dilation, groups, step, padded, pad_mode)


def chosen(weight, geometry: Geometry, fusion, in_volume, by_slice, by_fusion):
    """The convolution for a kernel: a 3D one as it is, what the fusion reaches, others by slice."""
    if weight.dim() == 5:
        return in_volume
    return by_fusion if fusion.reaches(geometry) else by_slice


def log_spatial(
    x: Hidden, weight: torch.Tensor, geometry: Geometry, positions: tuple[int, ...]
) -> None:
    """Notes a spatial convolution, of a kernel at so many positions, where somebody asked.

    A 1 x 1 kernel is one only where its operator looks along depth.
    """
    fusion = x.setting.acting
    if x.call.log is None or (geometry.pointwise and not fusion.reaches(geometry)):
        return
    status = LIFTED if "D" in x.call.plane else fate(weight.dim(), geometry, fusion)
    cost = fusion.cost(weight) if status == LIFTED and weight.dim() == 4 else weight.numel()
    macs = cost * x.shape[1] * math.prod(positions)
    x.call.log.append(Executed(where(), geometry.kernel, status, macs))


@rule(torch.conv_transpose2d, F.conv_transpose2d)
def conv_transpose2d(func, args, kwargs):
    """``F.conv_transpose2d`` on a volume; depth returns to what it was at that size before."""
    given = arguments(
        args, kwargs, "input weight bias stride padding output_padding groups dilation"
    )
    x, weight = given["input"], given["weight"]
    if not isinstance(x, Hidden) or x.dim() != 5 or isinstance(weight, Hidden):
        return slice_by_slice(func, args, kwargs)
    remember_depth(x)
    stride = pair(given.get("stride", 1))
    geometry = Geometry(
        (weight.shape[-2], weight.shape[-1]),
        stride,
        pair(given.get("padding", 0)),
        pair(given.get("dilation", 1)),
        given.get("groups", 1),
        shared_stride(stride, x.setting.depth_stride),
        output_padding=pair(given.get("output_padding", 0)),
    )
    plane = (
        geometry.plane_out_transposed(0, x.shape[-2]),
        geometry.plane_out_transposed(1, x.shape[-1]),
    )
    depth = x.shape[0]
    if geometry.depth_stride > 1:
        depth = restored_depth(x, plane, depth * geometry.depth_stride)
    geometry = replace(geometry, depth_out=depth, thickness=x.call.thickness)
    volume = volume_of(x)
    check_input(volume, weight.shape[0], None)
    log_spatial(x, weight, geometry, (depth, *x.shape[-2:]))
    fusion = x.setting.acting
    convolve = chosen(
        weight, geometry, fusion, transpose_volume, transpose_slices, fusion.convolve_transposed
    )
    out = convolve(volume, weight, given.get("bias"), geometry)
    return hide_volume_like(out, x)


def _named_padding(volume, padding: str, kernel, dilation: Pair, padded: Pair):
    """``"same"`` and ``"valid"`` as numbers; an uneven "same" is padded here."""
    if padding == "valid":
        return volume, (0, 0), padded
    total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    if total[0] % 2 == 0 and total[1] % 2 == 0:
        return volume, (total[0] // 2, total[1] // 2), padded
    before = [n // 2 for n in total]
    pads = [before[1], total[1] - before[1], before[0], total[0] - before[0]]
    return F.pad(volume, pads), (0, 0), padded


def check_input(volume, channels: int, geometry: Geometry | None) -> None:
    """Wrong channels and too small planes, in a line that says which layer and what to do."""
    if volume.shape[1] != channels:
        raise InputError(
            f"layer {where()!r} takes {channels} channels, got a volume of {volume.shape[1]}: "
            f"give {channels} channels, or convert with in_channels={volume.shape[1]}"
        )
    planes = (
        []
        if geometry is None
        else [geometry.plane_out(i, volume.shape[HEIGHT + i]) for i in (0, 1)]
    )
    if any(known(size < 1) for size in planes):
        raise too_small(volume)


def too_small(volume: torch.Tensor) -> InputError:
    """The error for planes that the network's strides use up."""
    height, width = volume.shape[-2:]
    return InputError(
        f"the volume is too small for the network: {height} x {width} are left at layer "
        f"{where()!r}; give a larger height and width, or pad the volume"
    )
