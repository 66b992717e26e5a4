"""A whole volume through a network that was trained on patches."""

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from monai.data.utils import compute_importance_map, dense_patch_slices
from torch import Tensor, nn
from torch.nn import functional as F

from thirdaxis.convert.lift import beside
from thirdaxis.errors import UsageError, did_you_mean
from thirdaxis.tasks.progress import Told, tell_nobody

# Beyond this many output numbers the open slab is kept in main memory, not on the card.
MOST_ON_DEVICE = 2**28
AXES = {"depth": 2, "height": 3, "width": 4}


def logits_of(
    net: nn.Module,
    image: Tensor,
    patch: tuple[int, int, int],
    overlap: float | Sequence[float],
    windows: int = 4,
    thickness: float = 1.0,
    rim: int = 0,
) -> Tensor:
    """Slides the network over a volume and blends its windows with Gaussian weights.

    A volume smaller than the patch is padded with zeros and the result cut back.

    Args:
        net: maps (N, C, d, h, w) to logits (N, classes, d, h, w), on any device.
        image: (C, D, H, W), on any device.
        patch: window size (d, h, w) in voxels.
        overlap: of neighbouring windows, 0 to below 1, along all axes or along each.
        windows: windows run together.
        thickness: distance between slices in mm, for operators that ask.
        rim: slices at either end of a window whose answers do not count, as the network has learnt
            none there; beyond the ends of the volume its last slices stand in for neighbours.

    Returns:
        Logits (classes, D, H, W), float32, on the network's device, or on the CPU for volumes
        beyond `MOST_ON_DEVICE` numbers a patch's depth.
    """
    slabs = logit_slabs(net, image, patch, overlap, windows=windows, thickness=thickness, rim=rim)
    return torch.cat(list(slabs), dim=1)


def logit_slabs(
    net: nn.Module,
    image: Tensor,
    patch: tuple[int, int, int],
    overlap: float | Sequence[float],
    *,
    windows: int = 4,
    thickness: float = 1.0,
    rim: int = 0,
    flips: Sequence[str] = (),
    precision: AbstractContextManager[object] | None = None,
    told: Told = tell_nobody,
) -> Iterator[Tensor]:
    """As `logits_of`, in slabs along depth, each given as soon as no window touches it any more.

    Memory holds one patch's depth of blended numbers, however long the scan is.

    Args:
        net: as in `logits_of`.
        image: as in `logits_of`.
        patch: as in `logits_of`.
        overlap: as in `logits_of`.
        windows: as in `logits_of`.
        thickness: as in `logits_of`.
        rim: as in `logits_of`.
        flips: axes (`depth`, `height`, `width`): the probabilities of each window are averaged
            over all combinations of flips along them, and their logarithms blended.
        precision: an autocast in which the network runs.
        told: called with the windows done and their number.

    Yields:
        Logits (classes, d, H, W), float32, that follow each other along depth.

    Raises:
        UsageError: an unknown axis in `flips`, or windows that are all rim.
    """
    turns = turns_of(flips)
    if patch[0] <= 2 * rim:
        raise UsageError(
            f"windows of {patch[0]} slices have none inside a rim of {rim} at either end, which "
            f"loss_rim told; take a predict_patch of {2 * rim + 1} slices or more"
        )
    device = next((weight.device for weight in net.parameters()), image.device)
    rows = slice(rim, rim + image.shape[1])
    ends = F.pad(image, (0, 0, 0, 0, rim, rim), mode="replicate") if rim else image
    padded, inside = _padded(ends, patch)
    sizes = tuple(padded.shape[1:])
    shares = overlap if isinstance(overlap, Sequence) else (overlap,) * 3
    steps = [
        size if size == whole else max(int(size * (1 - share)), 1)
        for size, whole, share in zip(patch, sizes, shares, strict=True)
    ]
    steps[0] = min(steps[0], patch[0] - 2 * rim)
    places = dense_patch_slices(sizes, patch, steps)
    weights = compute_importance_map(patch, mode="gaussian", sigma_scale=0.125, device=device)
    weights[:rim] = weights[patch[0] - rim :] = 0
    sums = torch.empty(0)  # (classes + 1, d, H, W): weighted logits, and the weights themselves
    begun = done = 0
    for start, row in itertools.groupby(places, key=lambda place: place[0].start):
        if start > begun:
            yield from _within(_mean(sums[:, : start - begun], inside), begun, rows)
            sums = torch.cat([sums[:, start - begun :], sums[:, : start - begun].zero_()], dim=1)
            begun = start
        while batch := list(itertools.islice(row, windows)):
            parts = torch.stack([padded[(slice(None), *place)] for place in batch]).to(device)
            with torch.no_grad(), precision or nullcontext():
                answers = _answers(net, parts, thickness, turns)
            if not sums.numel():
                sums = _open_slab(answers.shape[1], (patch[0], *sizes[1:]), device)
            for place, answer in zip(batch, answers, strict=True):
                weighted = torch.cat([answer * weights, weights[None]])
                sums[:, :, place[1], place[2]] += weighted.to(sums.device)
            done += len(batch)
            told(done, len(places))
    yield from _within(_mean(sums, inside), begun, rows)


