"""Scores of detections on lesion phantoms: thin and thick slices, open and covered nodules."""

import csv
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np

from thirdaxis.data.lesions.deeplesion import read_deeplesion
from thirdaxis.data.lesions.key_slice import KeySlice
from thirdaxis.metrics.bootstrap import bootstrap
from thirdaxis.metrics.froc import HEADLINE, RATES, Froc

THIN, THICK = 2.0, 5.0


@lru_cache
def test_slices(data: Path) -> tuple[KeySlice, ...]:
    """The key slices that all runs are judged by."""
    return tuple(one for one in read_deeplesion(data).slices if one.split == "test")


@lru_cache
def covered_lesions(data: Path) -> list[bool]:
    """Of each lesion of the test slices, whether only the comparison of slices tells it."""
    of: dict[str, list[bool]] = {}
    with (data / "things.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            series, _, number = row["File_name"].removesuffix(".png").rpartition("_")
            if row["kind"] == "nodule":
                of.setdefault(f"{series}/{number}", []).append(row["covered"] == "1")
    return [one for key in test_slices(data) for one in of[key.name]]


def means_of(scored: list[Froc], slices: tuple[KeySlice, ...]) -> Callable[..., dict[str, float]]:
    """The mean FROC of runs over all slices, thin and thick ones, by how often each one counts."""
    kinds = {
        "all": [True] * len(slices),
        "thin": [one.spacing[0] <= THIN for one in slices],
        "thick": [one.spacing[0] == THICK for one in slices],
    }
    parts = {}
    for kind, chosen in kinds.items():
        places = np.flatnonzero(chosen)
        names = [slices[place].name for place in places]
        if names:
            parts[kind] = places, [one.part(names) for one in scored]

    def means(weights: np.ndarray) -> dict[str, float]:
        found = {kind: float("nan") for kind in kinds}
        for kind, (places, same) in parts.items():
            if weights[places].any():
                curves = [one.curve(weights[places]) for one in same]
                values = [np.interp(RATES[:HEADLINE], *curve).mean() for curve in curves]
                found[kind] = float(np.mean(values))
        return found | {"gap": found["thin"] - found["thick"]}

    return means


def closed_line(
    depth: int, tsm: dict[int, Froc], aligned: dict[int, Froc], slices: tuple[KeySlice, ...]
) -> str:
    """How much nearer thin and thick slices are with alignshift than with tsm, paired by seed."""
    seeds = tsm.keys() & aligned.keys()
    both = [means_of([scored[seed] for seed in seeds], slices) for scored in (tsm, aligned)]

    def nearer(weights: np.ndarray) -> float:
        shift, aligned = (abs(means(weights)["gap"]) for means in both)
        return shift - aligned

    ends = bootstrap(
        lambda chosen: {"nearer": nearer(np.bincount(chosen, minlength=len(slices)).astype(float))},
        len(slices),
        cases=[one.patient for one in slices],
        draws=500,
    )
    value = nearer(np.ones(len(slices)))
    return f"| {depth} | {len(seeds)} | {value:+.3f} | {between(ends['nearer'])} |"


def between(ends: tuple[float, float]) -> str:
    """An interval as the table tells it."""
    return f"{ends[0]:.3f} to {ends[1]:.3f}"
