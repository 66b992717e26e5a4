"""Finished runs as groups: means and deviations over seeds and folds, and tests between groups."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from thirdaxis.errors import InputError, UsageError, did_you_mean
from thirdaxis.metrics.independent import Independent, independent, mean_interval
from thirdaxis.metrics.paired import Paired
from thirdaxis.tasks.comparison.cases import over_cases
from thirdaxis.tasks.comparison.finished import Finished, find_runs, read_finished
from thirdaxis.tasks.comparison.groups import (
    REPEATS,
    Group,
    check_names,
    differing,
    grouped,
    same_task,
)

FEWER = ("hd95", "error", "mae", "rmse", "ece", "loss", "seconds", "infinite", "sd")
"""Parts of names of scores of which less is better."""


@dataclass(frozen=True)
class Row:
    """A group of runs, of a curve at one place.

    Args:
        group: the runs.
        at: value of the setting that the curve is over; none without a curve.
        values: score of each run.
        reference: whether the others are tested against it.
        against: label of the group it is tested against; none for that one, or where it is alone.
        test: over runs; none like `against`.
        cases: over the cases that both scored; none like `against`, or where there are none.
    """

    group: Group
    at: float | None
    values: tuple[float, ...]
    reference: bool = False
    against: str | None = None
    test: Independent | None = None
    cases: Paired | None = None

    @property
    def mean(self) -> float:
        """Over runs."""
        return float(np.mean(self.values))

    @property
    def sd(self) -> float:
        """Standard deviation of the sample of runs (n - 1); nan for one."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the mean, by Student's t; nan for one run."""
        return mean_interval(self.values)


@dataclass(frozen=True)
class Comparison:
    """Groups of runs of one task.

    Args:
        task: of all.
        score: name of it.
        by: settings by which they are grouped.
        curve: setting that the curve is over; none without one.
        welch: which t-test it is.
        rows: groups in the order of the runs, of a curve place by place.
        notes: what has to be known to read the numbers, a line each.
    """

    task: str
    score: str
    by: tuple[str, ...]
    curve: str | None
    welch: bool
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    @property
    def runs(self) -> int:
        """How many there are."""
        return sum(len(row.values) for row in self.rows)


def compare(
    places: Sequence[Path],
    *,
    score: str | None = None,
    by: Sequence[str] = (),
    against: str | None = None,
    curve: str | None = None,
    welch: bool = False,
) -> Comparison:
    """Compares finished runs of one task.

    Args:
        places: run folders, or folders that hold some.
        score: name of a number in their `metrics.json`; none takes the first.
        by: settings that make a group, or `name`, the folder's name without its last number; none
            takes all in which the runs differ but for seed and fold.
        against: label of the group that the others are tested against, or a part of it that no
            other has; none takes the best of several
            runs, of a curve the best at each place.
        curve: a numeric setting; groups are then compared at each of its values.
        welch: whether the t-test leaves groups their own variances.

    Returns:
        The comparison.

    Raises:
        InputError: no finished runs, runs of other tasks or data, or a run without the score.
        UsageError: an unknown score, setting or group.
    """
    folders, under_way = find_runs(places)
    runs = [read_finished(folder) for folder in folders]
    same_task(runs, by)
    check_names([*by, *([curve] if curve else [])], runs)
    told_apart = differing(runs)
    names = [name for name in (by or told_apart) if name != curve]
    chosen = _score(runs, score)
    places_on_curve = _places(runs, curve)
    groups = grouped(runs, names)
    wanted = None if against is None else _named(groups, against)
    rows: list[Row] = []
    for at in places_on_curve:
        here = [
            Group(group.label, group.told, members)
            for group in groups
            if (
                members := tuple(
                    run for run in group.runs if curve is None or run.settings[curve] == at
                )
            )
        ]
        rows += _tested(here, at, chosen, wanted, welch)
    notes = [f"not finished and left out: {folder}" for folder in under_way]
    notes += _notes(rows, [name for name in told_apart if name not in (*names, curve)])
    return Comparison(runs[0].task, chosen, tuple(names), curve, welch, tuple(rows), tuple(notes))