def _within(slab: Tensor, begun: int, rows: slice) -> Iterator[Tensor]:
    """What of a slab that begins at some slice lies within these slices, if anything."""
    inner = slab[:, max(rows.start - begun, 0) : max(rows.stop - begun, 0)]
    if inner.shape[1]:
        yield inner


def turns_of(flips: Sequence[str]) -> list[tuple[int, ...]]:
    """Every combination of axes of (N, C, D, H, W), none of them first.

    Raises:
        UsageError: an unknown axis.
    """
    for name in flips:
        if name not in AXES:
            raise UsageError(f"no axis {name!r} to flip{did_you_mean(name, AXES)}")
    axes = sorted({AXES[name] for name in flips})
    return [turn for size in range(len(axes) + 1) for turn in itertools.combinations(axes, size)]


def _padded(image: Tensor, patch: Sequence[int]) -> tuple[Tensor, tuple[slice, slice, slice]]:
    """The image at least as large as the patch, zeros on both sides, and where it lies in that."""
    sizes = tuple(image.shape[1:])
    lacking = [max(want - have, 0) for want, have in zip(patch, sizes, strict=True)]
    before = [short // 2 for short in lacking]
    if any(lacking):
        sides = [(lead, short - lead) for lead, short in zip(before, lacking, strict=True)]
        image = F.pad(image, [size for side in reversed(sides) for size in side])
    d, h, w = (slice(lead, lead + size) for lead, size in zip(before, sizes, strict=True))
    return image, (d, h, w)


def _answers(
    net: nn.Module, parts: Tensor, thickness: float, turns: Sequence[tuple[int, ...]]
) -> Tensor:
    """Logits of windows; of several turns the logarithm of their mean probability."""
    told = beside(net, parts, thickness)
    if len(turns) == 1:
        return net(parts, **told).float()
    logs = [net(parts.flip(turn), **told).float().flip(turn).log_softmax(1) for turn in turns]
    return torch.stack(logs).logsumexp(0) - math.log(len(turns))


def _open_slab(classes: int, sizes: tuple[int, ...], device: torch.device) -> Tensor:
    shape = (classes + 1, *sizes)
    large = math.prod(shape) > MOST_ON_DEVICE
    return torch.zeros(shape, device="cpu" if large else device)


def _mean(sums: Tensor, inside: tuple[slice, slice, slice]) -> Tensor:
    # Only a volume that is one window deep is padded along depth.
    rows = inside[0] if inside[0].start or inside[0].stop < sums.shape[1] else slice(None)
    return (sums[:-1, rows] / sums[-1:, rows])[:, :, inside[1], inside[2]]
