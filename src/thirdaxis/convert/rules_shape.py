"""Rules for calls that name dimensions or sizes: a visible dimension d >= 0 is d + 1 inside."""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from thirdaxis.axes import DEPTH
from thirdaxis.convert.carrier import (
    Hidden,
    Rule,
    first_hidden,
    hidden_in,
    hide_like,
    hide_volume_like,
    rule,
    volume_of,
)
from thirdaxis.convert.rules_pointwise import broadcast, spread
from thirdaxis.convert.slices import failure, slice_by_slice, where

ABSENT = object()


def inside(dim: Any) -> Any:
    """A visible dimension, or several, as the tensor inside counts them."""
    if isinstance(dim, Sequence):
        return [inside(d) for d in dim]
    return dim + 1 if dim >= 0 else dim


def methods(name: str) -> list[Any]:
    """The function and the method of this name."""
    return [getattr(torch, name, None), getattr(torch.Tensor, name, None)]


def by_dim(names: str, position: int, default: Any = ABSENT, keyword: str = "dim") -> Rule:
    """Enters functions whose dimension stands at ``position``, and returns their rule.

    Without a dimension, and without a default, the function means the whole picture: such a call
    goes slice by slice.
    """

    def shifted(func, args, kwargs):
        if len(args) > position and isinstance(args[position], int | Sequence):
            args = (*args[:position], inside(args[position]), *args[position + 1 :])
        elif isinstance(kwargs.get(keyword), int | Sequence):
            kwargs = kwargs | {keyword: inside(kwargs[keyword])}
        elif default is not ABSENT and len(args) <= position:
            kwargs = kwargs | {keyword: inside(default)}
        else:
            return slice_by_slice(func, args, kwargs)
        return hide_like(func(*args, **kwargs), first_hidden(args, kwargs))

    for name in names.split():
        rule(*methods(name), getattr(F, name, None))(shifted)
    return shifted


reduction = by_dim("sum mean amax amin max min prod argmax argmin var std logsumexp all any", 1)
by_dim("softmax log_softmax softmin cumsum cumprod unsqueeze flip argsort", 1)
by_dim("narrow select index_select", 1)
by_dim("unbind", 1, default=0)
by_dim("glu sort", 1, default=-1)
by_dim("chunk split tensor_split", 2, default=0)
by_dim("normalize", 2, default=1)
by_dim("topk", 2, default=-1)
by_dim("repeat_interleave", 2)
by_dim("roll", 2, keyword="dims")


def shape_of(x: Hidden) -> torch.Size:
    """The shape that the program sees."""
    return x.shape[1:]


@rule(torch.Tensor.shape.__get__)
def shape(func, args, kwargs):
    """``x.shape``."""
    return shape_of(args[0])


@rule(torch.Tensor.size)
def size(func, args, kwargs):
    """``x.size()``, ``x.size(i)``."""
    visible = shape_of(args[0])
    dim = args[1] if len(args) > 1 else kwargs.get("dim")
    return visible if dim is None else visible[dim]


@rule(torch.Tensor.stride)
def stride(func, args, kwargs):
    """``x.stride()``, ``x.stride(i)``."""
    visible = args[0].stride()[1:]
    dim = args[1] if len(args) > 1 else kwargs.get("dim")
    return visible if dim is None else visible[dim]


@rule(torch.Tensor.dim, torch.Tensor.ndimension, torch.Tensor.ndim.__get__)
def rank(func, args, kwargs):
    """``x.dim()``, ``x.ndim``."""
    return args[0].dim() - 1


@rule(torch.Tensor.numel, torch.Tensor.nelement, torch.numel)
def numel(func, args, kwargs):
    """``x.numel()``."""
    return math.prod(shape_of(args[0]))


@rule(torch.Tensor.__len__)
def length(func, args, kwargs):
    """``len(x)``."""
    return shape_of(args[0])[0]


