"""Ways through a whole series: a window for each slice as in training, or long slabs at once."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import torch
from torch import Tensor

from thirdaxis.errors import UsageError, did_you_mean
from thirdaxis.nets.lesion.detector import LesionDetector
from thirdaxis.tasks.detection.stacks import Mix

Item = TypeVar("Item")
Answer = tuple[int, dict[str, Tensor]]
"""Number of a key slice, and what was found on it."""

MODES = ("windows", "slab")
# Their answers move with the series along depth, whatever its number of slices.
MOVE_ALONG = (
    *("slicewise", "i3d", "p3d", "acs", "mean_acs", "soft_acs", "psc", "tsm", "alignshift"),
    "stacked",
)


@dataclass(frozen=True)
class Looking:
    """How a detector goes through a series.

    Args:
        mode: ``windows``: each slice with its neighbours, exactly as in training; ``slab``: the
            backbone runs once over long slabs, which is faster, but not what a network that looks
            along depth has learnt: its windows had nothing beyond their ends, or beyond the context
            it was trained with. Slabs of resampled
            series go through it at the interval, and a slice takes the answer of the nearest place.
        batch: windows at once.
        slab: key slices of a slab.
        context: further slices on each side of a slab, whose own answers are not used.

    Raises:
        UsageError: another mode, or a number below what makes sense.
    """

    mode: str = "windows"
    batch: int = 4
    slab: int = 24
    context: int = 8

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UsageError(f"no mode {self.mode!r}{did_you_mean(self.mode, MODES)}")
        if self.batch < 1 or self.slab < 1 or self.context < 0:
            raise UsageError(
                f"batch and slab are 1 or more, context is 0 or more; not batch={self.batch}, "
                f"slab={self.slab}, context={self.context}"
            )


def check_slab(net: LesionDetector) -> None:
    """Whether a detector may run over slabs.

    Raises:
        UsageError: its operator has to know the number of slices, or does not treat all alike.
    """
    told = net.settings.fusion
    name = told if isinstance(told, str) else told.name
    fixed = net.backbone.fixed_depth
    if fixed is None and name in MOVE_ALONG:
        return
    why = (
        f"this network is made for exactly {fixed}"
        if fixed is not None
        else f"the answers of {name} do not move along with the series"
    )
    raise UsageError(
        f"mode 'slab' runs over any number of slices, but {why}; take mode 'windows', or train "
        f"with one of {', '.join(MOVE_ALONG[:-1])}"
    )


def through_windows(
    net: LesionDetector,
    prepared: Callable[[Sequence[Mix]], Tensor],
    stacks: Sequence[Sequence[Mix]],
    thickness: float,
    batch: int,
) -> Iterator[Answer]:
    """Answers for each key slice from its own window.

    What the network does before slices are first mixed is done once a slice.

    Args:
        net: in evaluation mode.
        prepared: gives slices ``(M, 1, 1, H, W)`` as the network takes them, on its device.
        stacks: of each key slice.
        thickness: mm between the slices of a stack.
        batch: key slices at once.

    Yields:
        The key slices in order.
    """
    last = {mix: key for key, stack in enumerate(stacks) for mix in stack}
    kept: dict[Mix, tuple[Tensor, ...]] = {}
    size = (0, 0)
    for start in range(0, len(stacks), batch):
        here = range(start, min(start + batch, len(stacks)))
        kept = {mix: parts for mix, parts in kept.items() if last[mix] >= start}
        fresh = dict.fromkeys(mix for key in here for mix in stacks[key] if mix not in kept)
        for some in batched(fresh, batch):
            slices = prepared(some)
            size = (int(slices.shape[-2]), int(slices.shape[-1]))
            kept |= zip(some, zip(*net.before_fusion(slices), strict=True), strict=True)
        stacked = [
            [torch.cat(each, 1) for each in zip(*(kept[mix] for mix in stacks[key]), strict=True)]
            for key in here
        ]
        parts = [torch.stack(each) for each in zip(*stacked, strict=True)]
        levels = net.after(parts, parts[0].new_full((len(here),), thickness))
        yield from zip(here, net.detections(net.flat(levels), size), strict=True)


def through_slabs(
    net: LesionDetector,
    prepared: Callable[[Sequence[int]], Tensor],
    count: int,
    wanted: Sequence[int],
    thickness: float,
    how: Looking,
    seen: int,
) -> Iterator[Answer]:
    """Answers for key slices out of long slabs, in which the depth reductions slide.

    Args:
        net: in evaluation mode.
        prepared: gives slices ``(M, 1, 1, H, W)`` by number as the network takes them.
        count: of the slices.
        wanted: key slices, ascending.
        thickness: mm between slices.
        how: the length of slabs and their context.
        seen: slices of a window, as the network was trained on them.

    Yields:
        The wanted key slices in order.
    """
    half = seen // 2
    for start in range(0, count, how.slab):
        stop = min(start + how.slab, count)
        keys = [key for key in wanted if start <= key < stop]
        if not keys:
            continue
        first = max(start - how.context, 0) - half
        last = min(stop + how.context, count) + half
        # Beyond the ends of the series its last slices stand in, as in a window.
        slices = prepared([min(max(number, 0), count - 1) for number in range(first, last)])
        slab = slices.movedim(0, 2).reshape(1, 1, len(slices), *slices.shape[-2:])
        size = (int(slab.shape[-2]), int(slab.shape[-1]))
        maps = net.flat(net.levels(slab, slab.new_full((1,), thickness)))
        for some in batched(keys, how.batch):
            chosen = maps[[key - first - half for key in some]]
            yield from zip(some, net.detections(chosen, size), strict=True)


def batched(items: Iterable[Item], most: int) -> Iterator[tuple[Item, ...]]:
    """The items in order, so many at once at most."""
    left = iter(items)
    while some := tuple(islice(left, most)):
        yield some
