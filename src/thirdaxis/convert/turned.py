"""Blocks that work on planes of another orientation, or on all voxels at once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thirdaxis.axes import in_example, known
from thirdaxis.convert.blocks import MOST_PREFIX, Turn
from thirdaxis.convert.carrier import Call, ConversionError, Hidden, Setting, hide
from thirdaxis.convert.entry import Part, map_tensors, tensors_in
from thirdaxis.convert.grids import Grid, grid_of, in_numbers
from thirdaxis.convert.rotary import recomputed
from thirdaxis.convert.sides import is_pair, pairs_told, with_pair
from thirdaxis.errors import ThirdaxisError

FROM = {"HW": (0, 1, 2), "DW": (1, 0, 2), "DH": (2, 0, 1)}  # left out, rows, columns
WHOLE = "DHW"


@dataclass(frozen=True)
class Move:
    """From slices to the planes of a block, and back.

    Attributes:
        plane: axes that the block works on.
        pooling: what becomes of tokens without a place on the way there.
        grid: of the slices.
        depth: how many slices there are.
        name: of the block.
    """

    plane: str
    pooling: str
    grid: Grid
    depth: int
    name: str

    @property
    def sizes(self) -> tuple[int, ...]:
        """Planes, rows and columns for the block; for all voxels 1, and the sides of the volume."""
        volume = (self.depth, *self.grid.sides)
        return (1, *volume) if self.plane == WHOLE else tuple(volume[i] for i in FROM[self.plane])

    @property
    def same_sides(self) -> bool:
        """Whether the block gets planes of the sides that its slices have."""
        pairs = zip(self.sizes[1:], self.grid.sides, strict=False)
        return self.plane != WHOLE and all(known(one == other) for one, other in pairs)

    def there(self, x: Tensor) -> Tensor:
        """A tensor of slices as one of planes."""
        grid, count = self.grid, self.sizes[0]
        if self.plane == "HW" and self.pooling == "group":
            return x
        if grid.is_map(x) and self.plane != WHOLE:
            return _permuted(x, (0, grid.rows, grid.rows + 1), FROM[self.plane])
        if not grid.is_sequence(x):
            return resampled(self._placeless(x, grid), count, self.pooling)
        at = grid.tokens
        voxels = x.narrow(at, grid.prefix, grid.area).unflatten(at, grid.sides)
        if self.plane == WHOLE:
            voxels = _in_order(voxels.movedim(0, at - 1)).flatten(at - 1, at + 1).unsqueeze(0)
        else:
            voxels = _permuted(voxels, (0, at, at + 1), FROM[self.plane])
            voxels = _in_order(voxels).flatten(at, at + 1)
        return self._joined(resampled(self._prefix(x), count, self.pooling), voxels)

    def back(self, x: Tensor) -> Tensor:
        """A tensor of planes, of which the block has made others, as one of slices."""
        grid = self.grid
        inverse = tuple(FROM[self.plane].index(i) for i in range(3)) if self.plane in FROM else ()
        if self.plane == WHOLE:
            turned = replace(grid, sides=(self.depth * grid.sides[0], grid.sides[1]))
        else:
            turned = replace(grid, sides=(self.sizes[1], self.sizes[2]))
        if turned.is_map(x) and inverse:
            return _permuted(x, (0, grid.rows, grid.rows + 1), inverse)
        if not turned.is_sequence(x):
            return resampled(self._placeless(x, turned), self.depth, "group")
        at = grid.tokens
        voxels = x.narrow(at, grid.prefix, turned.area)
        if self.plane == WHOLE:
            voxels = voxels.select(0, 0).unflatten(at - 1, (self.depth, *grid.sides))
            voxels = _in_order(voxels.movedim(at - 1, 0)).flatten(at, at + 1)
        else:
            voxels = voxels.unflatten(at, turned.sides)
            voxels = _permuted(voxels, (0, at, at + 1), inverse)
            voxels = _in_order(voxels).flatten(at, at + 1)
        return self._joined(resampled(self._prefix(x), self.depth, "group"), voxels)

    def _prefix(self, x: Tensor) -> Tensor:
        return x.narrow(self.grid.tokens, 0, self.grid.prefix)

    def _joined(self, prefix: Tensor, voxels: Tensor) -> Tensor:
        return torch.cat([prefix, voxels], self.grid.tokens) if self.grid.prefix else voxels

    def _placeless(self, x: Tensor, grid: Grid) -> Tensor:
        """A tensor that has no place in a slice, such as class tokens by themselves."""
        small = x.dim() < 4 or (x.dim() == 4 and x.shape[grid.tokens] <= MOST_PREFIX)
        if small or (x.dim() == 5 and tuple(x.shape[-2:]) == (1, 1)):
            return x
        height, width = grid.sides
        raise ConversionError(
            f"block {self.name!r} takes or gives {tuple(x.shape[1:])} where its planes "
            f"{self.plane} are {height} x {width}: only blocks that keep their sides can work on "
            'turned planes; leave it out by overrides={name: "slicewise"}'
        )


def _permuted(x: Tensor, axes: Sequence[int], source: Sequence[int]) -> Tensor:
    """Puts at each of three axes what stands at another of them."""
    order = list(range(x.dim()))
    for place, i in zip(axes, source, strict=True):
        order[place] = axes[i]
    return x.permute(order)


def _in_order(x: Tensor) -> Tensor:
    """The same in plain order; a reshape would ask a traced graph whether sizes are one."""
    return x.clone(memory_format=torch.contiguous_format)


def resampled(x: Tensor, count: int, pooling: str) -> Tensor:
    """What belongs to slices, for so many planes: pooled along dimension 0, or the mean of all."""
    if pooling == "mean":
        x = x.mean(0, keepdim=True)
    if known(x.shape[0] == count):
        return x
    if known(x.shape[0] == 1):
        return x.expand(count, *x.shape[1:])
    last = x.movedim(0, -1)
    return (
        F.adaptive_avg_pool1d(last.flatten(0, -2), count).unflatten(0, x.shape[1:]).movedim(-1, 0)
    )


class Turned(Part):
    """Stands before the forward of a block, which it gives other planes of the volume."""

    def __init__(
        self,
        module: nn.Module,
        setting: Setting,
        outer: Setting | None,
        handwritten: bool,
        turn: Turn,
    ) -> None:
        """Binds a block's forward.

        Args:
            module: the block.
            setting: how it is lifted.
            outer: see `Part`.
            handwritten: see `Part`.
            turn: the planes that it works on.
        """
        super().__init__(module, setting, outer, handwritten)
        self.simple, self.turn = False, turn
        for part in module.modules():  # windows that timm masks for one size alone, if not told
            if "dynamic_mask" in vars(part):
                part.dynamic_mask = True  # type: ignore[assignment]

    def run(self, args: tuple, kwargs: dict) -> Any:
        """Turns what comes, runs the block, and turns back what it answers."""
        turn = self.turn
        given = [x for x in tensors_in((args, kwargs)) if isinstance(x, Hidden)]
        if not given:
            return super().run(args, kwargs)
        setting, call = given[0].setting, given[0].call
        with given[0].bare():
            grid = grid_of(given, pairs_told(args, kwargs), turn, call)
            move = Move(turn.plane, turn.pooling, grid, given[0].shape[0], turn.name)
            args, kwargs = self._placed(args, kwargs, move, call)
        thickness = call.thickness if turn.plane == "HW" else None
        inner = Call(log=call.log, thickness=thickness, plane=turn.plane)
        within = replace(setting, depth_stride=False)  # what strides in a block strides no volume

        def there(x: Tensor) -> Tensor:
            if not isinstance(x, Hidden):
                return x
            with x.bare():
                planes = move.there(x)
                return hide(planes.view_as(planes), within, inner)

        def back(x: Tensor) -> Tensor:
            if not isinstance(x, Hidden):
                return x
            with x.bare():
                slices = move.back(x)
                return hide(slices.view_as(slices), setting, call)

        args, kwargs = map_tensors((args, kwargs), there)
        try:
            output = super().run(args, kwargs)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, ValueError, AssertionError, IndexError) as error:
            expected = isinstance(error, ThirdaxisError) and not isinstance(error, ConversionError)
            if move.same_sides or expected:
                raise
            raise _refusal(move, error) from error
        if type(output) in (tuple, list) and len(move.sizes) == 3:  # it may tell sides as well
            output = with_pair(tuple(output), {}, move.sizes[1:], grid.sides)[0]
        return map_tensors(output, back)

    def _placed(self, args: tuple, kwargs: dict, move: Move, call: Call) -> tuple[tuple, dict]:
        """The arguments, with sides and positions of the plane in place of the slice's.

        Raises:
            ConversionError: positions, or sides kept in the block, that cannot be replaced.
        """
        if move.same_sides:
            return args, kwargs
        grid, module = move.grid, self.module
        lengths = in_numbers((grid.area, grid.prefix + grid.area))

        def placed(value: Any) -> Any:
            found = [x for x in tensors_in(value) if not isinstance(x, Hidden)]
            rows = [x for x in found if x.dim() > 1 and in_example(x.shape[-2]) in lengths]
            masks = [x for x in found if x.dim() > 0 and in_example(x.shape[-1]) in lengths]
            masks = [x for x in masks if x.dtype is torch.bool]
            if not rows and not masks:
                return value
            fresh = self._positions(rows, move, call) if len(rows) == len(found) else None
            if fresh is None:
                raise _refusal(
                    move, ValueError("it gets positions or a mask for the slices from outside")
                )
            rest = iter(fresh)
            return map_tensors(value, lambda x: x if isinstance(x, Hidden) else next(rest))

        here, there = in_numbers(grid.sides), in_numbers(move.sizes[1:])
        for part in module.modules():
            kept = [tuple(value) for value in vars(part).values() if is_pair(value)]
            if here in kept and here == there[::-1] != there:  # as many tokens, in another order
                raise _refusal(move, ValueError(f"{type(part).__name__} keeps the sides"))
            mask = part._buffers.get("attn_mask")
            if mask is not None and "dynamic_mask" not in vars(part):
                raise _refusal(move, ValueError(f"{type(part).__name__} keeps a mask"))
        args = tuple(placed(value) for value in args)
        kwargs = {name: placed(value) for name, value in kwargs.items()}
        return with_pair(args, kwargs, grid.sides, move.sizes[1:])

    def _positions(self, given: list[Tensor], move: Move, call: Call) -> list[Tensor] | None:
        """Rotary positions of the planes; once a call where nothing is drawn at random."""
        turn = self.turn
        sides, key = move.sizes[1:], (tuple(map(id, given)), in_numbers(move.sizes))
        if key in call.grids:
            return call.grids[key][1]
        try:
            fresh = recomputed(given, turn.positions, turn.number, move.grid.sides, sides)
        except ValueError as error:
            raise _refusal(move, error) from error
        if not any(module.training for module in turn.positions):
            call.grids[key] = given, fresh  # with what was given, whose identity has to last
        return fresh


def _refusal(move: Move, error: Exception) -> ConversionError:
    """One line on why a block does not take its planes."""
    said = str(error).strip() or type(error).__name__
    height, width = move.grid.sides
    sides = " x ".join(map(str, move.sizes[1:]))
    what = (
        f"all {sides} voxels at once" if move.plane == WHOLE else f"planes {move.plane} of {sides}"
    )
    return ConversionError(
        f"block {move.name!r} does not take {what}, where its slices are {height} x {width}: "
        f"{said.splitlines()[0].split('; ')[0]}; "
        + (
            "it is made for sequences without positions of its own: convert with 'planecycle'"
            if move.plane == WHOLE
            else f"give volumes whose maps are cubes (here {height} x {height} x {height}), "
            'resample their depth, or leave the block out by overrides={name: "slicewise"}'
        )
    )