@rule(torch.Tensor.__iter__)
def iterate(func, args, kwargs):
    """``for part in x``."""
    return iter(hide_like(args[0].unbind(1), args[0]))


NEW = ("new_zeros", "new_ones", "new_empty", "new_full", "new_tensor")


@rule(*(getattr(torch.Tensor, name) for name in NEW))
def new(func, args, kwargs):
    """A fresh tensor of a given shape is a plain one."""
    return func(*args, **kwargs)


def sizes_from(args: tuple, kwargs: dict, keyword: str) -> list[int]:
    """``f(x, 2, 3)``, ``f(x, (2, 3))`` and ``f(x, shape=(2, 3))`` as a list."""
    given = args[1:] or (kwargs[keyword],)
    return list(given[0]) if isinstance(given[0], Sequence) else list(given)


@rule(torch.reshape, torch.Tensor.reshape, torch.Tensor.view)
def reshape(func, args, kwargs):
    """Reshapes every slice; a view too, for memory is not laid out as the program sees it."""
    x = args[0]
    if len(args) > 1 and isinstance(args[1], torch.dtype):
        return hide_like(x.view(args[1]), x)
    keyword = "shape" if "shape" in kwargs else "size"
    sizes = sizes_from(args, kwargs, keyword)
    return hide_like(x.reshape(x.shape[0], *sizes), x)


@rule(torch.Tensor.view_as, torch.Tensor.reshape_as)
def reshape_as(func, args, kwargs):
    """Reshapes every slice as another tensor is."""
    x, other = args
    if not isinstance(x, Hidden):
        return func(x, other[0])
    visible = shape_of(other) if isinstance(other, Hidden) else other.shape
    return hide_like(x.reshape(x.shape[0], *visible), x)


@rule(torch.Tensor.expand)
def expand(func, args, kwargs):
    """Expands every slice."""
    x, sizes = args[0], sizes_from(args, kwargs, "size")
    return hide_like(spread(x, len(sizes)).expand(x.shape[0], *sizes), x)


@rule(torch.Tensor.expand_as)
def expand_as(func, args, kwargs):
    """Expands every slice as another tensor is."""
    x, other = args
    if isinstance(x, Hidden):
        visible = shape_of(other) if isinstance(other, Hidden) else other.shape
        return hide_like(spread(x, len(visible)).expand(x.shape[0], *visible), x)
    return hide_like(x.expand(other.shape), other)


@rule(torch.Tensor.repeat, torch.Tensor.tile, torch.tile)
def repeat(func, args, kwargs):
    """Repeats every slice."""
    x, counts = args[0], sizes_from(args, kwargs, "dims" if "dims" in kwargs else "repeats")
    counts = [1] * (x.dim() - 1 - len(counts)) + counts
    return hide_like(spread(x, len(counts)).repeat(1, *counts), x)


@rule(*methods("permute"))
def permute(func, args, kwargs):
    """Permutes the visible dimensions."""
    x, dims = args[0], sizes_from(args, kwargs, "dims")
    visible = x.dim() - 1
    return hide_like(x.permute(0, *(d % visible + 1 for d in dims)), x)


@rule(*methods("transpose"), *methods("swapaxes"), *methods("swapdims"))
@rule(*methods("movedim"), *methods("moveaxis"))
def transpose(func, args, kwargs):
    """Swaps or moves visible dimensions."""
    kwargs = {key: inside(dim) for key, dim in kwargs.items()}
    return hide_like(func(args[0], *(inside(dim) for dim in args[1:]), **kwargs), args[0])


@rule(torch.Tensor.T.__get__, torch.Tensor.H.__get__, torch.t, torch.Tensor.t)
def turned(func, args, kwargs):
    """``x.T`` of a matrix."""
    x = args[0]
    if x.dim() != 3:
        return slice_by_slice(lambda s: s.T, args, kwargs)
    return hide_like(x.transpose(1, 2), x)


