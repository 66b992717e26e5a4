"""Scores of many cases as a table: rows, a summary, and both as CSV and JSON text."""

import csv
import io
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Row:
    """Scores of one case: for each class its Dice and its HD95 in mm (nan and inf as they come)."""

    name: str
    dice: Mapping[int, float]
    hd95_mm: Mapping[int, float] = field(default_factory=dict)

    @property
    def mean_dice(self) -> float:
        """Mean Dice over the classes that occur in the case, nan where none does."""
        return _mean([score for score in self.dice.values() if not math.isnan(score)])


def summary(
    rows: Sequence[Row], labels: Mapping[int, str], global_dice: Mapping[int, float]
) -> dict[str, dict[str, float | int]]:
    """Summarises scores by class name, and over the classes under "mean".

    Args:
        rows: one a case.
        labels: class value to name; those in `global_dice` are summarised.
        global_dice: Dice over all voxels by class.

    Returns:
        For each class: mean and median of Dice over the cases that have the class, the number of
        cases left out because neither map has it (`absent`), Dice over all voxels, mean and
        median of the finite HD95 in mm and the number of infinite ones. Under "mean" the means
        over the classes of `dice_mean`, `dice_global` and `hd95_mm_mean`, and the sum of the
        infinite ones.
    """
    table = {labels[value]: _column(rows, value, global_dice[value]) for value in global_dice}
    columns = list(table.values())
    table["mean"] = {
        key: _mean([column[key] for column in columns if not math.isnan(column[key])])
        for key in ("dice_mean", "dice_global", "hd95_mm_mean")
    }
    table["mean"]["hd95_infinite"] = sum(int(column["hd95_infinite"]) for column in columns)
    return table


def csv_text(rows: Sequence[Row], labels: Mapping[int, str]) -> str:
    """One line a case: name, mean Dice, Dice and HD95 (mm) of every class.

    Args:
        rows: one a case.
        labels: class value to name, the classes to print in this order.

    Returns:
        CSV with a header line; nan and inf are printed as such.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    dice_heads = [f"dice {name}" for name in labels.values()]
    hd95_heads = [f"hd95_mm {name}" for name in labels.values()]
    writer.writerow(["case", "mean_dice", *dice_heads, *hd95_heads])
    for row in rows:
        scores = [row.dice.get(value, math.nan) for value in labels]
        scores += [row.hd95_mm.get(value, math.nan) for value in labels]
        writer.writerow([row.name, *(f"{score:.6g}" for score in (row.mean_dice, *scores))])
    return out.getvalue()


def json_text(
    rows: Sequence[Row], labels: Mapping[int, str], global_dice: Mapping[int, float]
) -> str:
    """The summary and all rows as strict JSON: nan is null, infinite is "inf".

    Args:
        rows: one a case.
        labels: class value to name.
        global_dice: Dice over all voxels by class.

    Returns:
        Indented JSON text, an object with "summary" and "cases".
    """
    cases = [
        {
            "case": row.name,
            "mean_dice": row.mean_dice,
            "dice": {labels[value]: score for value, score in row.dice.items()},
            "hd95_mm": {labels[value]: score for value, score in row.hd95_mm.items()},
        }
        for row in rows
    ]
    content = {"summary": summary(rows, labels, global_dice), "cases": cases}
    return json.dumps(_strict(content), indent=2, allow_nan=False) + "\n"


def _column(rows: Sequence[Row], value: int, global_dice: float) -> dict[str, float | int]:
    scores = [row.dice.get(value, math.nan) for row in rows]
    present = [score for score in scores if not math.isnan(score)]
    distances = [row.hd95_mm.get(value, math.nan) for row in rows]
    finite = [distance for distance in distances if math.isfinite(distance)]
    return {
        "dice_mean": _mean(present),
        "dice_median": statistics.median(present) if present else math.nan,
        "dice_global": global_dice,
        "absent": len(scores) - len(present),
        "hd95_mm_mean": _mean(finite),
        "hd95_mm_median": statistics.median(finite) if finite else math.nan,
        "hd95_infinite": sum(math.isinf(distance) for distance in distances),
    }


def _mean(values: Sequence[float]) -> float:
    return statistics.fmean(values) if values else math.nan


def _strict(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _strict(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_strict(value) for value in content]
    if isinstance(content, float) and not math.isfinite(content):
        return None if math.isnan(content) else str(content)
    return content
