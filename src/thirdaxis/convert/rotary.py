"""Rotary positions of a plane, or of a volume, computed anew by the network's own module."""

import copy
import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from thirdaxis.axes import Pair, pair
from thirdaxis.convert.entry import tensors_in

EVERY = 4  # one in so many frequencies of rows and of columns turns with depth in a volume
SMALL = (11, 13)  # a grid on which no two frequencies look alike


def computes_positions(module: nn.Module) -> bool:
    """Whether a module computes rotary positions for any two sides, in a way that is known.

    By ``get_embed(shape=)`` as in timm, by ``forward(H=, W=)`` as in the code of DINOv3, or from
    the shape of the pictures as in transformers.
    """
    return hasattr(module, "get_embed") or _by_sides(module) or _by_pictures(module)


def _by_sides(module: nn.Module) -> bool:
    if type(module).forward is nn.Module.forward:
        return False
    return set(inspect.signature(type(module).forward).parameters) == {"self", "H", "W"}


def _by_pictures(module: nn.Module) -> bool:
    told = getattr(module, "config", None)
    return hasattr(module, "inv_freq") and hasattr(module, "num_patches_h") and bool(told)


def embedded(module: nn.Module, sides: Pair) -> list[torch.Tensor]:
    """The tensors that a module computes for a grid of these sides."""
    if _by_sides(module):
        return tensors_in(module(H=sides[0], W=sides[1]))
    if _by_pictures(module):
        told: Any = module
        patch = pair(told.config.patch_size)
        pixel = told.inv_freq.new_zeros(())
        size = (1, 1, sides[0] * patch[0], sides[1] * patch[1])
        return tensors_in(module(pixel.expand(size)))
    get: Any = module.get_embed
    asked = (sides, (sides[0] + 1, sides[1]))
    found = [tensors_in(get(shape=list(two))) for two in asked]
    if all(x[0].shape[-2] == two[0] * two[1] for x, two in zip(found, asked, strict=True)):
        return found[0]
    twin: Any = copy.deepcopy(module)  # it keeps the positions of one grid, whatever is asked
    twin.update_feat_shape(list(sides))
    return tensors_in(twin.get_embed())


def recomputed(
    given: Sequence[torch.Tensor],
    modules: Sequence[nn.Module],
    number: int,
    sides: Pair,
    turned: Sequence[int],
) -> list[torch.Tensor] | None:
    """Positions for other sides in place of those that a block was given; None if unknown.

    Args:
        given: position tensors for the tokens of one slice, tokens last but one.
        modules: those that may have computed them.
        number: place of the block, where each block has positions of its own.
        sides: height and width of the slice.
        turned: the two sides of the plane, or the three of the volume.
    """
    for module in modules:
        flat = embedded(module, sides)
        if len(flat) != len(given):
            continue
        each = flat[0].dim() == given[0].dim() + 1
        flat = [x[number] for x in flat] if each and number < len(flat[0]) else flat
        if not all(_are_those(x, y, module) for x, y in zip(flat, given, strict=True)):
            continue
        if len(turned) == 3:
            fresh = _in_volume(module, turned)
        else:
            fresh = embedded(module, (turned[0], turned[1]))
        fresh = [x[number] for x in fresh] if each else fresh
        return [x.to(y) for x, y in zip(fresh, given, strict=True)]
    return None


def _are_those(computed: torch.Tensor, given: torch.Tensor, module: nn.Module) -> bool:
    if computed.shape != given.shape:
        return False
    if module.training or torch.compiler.is_compiling() or given.is_meta:
        return True  # numbers may be drawn at random, or are not there
    return torch.allclose(computed.to(given), given, atol=1e-3)


def _in_volume(module: nn.Module, sides: Sequence[int]) -> list[torch.Tensor]:
    """Positions of all voxels: some frequencies of the rows and of the columns are depth's."""
    depth, height, width = sides
    plane, rows, columns = (
        embedded(module, two) for two in ((height, width), (depth, width), (height, depth))
    )
    halves = 2 if len(plane) == 1 else 1  # sines and cosines in one tensor, or in one each
    found = []
    for x, r, c, small in zip(plane, rows, columns, embedded(module, SMALL), strict=True):
        of_row, of_column = _depths(small, halves)
        x = x.unflatten(-2, (1, height, width))
        r = r.unflatten(-2, (depth, 1, width))[..., :1, :]
        c = c.unflatten(-2, (height, depth, 1))[..., :1, :, :, :].transpose(-4, -3)
        x = torch.where(of_row, r, torch.where(of_column, c, x))
        found.append(x.flatten(-4, -2))
    return found


def _depths(small: torch.Tensor, halves: int) -> list[torch.Tensor]:
    """Channels that depth takes from the rows and from the columns, told on a small grid.

    Raises:
        ValueError: a channel turns with both.
    """
    grid = small.detach().unflatten(-2, SMALL).reshape(-1, *SMALL, small.shape[-1])[0]
    of_row = (grid == grid[:, :1]).all(0).all(0)
    of_column = (grid == grid[:1]).all(0).all(0)
    if not bool((of_row | of_column).all()):
        raise ValueError("its rotary positions turn with rows and columns at once")
    found = []
    for profiles, own in ((grid[:, 0], of_row & ~of_column), (grid[0], of_column & ~of_row)):
        parts = zip(profiles.chunk(halves, -1), own.chunk(halves), strict=True)
        found.append(torch.cat([_fourth(*part) for part in parts]))
    return found


def _fourth(profiles: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """Of the channels of one axis, those of each fourth frequency; a frequency may have several."""
    taken = torch.zeros_like(own)
    seen: list[torch.Tensor] = []
    for channel in own.nonzero().flatten().tolist():
        profile = profiles[:, channel]
        known = [i for i, other in enumerate(seen) if torch.equal(profile, other)]
        number = known[0] if known else len(seen)
        if not known:
            seen.append(profile)
        taken[channel] = number % EVERY == 1
    return taken
