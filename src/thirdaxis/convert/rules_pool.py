"""Rules for pooling, local and global.

Pools are separable: the 2D pool, then the pool along depth, in one step where torch's own 3D pool
has the same windows (faster, and one map less to keep for the backward pass). Depth is pooled where
it is strided, and by pools of stride 1 where the fusion operator mixes slices at all. Padding never
counts into an average along depth, so identical slices give the 2D answer.
"""

import torch
import torch.nn.functional as F

from thirdaxis.axes import (
    DEPTH,
    Geometry,
    depth_window,
    known,
    pair,
    shared_stride,
    strided,
)
from thirdaxis.convert.carrier import Hidden, hide_volume_like, rule, volume_of
from thirdaxis.convert.rules_conv import arguments, remember_depth, too_small
from thirdaxis.convert.rules_shape import reduction
from thirdaxis.convert.slices import slice_by_slice
from thirdaxis.fusion.depth import by_rows, pad_axis


def folded(x: Hidden) -> torch.Tensor:
    """All slices as pictures, for per-slice 2D calls: a view in either order of memory.

    Returns:
        (N, C * D, H, W), or where channels come last in memory (N * D, C, H, W), where they do too.
    """
    volume = volume_of(x)
    return volume.movedim(DEPTH, 1).flatten(0, 1) if channels_last(x) else volume.flatten(1, 2)


def unfolded(planes: torch.Tensor, x: Hidden) -> torch.Tensor:
    """Undoes `folded` after a call that changed height and width: (N, C, D, H', W')."""
    if channels_last(x):
        return planes.unflatten(0, (x.shape[1], x.shape[0])).movedim(1, DEPTH)
    return planes.unflatten(1, (x.shape[2], x.shape[0]))


def channels_last(x: Hidden) -> bool:
    """Whether the channels of a voxel lie side by side in memory."""
    return known(x.shape[2] > 1) and known(x.stride(2) == 1)


def depth_taps(kernel, stride, x: Hidden) -> tuple[int, int]:
    """Slices that a pool takes in, and its stride along depth."""
    step = shared_stride(stride, x.setting.depth_stride)
    mixes = step > 1 or (min(stride) == 1 and x.setting.fusion.mixes_slices)
    return (min(kernel) if mixes else 1), step


