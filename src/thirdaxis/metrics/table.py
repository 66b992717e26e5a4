"""Scores of many cases as a table: rows, a summary, and both as CSV and JSON text."""

import csv
import io
import json
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from thirdaxis.metrics.bootstrap import bootstrap


@dataclass(frozen=True)
class Row:
    """Scores of one case, by class; nan and inf as they come.

    Args:
        name: of the case.
        dice: Dice.
        hd95_mm: HD95 in mm.
        volumes_ml: predicted and true volume in ml.
    """

    name: str
    dice: Mapping[int, float]
    hd95_mm: Mapping[int, float] = field(default_factory=dict)
    volumes_ml: Mapping[int, tuple[float, float]] = field(default_factory=dict)

    @property
    def mean_dice(self) -> float:
        """Mean Dice over the classes that occur in the case, nan where none does."""
        return _mean([score for score in self.dice.values() if not math.isnan(score)])

    def score(self, name: str, value: int) -> float:
        """One score of a class by its name, nan where it has none; see `SCORES`."""
        return SCORES[name](self, value)


def _difference(row: Row, value: int) -> float:
    found, true = row.volumes_ml.get(value, (math.nan, math.nan))
    return found - true


def _percent(row: Row, value: int) -> float:
    found, true = row.volumes_ml.get(value, (math.nan, math.nan))
    if true == 0:
        return math.nan if found == 0 else math.inf
    return 100 * (found - true) / true


SCORES: dict[str, Callable[[Row, int], float]] = {
    "dice": lambda row, value: row.dice.get(value, math.nan),
    "hd95_mm": lambda row, value: row.hd95_mm.get(value, math.nan),
    "volume_ml": lambda row, value: row.volumes_ml.get(value, (math.nan, math.nan))[0],
    "true_volume_ml": lambda row, value: row.volumes_ml.get(value, (math.nan, math.nan))[1],
    "volume_difference_ml": _difference,
    "volume_difference_percent": _percent,
}
"""Scores of a class in a case: volume differences are predicted less true, in percent of true."""


def summary(
    rows: Sequence[Row], labels: Mapping[int, str], global_dice: Mapping[int, float]
) -> dict[str, dict[str, float | int]]:
    """Summarises scores by class name, and over the classes under "mean".

    Args:
        rows: one a case.
        labels: class value to name; those in `global_dice` are summarised.
        global_dice: Dice over all voxels by class.

    Returns:
        For each class: of Dice over the cases that have the class `_mean`, `_sd` (of the sample),
        `_median` and the ends `_low` and `_high` of a 95 % bootstrap interval of the mean over
        cases; the number of cases left out because neither map has the class (`absent`); Dice over
        all voxels; the same of the finite HD95 in mm, of the volume difference in ml, and of the
        sizes of the volume difference in ml and in percent (`volume_error_`); the number of
        infinite HD95. Under "mean" the means over the classes of `dice_mean`, `dice_global` and
        `hd95_mm_mean`, the interval of the first, and the sum of the infinite ones.
    """
    table = {labels[value]: _column(rows, value, global_dice[value]) for value in global_dice}
    columns = list(table.values())
    table["mean"] = {
        key: _mean([column[key] for column in columns if not math.isnan(column[key])])
        for key in ("dice_mean", "dice_global", "hd95_mm_mean")
    }
    each = np.array([[row.score("dice", value) for value in global_dice] for row in rows])
    table["mean"] |= _interval("dice", each)
    table["mean"]["hd95_infinite"] = sum(int(column["hd95_infinite"]) for column in columns)
    return table


def csv_text(rows: Sequence[Row], labels: Mapping[int, str]) -> str:
    """One line a case: name, mean Dice, and each of `SCORES` of every class.

    Args:
        rows: one a case.
        labels: class value to name, the classes to print in this order.

    Returns:
        CSV with a header line; nan and inf are printed as such.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    heads = [f"{score} {name}" for score in SCORES for name in labels.values()]
    writer.writerow(["case", "mean_dice", *heads])
    for row in rows:
        scores = [row.score(score, value) for score in SCORES for value in labels]
        writer.writerow([row.name, *(f"{score:.6g}" for score in (row.mean_dice, *scores))])
    return out.getvalue()


def json_text(
    rows: Sequence[Row],
    labels: Mapping[int, str],
    global_dice: Mapping[int, float],
    further: Mapping[str, Any] | None = None,
) -> str:
    """The summary and all rows as strict JSON: nan is null, infinite is "inf".

    Args:
        rows: one a case.
        labels: class value to name.
        global_dice: Dice over all voxels by class.
        further: what else to tell.

    Returns:
        Indented JSON text, an object with "summary", "cases" and what else there is.
    """
    cases = [
        {
            "case": row.name,
            "mean_dice": row.mean_dice,
            **{
                score: {name: row.score(score, value) for value, name in labels.items()}
                for score in SCORES
            },
        }
        for row in rows
    ]
    content = {"summary": summary(rows, labels, global_dice), **(further or {}), "cases": cases}
    return json.dumps(strict(content), indent=2, allow_nan=False) + "\n"


def _column(rows: Sequence[Row], value: int, global_dice: float) -> dict[str, float | int]:
    dice, distances, differences, percents = (
        np.array([row.score(name, value) for row in rows])
        for name in ("dice", "hd95_mm", "volume_difference_ml", "volume_difference_percent")
    )
    return {
        **_spread("dice", dice),
        "dice_global": global_dice,
        "absent": int(np.isnan(dice).sum()),
        **_spread("hd95_mm", distances),
        "hd95_infinite": int(np.isinf(distances).sum()),
        **_spread("volume_difference_ml", differences),
        **_spread("volume_error_ml", abs(differences)),
        **_spread("volume_error_percent", abs(percents)),
    }


def _spread(name: str, values: np.ndarray) -> dict[str, float | int]:
    finite = values[np.isfinite(values)].tolist()
    return {
        f"{name}_mean": _mean(finite),
        f"{name}_sd": statistics.stdev(finite) if len(finite) > 1 else math.nan,
        f"{name}_median": statistics.median(finite) if finite else math.nan,
        **_interval(name, np.where(np.isfinite(values), values, np.nan)[:, None]),
    }


def _interval(name: str, values: np.ndarray) -> dict[str, float | int]:
    """Of the mean over cases, then over classes; cases are drawn, their classes stay together."""

    def mean(drawn: np.ndarray) -> dict[str, float]:
        some = values[drawn]
        known = np.isfinite(some)
        counts = known.sum(0)
        means = np.where(known, some, 0).sum(0)[counts > 0] / counts[counts > 0]
        return {"mean": float(means.mean()) if len(means) else math.nan}

    enough = len(values) > 1
    low, high = bootstrap(mean, len(values))["mean"] if enough else (math.nan, math.nan)
    return {f"{name}_low": low, f"{name}_high": high}


def _mean(values: Sequence[float]) -> float:
    return statistics.fmean(values) if values else math.nan


def strict(content: Any) -> Any:
    """What strict JSON can hold: nan as null, infinite numbers as words."""
    if isinstance(content, dict):
        return {key: strict(value) for key, value in content.items()}
    if isinstance(content, list):
        return [strict(value) for value in content]
    if isinstance(content, float) and not math.isfinite(content):
        return None if math.isnan(content) else str(content)
    return content
