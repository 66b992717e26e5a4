"""Where on the grid of a slice the tokens and the pixels lie that reach a block."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from thirdaxis.axes import Pair, alike, in_example
from thirdaxis.convert.blocks import Turn
from thirdaxis.convert.carrier import Call, ConversionError


@dataclass(frozen=True)
class Grid:
    """How the tensors of one call of a block hold their slices; depth is their first dimension.

    Attributes:
        sides: height and width.
        prefix: tokens before those of the grid, in sequences.
        tokens: dimension of the tokens in sequences.
        rows: dimension of the height in maps; the width's is the next.
    """

    sides: Pair
    prefix: int = 0
    tokens: int = 2
    rows: int = 3

    @property
    def area(self) -> int:
        """Positions of a slice."""
        return self.sides[0] * self.sides[1]

    def is_map(self, x: torch.Tensor) -> bool:
        """Whether a tensor is a map of this grid."""
        size = x.shape[self.rows : self.rows + 2]
        return x.dim() == 5 and all(map(alike, size, self.sides))

    def is_sequence(self, x: torch.Tensor) -> bool:
        """Whether a tensor is a sequence of the tokens of this grid."""
        return x.dim() == 4 and alike(x.shape[self.tokens], self.prefix + self.area)


def grid_of(tensors: Sequence[torch.Tensor], told: Sequence[Pair], turn: Turn, call: Call) -> Grid:
    """The grid of the tensors that a block was given.

    Args:
        tensors: ordinary tensors with depth in front: maps (D, N, C, H, W) or (D, N, H, W, C),
            sequences (D, N, T, C) or (D, T, N, C).
        told: sides that the block was given in numbers beside them.
        turn: what is known of the block.
        call: what was seen in this call of the network.

    Raises:
        ConversionError: it cannot be told.
    """
    key = (turn.name, *(in_numbers(x.shape) for x in tensors))
    if key not in call.grids:  # told once: when a checkpoint runs again, more has been seen
        call.grids[key] = _found(tensors, told, turn, call)
    return call.grids[key]


def _found(tensors: Sequence[torch.Tensor], told: Sequence[Pair], turn: Turn, call: Call) -> Grid:
    seen = [plane for plane, _ in call.depths]
    for x in tensors:
        if x.dim() == 5:
            return _map_grid(x, turn, [*told, *call.planes, *seen], seen)
    sequences = [x for x in tensors if x.dim() == 4]
    tokens = 1 if turn.sequence_first else 2
    for x in sequences:
        length = x.shape[tokens]
        for planes in (told, call.planes, seen):
            rests = {
                in_example(length - height * width): (height, width) for height, width in planes
            }
            fitting = [rest for rest in rests if rest in turn.prefixes]
            if fitting:
                return Grid(rests[min(fitting)], min(fitting), tokens)
    for x in sequences:
        length = in_example(x.shape[tokens])
        found = _in_proportion(length, turn, seen)
        if found is not None:
            return Grid(found, length - found[0] * found[1], tokens)
    shapes = ", ".join(str(tuple(x.shape[1:])) for x in tensors)
    raise ConversionError(
        f"block {turn.name!r} got {shapes}, and where that lies in a slice cannot be told: say "
        "how many tokens are no part of the picture by prefix=... in the settings of the fusion, "
        'or leave the block out by overrides={name: "slicewise"}'
    )


def _map_grid(x: torch.Tensor, turn: Turn, planes: list[Pair], seen: list[Pair]) -> Grid:
    """Channels first or last: by the planes of convolutions, then by the widths of the layers."""
    first, last = (x.shape[3], x.shape[4]), (x.shape[2], x.shape[3])
    known_planes = {in_numbers(plane) for plane in planes}
    is_first, is_last = (in_numbers(sides) in known_planes for sides in (first, last))
    if is_first == is_last:
        is_first = in_example(x.shape[2]) in turn.widths
        is_last = in_example(x.shape[4]) in turn.widths
    if is_first == is_last:
        is_first = turn.convolves
    sides = first if is_first else last
    if not any(_alike_in_shape(sides, plane) for plane in [*seen, *planes]):
        raise ConversionError(
            f"block {turn.name!r} got a map of {sides[0]} x {sides[1]}, which is not of the shape "
            "of the slices: its pixels are in another order; leave the block out by "
            'overrides={name: "slicewise"}'
        )
    return Grid(sides, rows=3 if is_first else 2)


def in_numbers(sides: Sequence[int]) -> tuple[int, ...]:
    """Sides as numbers: those of the example, in a graph that is traced for any size."""
    return tuple(map(in_example, sides))


def _alike_in_shape(sides: Pair, plane: Pair) -> bool:
    """Whether a map may be a slice of these sides, made smaller or larger and rounded."""
    (height, width), whole = in_numbers(sides), in_numbers(plane)
    slack = whole[0] + whole[1]
    return abs(height * whole[1] - width * whole[0]) <= slack


def _in_proportion(length: int, turn: Turn, seen: list[Pair]) -> Pair | None:
    """The grid of so many tokens with exactly the proportions of the volume's slices."""
    for height, width in map(in_numbers, seen[:1]):
        for prefix in turn.prefixes:
            for rows in range(1, height + 1):
                columns, rest = divmod(length - prefix, rows)
                if rest == 0 and columns > 0 and rows * width == columns * height:
                    return rows, columns
    return None