@rule(*methods("squeeze"))
def squeeze(func, args, kwargs):
    """Drops visible dimensions of size one; depth stays, even of one slice."""
    x = args[0]
    dims = args[1] if len(args) > 1 else kwargs.get("dim")
    if dims is None:
        dims = [d for d, n in enumerate(shape_of(x)) if n == 1]
    dims = inside(dims if isinstance(dims, Sequence) else [dims])
    return hide_like(x.squeeze(tuple(dims)), x)


@rule(*methods("flatten"))
def flatten(func, args, kwargs):
    """Flattens visible dimensions."""
    x, *bounds = args
    start = bounds[0] if bounds else kwargs.get("start_dim", 0)
    end = bounds[1] if len(bounds) > 1 else kwargs.get("end_dim", -1)
    return hide_like(x.flatten(inside(start), inside(end)), x)


@rule(*methods("unflatten"))
def unflatten(func, args, kwargs):
    """Splits a visible dimension."""
    x = args[0]
    dim = args[1] if len(args) > 1 else kwargs["dim"]
    sizes = args[2] if len(args) > 2 else kwargs.get("sizes", kwargs.get("unflattened_size"))
    return hide_like(x.unflatten(inside(dim), sizes), x)


@rule(torch.Tensor.contiguous)
def contiguous(func, args, kwargs):
    """Contiguous as a volume is: depth lies before the last two dimensions."""
    x = args[0]
    if x.dim() < 4:
        return hide_like(x.contiguous(), x)
    return hide_like(x.movedim(0, -3).contiguous().movedim(-3, 0), x)


@rule(torch.cat, torch.concat, torch.concatenate, torch.stack)
def join(func, args, kwargs):
    """Joins carriers and plain tensors; a plain one is the same in every slice."""
    tensors = list(args[0] if args else kwargs["tensors"])
    dim = args[1] if len(args) > 1 else kwargs.get("dim", kwargs.get("axis", 0))
    carriers = list(hidden_in(tensors))
    depth = carriers[0].shape[0]
    if any(x.shape[0] != depth for x in carriers):
        raise failure(func, carriers, RuntimeError())
    tensors = [t if isinstance(t, Hidden) else t.expand(depth, *t.shape) for t in tensors]
    if func is not torch.stack and tensors[0].dim() == 5:
        # As volumes, so that the result lies in memory as they do.
        joined = torch.cat([volume_of(t) for t in tensors], (DEPTH, 0, 1, 3, 4)[inside(dim)])
        return hide_volume_like(joined, carriers[0])
    return hide_like(func(tensors, inside(dim)), carriers[0])


@rule(torch.Tensor.__getitem__)
def getitem(func, args, kwargs):
    """Indexes every slice alike."""
    x, index = args
    index = index if isinstance(index, tuple) else (index,)
    advanced = [i for i, part in enumerate(index) if isinstance(part, torch.Tensor | list)]
    apart = len(advanced) > 1 and advanced[-1] - advanced[0] + 1 > len(advanced)
    if not isinstance(x, Hidden) or apart or any(True for _ in hidden_in(index)):
        return slice_by_slice(func, args, kwargs)
    return hide_like(x[(slice(None), *index)], x)


@rule(torch.Tensor.__setitem__)
def setitem(func, args, kwargs):
    """Writes into every slice alike."""
    x, index, value = args
    index = index if isinstance(index, tuple) else (index,)
    if not isinstance(x, Hidden):
        raise failure(func, [value], RuntimeError("a volume is written into a plain tensor"))
    if any(True for _ in hidden_in(index)):
        if isinstance(value, torch.Tensor):
            raise failure(func, [x], RuntimeError(f"masked assignment in {where()}"))
        x[index[0] if len(index) == 1 else index] = value
        return
    target = x[(slice(None), *index)]
    if isinstance(value, Hidden):
        value = spread(value, target.dim() - 1)
    x[(slice(None), *index)] = value


@rule(torch.Tensor.__contains__)
def contains(func, args, kwargs):
    """``value in x``."""
    return bool(broadcast(torch.eq, args, kwargs).any())
