"""Rules for normalisation and for dropout of whole channels."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from thirdaxis.convert.carrier import (
    Hidden,
    hide_like,
    hide_volume_like,
    layer,
    rule,
    volume_of,
)
from thirdaxis.convert.slices import slice_by_slice
from thirdaxis.errors import InputError


@rule(F.batch_norm, torch.batch_norm, F.local_response_norm, F.dropout3d, F.dropout2d)
def on_volume(func, args, kwargs):
    """Calls that a volume takes as it is: statistics per channel; a channel dropped as a whole."""
    args, kwargs = _input_first(args, kwargs)
    x, rest = args[0], args[1:]
    func = F.dropout3d if func is F.dropout2d else func
    if not isinstance(x, Hidden) or x.dim() != 5:
        return _on_features(func, x, rest, kwargs)
    try:
        out = soundly(func, volume_of(x), *rest, **kwargs)
    except ValueError as error:
        raise InputError(f"{error!s}; give a larger volume or a larger batch") from error
    return hide_volume_like(out, x)


@layer(nn.BatchNorm2d)
def batch_norm_layer(norm, x):
    """A batch norm that keeps statistics, of volumes of more than one value a channel."""
    kept = norm.track_running_stats and norm.num_batches_tracked is not None
    if not kept or norm.momentum is None or x.dim() != 5 or x.numel() == x.shape[2]:
        return NotImplemented
    if norm.training:
        norm.num_batches_tracked.add_(1)
    known = norm.weight, norm.bias, norm.running_mean, norm.running_var
    asked = norm.training, norm.momentum, norm.eps, torch.backends.cudnn.enabled
    return hide_volume_like(soundly(torch.batch_norm, volume_of(x), *known, *asked), x)


@layer(nn.SyncBatchNorm)
def shared_norm_layer(norm, x):
    """A batch norm over the volumes of all devices, which asks a process group, not a rule."""
    if x.dim() != 5:
        return NotImplemented
    return hide_volume_like(nn.SyncBatchNorm.forward(norm, volume_of(x)), x)


@rule(F.group_norm, torch.group_norm, F.instance_norm, torch.instance_norm)
def per_sample_norm(func, args, kwargs):
    """Group and instance norms: over the volume, or each slice by itself."""
    args, kwargs = _input_first(args, kwargs)
    x, rest = args[0], args[1:]
    if x.dim() != 5:
        return slice_by_slice(func, args, kwargs)
    if x.setting.statistics == "volume":
        return hide_volume_like(soundly(func, volume_of(x), *rest, **kwargs), x)
    slices = x.flatten(0, 1)
    return hide_like(soundly(func, slices, *rest, **kwargs).unflatten(0, x.shape[:2]), x)


def soundly(func, x: torch.Tensor, *args, **kwargs) -> torch.Tensor:
    """A norm whose gradient is right for a single sample, slice, row or column too.

    Where a size is one its stride may be anything, and a tensor can be in channels-last order
    without having the strides that belong to it, as transposed tokens do. On a CPU, torch's own
    backward of batch norm (seen in 2.8 and 2.15; instance norm is built on it) is silently wrong
    for such an input or gradient. They are copied in plain order first.
    """
    if type(x) is not torch.Tensor or not torch.is_grad_enabled() or 1 not in x.shape:
        return func(x, *args, **kwargs)
    if torch.compiler.is_compiling():
        return func(x, *args, **kwargs)
    out = func(in_order(x), *args, **kwargs)
    if out.requires_grad:
        out.register_hook(in_order)
    return out


def in_order(x: torch.Tensor) -> torch.Tensor:
    """The same numbers, laid out so that no memory format can be mistaken for another."""
    channels_last = torch.channels_last_3d if x.dim() == 5 else torch.channels_last
    if x.is_contiguous() or not x.is_contiguous(memory_format=channels_last):
        return x
    natural = [math.prod(x.shape[i + 1 :]) * x.shape[1] for i in range(x.dim())]
    natural[:2] = [x.numel(), 1]
    return x if list(x.stride()) == natural else x.clone(memory_format=torch.contiguous_format)


def _input_first(args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    if args:
        return args, kwargs
    rest = dict(kwargs)
    return (rest.pop("input"),), rest


def _on_features(func, x, rest, kwargs):
    """The same for (N, C) and (N, C, L) features: every slice is one more sample."""
    if not isinstance(x, Hidden) or func is not F.batch_norm:
        return slice_by_slice(func, (x, *rest), kwargs)
    out = func(x.flatten(0, 1), *rest, **kwargs)
    return hide_like(out.unflatten(0, x.shape[:2]), x)