def better(score: str, first: float, second: float) -> bool:
    """Whether one mean is better than another: less of errors, nearer to 0 of differences."""
    if "difference" in score:
        return abs(first) < abs(second)
    fewer = any(word in FEWER for word in score.rpartition(".")[2].split("_"))
    return first < second if fewer else first > second


def _score(runs: Sequence[Finished], score: str | None) -> str:
    shared = [name for name in runs[0].scores if all(name in run.scores for run in runs)]
    if not shared:
        raise InputError(f"{runs[0].folder} and the others have no score in common")
    chosen = shared[0] if score is None else score
    if chosen not in shared:
        raise UsageError(f"--score: the runs have no {chosen!r}{did_you_mean(chosen, shared)}")
    for run in runs:
        if not math.isfinite(run.scores[chosen]):
            raise InputError(f"{run.folder}: its {chosen} is no number; choose another by --score")
    return chosen


def _places(runs: Sequence[Finished], curve: str | None) -> list[float | None]:
    if curve is None:
        return [None]
    values = [run.settings.get(curve) for run in runs]
    for run, value in zip(runs, values, strict=True):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UsageError(
                f"--curve: {curve} is {value!r} in {run.folder}; a curve is over a number"
            )
    found = sorted({float(value) for value in values if value is not None})
    if len(found) < 2:
        raise InputError(
            f"--curve: all runs have {curve} {found[0]:g}; a curve needs two values or more"
        )
    return list(found)


def _named(groups: Sequence[Group], words: str) -> str:
    labels = [group.label for group in groups]
    exact = [label for label in labels if label.lower() == words.lower()]
    found = exact or [label for label in labels if words.lower() in label.lower()]
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"--against: {words!r} is in several groups: {'; '.join(found)}")
    raise UsageError(f"--against: no group {words!r}{did_you_mean(words, labels)}")


def _tested(
    groups: Sequence[Group], at: float | None, score: str, wanted: str | None, welch: bool
) -> list[Row]:
    """The rows of one place, each but one tested against that one."""
    rows = [Row(group, at, tuple(run.scores[score] for run in group.runs)) for group in groups]
    other = next((row for row in rows if row.group.label == wanted), None)
    if wanted is None:
        other = _best([row for row in rows if len(row.values) > 1] or rows, score)
    if other is None or len(rows) == 1:
        return rows
    return [
        replace(row, reference=True)
        if row is other
        else replace(
            row,
            against=other.group.label,
            test=independent(row.values, other.values, welch=welch),
            cases=over_cases(row.group.runs, other.group.runs, score),
        )
        for row in rows
    ]


def _best(rows: Sequence[Row], score: str) -> Row:
    best = rows[0]
    for row in rows[1:]:
        best = row if better(score, row.mean, best.mean) else best
    return best


def _notes(rows: Sequence[Row], other: Sequence[str]) -> list[str]:
    notes = []
    if all(len(row.values) == 1 for row in rows):
        notes.append(
            "one run a group: no deviation and no test over runs; train other seeds, or join "
            "groups by --by"
        )
    elif any(len(row.values) == 1 for row in rows):
        notes.append("groups of one run have no deviation and no test over runs")
    if other:
        notes.append(f"runs differ in other settings too: {', '.join(other)}")
    for row in rows:
        repeats = Counter(
            tuple(run.settings.get(name) for name in REPEATS) for run in row.group.runs
        )
        twice = [told for told, count in repeats.items() if count > 1]
        if twice:
            told = ", ".join(f"{n} {v}" for n, v in zip(REPEATS, twice[0], strict=True))
            notes.append(f"{row.group.label}: several runs have {told}; they are not independent")
    return list(dict.fromkeys(notes))