def pool_depth(volume, taps: int, step: int, half: bool, dilation: int, pool) -> torch.Tensor:
    """Pools along depth alone under the depth rule."""
    depth, span = volume.shape[DEPTH], dilation * (taps - 1) + 1
    left, right = depth_window(span, step, half)
    if left == 0 and known((depth - span) // step + 1 == strided(depth, step)):
        right = 0
    return pool(volume, taps, step, dilation, left, right)


def _max_along_depth(volume, taps, step, dilation, left, right):
    if left > 0 or right > 0:
        lowest = -torch.inf if volume.is_floating_point() else torch.iinfo(volume.dtype).min
        volume = F.pad(volume, (0, 0, 0, 0, left, right), value=lowest)
    return by_rows(F.max_pool2d, volume, (taps, 1), (step, 1), 0, (dilation, 1))


def _mean_along_depth(volume, taps, step, dilation, left, right):
    depth = volume.shape[DEPTH]
    total = by_rows(F.avg_pool2d, pad_axis(volume, DEPTH, left, right), (taps, 1), (step, 1))
    if left == 0 and right == 0:
        return total
    first = torch.arange(strided(depth, step), device=volume.device) * step - left
    inside = (first + taps).clamp(max=depth) - first.clamp(min=0)
    return total * (taps / inside).to(total.dtype).view(-1, 1, 1)


@rule(torch.max_pool2d, F.max_pool2d)
def max_pool2d(func, args, kwargs):
    """``F.max_pool2d``."""
    names = "input kernel_size stride padding dilation ceil_mode return_indices"
    given = arguments(args, kwargs, names)
    x = given["input"]
    if x.dim() != 5 or given.get("return_indices"):
        return slice_by_slice(func, args, kwargs)
    remember_depth(x)
    kernel, padding = pair(given["kernel_size"]), pair(given.get("padding", 0))
    stride, dilation = pair(given.get("stride") or kernel), pair(given.get("dilation", 1))
    ceil_mode = given.get("ceil_mode", False)
    _check_plane(x, Geometry(kernel, stride, padding, dilation), ceil_mode)
    taps, step = depth_taps(kernel, stride, x)
    half = Geometry(kernel, padding=padding, dilation=dilation).half
    span = dilation[0] * (taps - 1) + 1
    left, _ = depth_window(span, step, half)
    fits = known((x.shape[0] + 2 * left - span) // step + 1 == strided(x.shape[0], step))
    if left == padding[0] and fits and step > 1 and not ceil_mode:
        sizes = (taps, *kernel), (step, *stride), (left, *padding), (dilation[0], *dilation)
        # With indices, for without them autocast on a CPU would go on in 32 bits, unlike in 2D.
        volume, _ = F.max_pool3d(volume_of(x), *sizes, return_indices=True)
        return hide_volume_like(volume, x)
    planes = F.max_pool2d(folded(x), kernel, stride, padding, dilation, ceil_mode)
    volume = unfolded(planes, x)
    if taps > 1 or step > 1:
        volume = pool_depth(volume, taps, step, half, dilation[0], _max_along_depth)
    return hide_volume_like(volume, x)


@rule(torch.nn.functional.avg_pool2d)
def avg_pool2d(func, args, kwargs):
    """``F.avg_pool2d``; a window that is the whole picture is global pooling."""
    names = "input kernel_size stride padding ceil_mode count_include_pad divisor_override"
    given = arguments(args, kwargs, names)
    x = given["input"]
    if x.dim() != 5:
        return slice_by_slice(func, args, kwargs)
    kernel, padding = pair(given["kernel_size"]), pair(given.get("padding", 0))
    stride = pair(given.get("stride") or kernel)
    plane = tuple(x.shape[-2:])
    whole = known(kernel[0] == plane[0]) and known(kernel[1] == plane[1])
    if whole and padding == (0, 0) and kernel != (1, 1):
        return over_picture(torch.mean, (x, (2, 3), True), {})
    remember_depth(x)
    _check_plane(x, Geometry(kernel, stride, padding), given.get("ceil_mode", False))
    rest = {k: v for k, v in given.items() if k in names.split()[4:]}
    planes = F.avg_pool2d(folded(x), kernel, stride, padding, **rest)
    taps, step = depth_taps(kernel, stride, x)
    half = Geometry(kernel, padding=padding).half
    volume = unfolded(planes, x)
    if taps > 1 or step > 1:
        volume = pool_depth(volume, taps, step, half, 1, _mean_along_depth)
    return hide_volume_like(volume, x)


def _check_plane(x: Hidden, geometry: Geometry, ceil_mode: bool) -> None:
    """Refuses a plane in which no window fits, or in ceil mode begins."""
    spare = geometry.stride if ceil_mode else (1, 1)
    sizes = [x.shape[i - 2] + spare[i] - 1 for i in (0, 1)]
    if any(known(geometry.plane_out(i, sizes[i]) < 1) for i in (0, 1)):
        raise too_small(x)


@rule(F.adaptive_avg_pool2d)
def adaptive_avg_pool2d(func, args, kwargs):
    """``F.adaptive_avg_pool2d``: to one value it drops the hidden axis, else pools depth alike."""
    return _adaptive(func, args, kwargs, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d, _mean_of_all)


@rule(F.adaptive_max_pool2d)
def adaptive_max_pool2d(func, args, kwargs):
    """``F.adaptive_max_pool2d``, as the average."""
    if kwargs.get("return_indices") or (len(args) > 2 and args[2]):
        return slice_by_slice(func, args, kwargs)
    return _adaptive(func, args, kwargs, F.adaptive_max_pool2d, F.adaptive_max_pool3d, _max_of_all)


def _mean_of_all(volume):
    return volume.mean((2, 3, 4), keepdim=True)


def _max_of_all(volume):
    return F.adaptive_max_pool3d(volume, 1)


def _adaptive(func, args, kwargs, in_plane, in_volume, whole):
    given = arguments(args, kwargs, "input output_size")
    x, size = given["input"], given["output_size"]
    if x.dim() != 5:
        return slice_by_slice(func, args, kwargs)
    size = tuple(size) if isinstance(size, list | tuple) else (size, size)
    plane = tuple(x.shape[i - 2] if size[i] is None else size[i] for i in (0, 1))
    if plane == (1, 1) and x.setting.statistics == "volume":
        return whole(volume_of(x)).squeeze(DEPTH)
    remember_depth(x)
    depth = min(x.shape[0], *plane) if pools_depth(x, plane) else x.shape[0]
    volume = unfolded(in_plane(folded(x), plane), x)
    if depth != x.shape[0]:
        volume = in_volume(volume, (depth, *plane))
    return hide_volume_like(volume, x)


def pools_depth(x: Hidden, plane: tuple[int, int]) -> bool:
    """Whether a pool to so small a plane takes depth with it."""
    smaller = plane[0] < x.shape[-2] and plane[1] < x.shape[-1]
    return x.setting.depth_stride and smaller and x.setting.statistics == "volume"


def over_picture(func, args, kwargs):
    """``x.mean((2, 3))`` and kin: over depth too, unless every slice keeps its own statistics."""
    x, dim = args[0], args[1] if len(args) > 1 else kwargs.get("dim")
    both = isinstance(dim, list | tuple) and len(dim) == 2 and isinstance(x, Hidden)
    if not both or x.dim() != 5 or x.setting.statistics == "slice":
        return reduction(func, args, kwargs)
    rest = arguments(args[2:3], kwargs, "keepdim")
    rest.pop("dim", None)
    return global_pool(x, func, dim, **rest)


def global_pool(x: Hidden, reduce, dims, keepdim: bool = False, **rest) -> torch.Tensor:
    """Reduces two visible axes and depth: a plain tensor, as the program expects it."""
    out = reduce(x, (0, *(d % 4 + 1 for d in dims)), keepdim=keepdim, **rest)
    return out.squeeze(0) if keepdim else out


for _name in ("mean", "amax", "amin", "sum", "logsumexp"):
    rule(getattr(torch, _name), getattr(torch.Tensor, _name))(over_picture)
