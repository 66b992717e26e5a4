"""Dice of unions of classes, such as a liver with its tumours, on the held-out scans of a run."""

import math

import torch
from torch import Tensor

from thirdaxis.data.volume import read_labels
from thirdaxis.errors import UsageError, did_you_mean
from thirdaxis.metrics.dice import GlobalDice, dice
from thirdaxis.tasks.plan import Plan
from thirdaxis.tasks.prepare import data_folder, labelled_case
from thirdaxis.tasks.run_folder import VALIDATION, Run, cases_named
from thirdaxis.tasks.segment_settings import SegmentSettings


def regions_of(settings: SegmentSettings, labels: dict[int, str]) -> dict[str, list[int]]:
    """Name -> classes of the unions that a run is to be scored by.

    Raises:
        UsageError: a class that the run does not have.
    """
    numbers = {name: number for number, name in labels.items() if number}
    for region, names in (settings.regions or {}).items():
        for name in names:
            if name not in numbers:
                raise UsageError(
                    f"regions: {region}: no class {name!r}{did_you_mean(name, numbers)}"
                )
    return {
        region: [numbers[name] for name in names]
        for region, names in (settings.regions or {}).items()
    }


def score_regions(run: Run[SegmentSettings, Plan]) -> dict[str, dict[str, float | None]]:
    """Scores the label maps of a finished run.

    Args:
        run: its held-out scans are predicted.

    Returns:
        Region -> `dice_mean` over the scans that have it in either map (Dice per case) and
        `dice_global` over all voxels together; none where no scan has it. Empty without regions.
    """
    regions = regions_of(run.settings, run.plan.labels)
    if not regions:
        return {}
    cases: dict[str, list[float]] = {name: [] for name in regions}
    totals = {name: GlobalDice([1]) for name in regions}
    for case in cases_named(data_folder(run.settings), run.validation):
        _, truth = labelled_case(case, run.plan.labels)
        found = read_labels(run.folder / VALIDATION / f"{case.name}.nii.gz")
        for name, members in regions.items():
            both = union(found.array[0], members), union(truth.array[0], members)
            totals[name].update(*both)
            cases[name].append(dice(*both, [1])[1])
    return {
        name: {
            "dice_mean": _finite(float(torch.tensor(cases[name]).nanmean())),
            "dice_global": _finite(totals[name].compute()[1]),
        }
        for name in regions
    }


def union(labels: Tensor, members: list[int]) -> Tensor:
    """1 where a label map has one of the classes, 0 elsewhere."""
    return torch.isin(labels, torch.tensor(members, dtype=labels.dtype)).long()


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
