"""Rules for resizing and padding: depth comes back to what it was at that height and width."""

import torch
import torch.nn.functional as F

from thirdaxis.axes import DEPTH, HEIGHT, known
from thirdaxis.convert.carrier import Hidden, hide_like, hide_volume_like, rule
from thirdaxis.convert.rules_conv import arguments, remember_depth, restored_depth
from thirdaxis.convert.rules_pool import folded, unfolded
from thirdaxis.convert.slices import slice_by_slice
from thirdaxis.fusion.depth import by_rows, repeat_slices

NAMES = "input size scale_factor mode align_corners recompute_scale_factor antialias"
EXACT = 2**23  # voxels of a row up to which torch finds each one's place exactly, in 32 bits


@rule(F.interpolate, F.upsample)
def interpolate(func, args, kwargs):
    """``F.interpolate``: depth follows height and width, in the same or the linear manner."""
    given = arguments(args, kwargs, NAMES)
    x = given.pop("input")
    if x.dim() != 5:
        return slice_by_slice(func, args, kwargs)
    remember_depth(x)
    planes = F.interpolate(folded(x), **given)
    depth = depth_at(x, (planes.shape[-2], planes.shape[-1]))
    volume = resize_depth(
        unfolded(planes, x), depth, given.get("mode", "nearest"), given.get("align_corners")
    )
    return hide_volume_like(volume, x)


@rule(F.upsample_nearest, F.upsample_bilinear)
def upsample(func, args, kwargs):
    """The old names of ``F.interpolate``."""
    given = arguments(args, kwargs, "input size scale_factor")
    linear = func is F.upsample_bilinear
    mode = {"mode": "bilinear", "align_corners": True} if linear else {"mode": "nearest"}
    return interpolate(F.interpolate, (), given | mode)


def depth_at(x: Hidden, plane: tuple[int, int]) -> int:
    """Slices that belong to a resized plane: as seen there before, else by the same factor."""
    if not x.setting.depth_stride:
        return x.shape[0]
    return restored_depth(x, plane, (x.shape[0] * plane[0] - 1) // x.shape[-2] + 1)


def resize_depth(volume, depth: int, mode: str, align_corners: bool | None) -> torch.Tensor:
    """Resizes depth alone: nearest for nearest modes, else linear; by rows it is faster."""
    if known(depth == volume.shape[DEPTH]):
        return volume
    if align_corners and isinstance(depth, torch.SymInt):
        return _between_ends(volume, depth)
    nearest = mode in {"nearest", "nearest-exact"}
    how = {"mode": mode} if nearest else {"mode": "bilinear", "align_corners": align_corners}
    height, width = volume.shape[HEIGHT:]
    if known(height * width < EXACT):
        return by_rows(F.interpolate, volume, (depth, height * width), **how)
    how["mode"] = mode if nearest else "trilinear"
    return F.interpolate(volume, (depth, height, width), **how)


def _between_ends(volume, depth: int) -> torch.Tensor:
    """Linear along depth, ends on ends: as ``F.interpolate``, which asks if there is one slice."""
    last = volume.shape[DEPTH] - 1
    steps = torch.arange(depth, device=volume.device, dtype=volume.dtype)
    place = steps * last / (steps[-1:].clamp(min=1))
    before = place.long().clamp(max=last)
    after = (before + 1).clamp(max=last)
    share = (place - before).view(-1, 1, 1)
    return torch.lerp(volume.index_select(DEPTH, before), volume.index_select(DEPTH, after), share)


@rule(F.pad)
def pad(func, args, kwargs):
    """``F.pad``: the plane is padded; a convolution that follows pads depth in the same mode."""
    given = arguments(args, kwargs, "input pad mode value")
    x, mode = given["input"], given.get("mode", "constant")
    pads = list(given["pad"])
    if mode == "constant":
        out = hide_like(F.pad(x, pads, mode, given.get("value")), x)
    elif x.dim() == 5 and len(pads) == 4:
        out = hide_volume_like(unfolded(F.pad(folded(x), pads, mode), x), x)
        out.padded = (mode, (pads[2], pads[0]))
    else:
        return slice_by_slice(func, args, kwargs)
    return out


@rule(F.pixel_shuffle)
def pixel_shuffle(func, args, kwargs):
    """``F.pixel_shuffle``: depth comes back by repeating slices where it is strided."""
    x = args[0]
    planes = func(*args, **kwargs)
    if x.dim() != 5:
        return hide_like(planes, x)
    depth = depth_at(x, (planes.shape[-2], planes.shape[-1]))
    factor = -(-depth // x.shape[0])
    return hide_volume_like(repeat_slices(planes.movedim(0, DEPTH), factor, depth), x)


@rule(F.pixel_unshuffle)
def pixel_unshuffle(func, args, kwargs):
    """``F.pixel_unshuffle``: slices stay, as channels take what the plane gives."""
    return hide_like(func(*args, **kwargs), args[0])
