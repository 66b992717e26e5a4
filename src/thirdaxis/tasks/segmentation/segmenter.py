"""A trained network on a scan in any grid: slab by slab to a label map on the scan's own grid."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from thirdaxis.data.grid import onto, to_grid
from thirdaxis.data.volume import Volume
from thirdaxis.errors import InputError, UsageError, did_you_mean
from thirdaxis.tasks.hardware import autocast
from thirdaxis.tasks.progress import Told, tell_nobody
from thirdaxis.tasks.segmentation.components import keep_largest
from thirdaxis.tasks.segmentation.plan import Plan
from thirdaxis.tasks.segmentation.preprocess import preprocessing
from thirdaxis.tasks.segmentation.settings import SegmentSettings
from thirdaxis.tasks.segmentation.windows import logit_slabs, turns_of

ROUNDING = 1e-6  # of places in voxels

Keep = Callable[[int, int, Tensor], None]
"""Is given a class, the first row and the probabilities (d, H, W) of rows of the turned scan."""


@dataclass(frozen=True)
class Inference:
    """How a trained network is run.

    Args:
        overlap: of neighbouring windows, 0 to below 1; none takes the run's own.
        flips: axes (`depth`, `height`, `width`) over whose flips the probabilities are averaged.
        precision: `32` or `bf16`, on a CPU too; none takes the run's own on a graphics card, and
            32 bits on a CPU.
        largest: names of the labels of which the largest connected component alone is kept, or
            `all`; none follows the run's `largest_component`.

    Raises:
        UsageError: an overlap, an axis or a precision that does not exist.
    """

    overlap: float | None = None
    flips: tuple[str, ...] = ()
    precision: str | None = None
    largest: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.overlap is not None and not 0 <= self.overlap < 1:
            raise UsageError(f"overlap is a share from 0 to below 1, not {self.overlap:g}")
        if self.precision not in (None, "32", "bf16"):
            raise UsageError(f"precision is '32' or 'bf16', not {self.precision!r}")
        turns_of(self.flips)


@dataclass(frozen=True)
class Segmenter:
    """A trained network and all it needs to be run on a scan."""

    net: nn.Module
    settings: SegmentSettings
    plan: Plan
    device: torch.device

    def __call__(
        self,
        scan: Volume,
        how: Inference | None = None,
        *,
        keep: Keep | None = None,
        told: Told = tell_nobody,
    ) -> Tensor:
        """Segments a scan; memory beyond the scan's own does not grow with the classes.

        Args:
            scan: (C, D, H, W) on any grid.
            how: how the network is run; none as its run says.
            keep: is given the probabilities as they come, on the grid of `turned`.
            told: called with the windows done and their number.

        Returns:
            Label values (D, H, W), int16, on the scan's own grid.

        Raises:
            InputError: another number of channels than the network was trained on.
            UsageError: a label in `how` that does not exist.
        """
        how = how or Inference()
        self.check(scan)
        largest = self.labels_kept_whole(how)
        seen = preprocessing(self.settings, self.plan).image(scan)
        slabs = logit_slabs(
            self.net,
            seen.array,
            self.plan.window or self.plan.patch,
            self.settings.overlap if how.overlap is None else how.overlap,
            thickness=seen.spacing[0],
            rim=self.settings.loss_rim,
            flips=how.flips,
            precision=_autocast(self.settings, how.precision, self.device),
            told=told,
        )
        like = self.turned(scan)
        labels = torch.zeros(1, *like.shape, dtype=torch.int16)
        for start, rows, target in _on_rows(slabs, seen, like):
            best = torch.full(target.shape, -1.0)
            chosen = labels[0, start : start + len(best)]
            for value, one in enumerate(rows.array.softmax(0).cpu()):
                moved = onto(Volume(one[None], rows.affine), target, mode="bilinear").array[0]
                if keep is not None:
                    keep(value, start, moved)
                better = moved > best
                chosen[better] = value
                best = torch.where(better, moved, best)
        if largest:
            keep_largest(labels[0], largest)
        return onto(Volume(labels, like.affine), scan).array[0]

    def check(self, scan: Volume) -> None:
        """Refuses a scan with other channels than the network was trained on.

        Raises:
            InputError: with both numbers.
        """
        channels = self.plan.channels
        if scan.array.shape[0] != len(channels):
            raise InputError(
                f"the scan has {scan.array.shape[0]} channels, the network was trained on "
                f"{len(channels)} ({', '.join(channels)})"
            )

    def turned(self, scan: Volume) -> Volume:
        """The scan's grid in the network's orientation, with one channel of nothing."""
        empty = torch.zeros(1, dtype=torch.bool).expand(1, *scan.shape)
        turned = to_grid(Volume(empty, scan.affine), self.settings.orientation)
        return Volume(torch.zeros(1).expand(1, *turned.shape), turned.affine)

    def labels_kept_whole(self, how: Inference) -> tuple[int, ...]:
        """The label values of which one connected component is kept.

        Raises:
            UsageError: a name that no label has.
        """
        names = how.largest
        if names is None:
            names = ("all",) if self.settings.largest_component else ()
        known = {self.plan.labels[value]: value for value in self.plan.foreground}
        for name in names:
            if name not in known and name != "all":
                raise UsageError(f"no label {name!r}{did_you_mean(name, ['all', *known])}")
        return self.plan.foreground if "all" in names else tuple(known[name] for name in names)


def _on_rows(
    slabs: Iterable[Tensor], seen: Volume, like: Volume
) -> Iterator[tuple[int, Volume, Volume]]:
    """The slabs of `seen`, with the rows of `like` that each suffices to interpolate.

    Both grids have the same axes; where they are the same grid, slabs and rows match exactly.

    Yields:
        The first row, a slab of the seen grid, and those rows of the other grid.
    """
    step = torch.linalg.solve(seen.affine, like.affine)  # index of `like` -> index of `seen`
    places = step[0, 0] * torch.arange(like.shape[0]) + step[0, 3]
    begun = done = 0
    held = torch.empty(0)
    for slab in slabs:
        held = torch.cat([held, slab], dim=1) if held.numel() else slab
        end = begun + held.shape[1]
        # A row lies between two of the slab's; beyond the scan's ends it takes the last one.
        enough = end == seen.shape[0]
        ready = like.shape[0] if enough else int((places <= end - 1 + ROUNDING).sum())
        if ready == done:
            continue
        yield done, _shifted(seen, begun, held), _shifted(like, done, like.array[:, done:ready])
        if ready < like.shape[0]:
            still = min(max(int((places[ready] + ROUNDING).floor()), begun), end)
            begun, held = still, held[:, still - begun :]
        done = ready


def _shifted(volume: Volume, rows: int, array: Tensor) -> Volume:
    affine = volume.affine.clone()
    affine[:3, 3] += rows * affine[:3, 0]
    return Volume(array, affine)


def _autocast(
    settings: SegmentSettings, precision: str | None, device: torch.device
) -> AbstractContextManager[object]:
    if precision is not None:
        return autocast("bf16-mixed" if precision == "bf16" else "32", device)
    # What was trained in mixed precision on a CPU, to save time, is not run so unasked.
    return autocast(settings.precision if device.type == "cuda" else "32", device)
