"""Scores label maps against the truth, alone or beside another method's: table, JSON and page."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from thirdaxis.atomic import write_text
from thirdaxis.data.volume import Volume
from thirdaxis.errors import InputError
from thirdaxis.metrics.dice import GlobalDice, dice
from thirdaxis.metrics.hausdorff import hd95
from thirdaxis.metrics.paired import Paired, paired
from thirdaxis.metrics.table import Row, csv_text, json_text, summary
from thirdaxis.tasks.segmentation.label_maps import (
    Regions,
    Truth,
    find_truth,
    label_files,
    read_pair,
    regions_of,
)

SCORES_CSV, SCORES_JSON = "scores.csv", "scores.json"
COMPARED = ("dice", "hd95_mm", "volume_error_ml")


@dataclass(frozen=True)
class Evaluation:
    """Scores of a set of predictions.

    Args:
        rows: one a case, sorted by name.
        labels: what was scored, number -> name.
        global_dice: Dice of each over the voxels of all cases.
        unpredicted: how many label maps had no prediction.
        predictions: case name -> predicted label map.
        truth: what was scored against.
        regions: which label values were scored.
        compared: label name -> score -> comparison with the other predictions; empty without.
    """

    rows: tuple[Row, ...]
    labels: dict[int, str]
    global_dice: dict[int, float]
    unpredicted: int
    predictions: dict[str, Path]
    truth: Truth
    regions: Regions
    compared: dict[str, dict[str, Paired]] = field(default_factory=dict)

    def summary(self) -> dict[str, dict[str, float | int]]:
        """Per class and over all classes, as `thirdaxis.metrics.table.summary`."""
        return summary(self.rows, self.labels, self.global_dice)

    def worst_first(self) -> list[Row]:
        """The rows by mean Dice, those without any label last."""
        return sorted(self.rows, key=lambda row: (math.isnan(row.mean_dice), row.mean_dice))


def evaluate(predictions: Path, against: Path, out: Path | None = None, **told: Any) -> Evaluation:
    """Scores predictions and writes `scores.csv` and `scores.json`.

    Args:
        predictions: as in `score`.
        against: as in `score`.
        out: folder for the scores; none takes `predictions`.
        told: what else `score` takes.

    Returns:
        The scores.

    Raises:
        InputError: as `score`.
        UsageError: as `score`.
        OSError: the files cannot be written.
    """
    scores = score(predictions, against, **told)
    target = predictions if out is None else out
    target.mkdir(parents=True, exist_ok=True)
    write_text(target / SCORES_CSV, csv_text(scores.rows, scores.labels))
    more = {"compared_with_other": _plain(scores.compared)} if scores.compared else {}
    text = json_text(scores.rows, scores.labels, scores.global_dice, more)
    write_text(target / SCORES_JSON, text)
    return scores


def score(
    predictions: Path,
    against: Path,
    *,
    labels: str | None = None,
    prediction_labels: str | None = None,
    other: Path | None = None,
    watch: Callable[[Sequence[str]], Iterable[str]] = lambda names: names,
) -> Evaluation:
    """Scores predictions.

    Args:
        predictions: folder of label maps named as the cases, `CASE.nii.gz`.
        against: a run folder, a data set folder, or a folder of label maps.
        labels: what is scored, such as `1=liver,2=lesion` or `1+2=liver,2=lesion`; other values
            are background then. None scores each label of the data set.
        prediction_labels: the same of predictions whose values differ from the truth's.
        other: another folder of predictions, to compare with over the cases that both have.
        watch: wraps the case names to show progress.

    Returns:
        The scores.

    Raises:
        InputError: a prediction without a label map or on another grid, a label value that the
            data set does not have, a held-out case of a run without a prediction, no case in
            common with the other predictions.
        UsageError: labels that cannot be read.
    """
    truth = find_truth(against)
    found = _matched(predictions, against, truth)
    regions = regions_of(truth, labels, prediction_labels)
    rivals = {} if other is None else _matched(other, against, truth)
    common = sorted(set(found) & set(rivals))
    if other is not None and not common:
        raise InputError(f"{other}: no case in common with {predictions}")
    totals = {number: GlobalDice([1]) for number in regions.names}
    rows = tuple(
        _score(name, *read_pair(found[name], truth.files[name], regions), regions, totals)
        for name in watch(sorted(found))
    )
    ours = {row.name: row for row in rows}
    theirs = [
        _score(name, *read_pair(rivals[name], truth.files[name], regions), regions, {})
        for name in watch(common)
    ]
    return Evaluation(
        rows,
        regions.names,
        {number: total.compute()[1] for number, total in totals.items()},
        len(set(truth.files) - set(found)),
        found,
        truth,
        regions,
        _compared([ours[name] for name in common], theirs, regions.names) if theirs else {},
    )


def _matched(predictions: Path, against: Path, truth: Truth) -> dict[str, Path]:
    found = label_files(predictions)
    strange = [name for name in found if name not in truth.files]
    if strange:
        raise InputError(f"{found[strange[0]]}: {against} has no label map of this name")
    lacking = [name for name in truth.files if name not in found]
    if lacking and truth.complete:
        raise InputError(
            f"{predictions}: {len(lacking)} of the {len(truth.files)} held-out cases have no "
            f"prediction, the first is {lacking[0]!r}"
        )
    return found


def _score(
    name: str, mine: Volume, its: Volume, regions: Regions, totals: Mapping[int, GlobalDice]
) -> Row:
    millilitres = float(its.affine[:3, :3].det().abs()) / 1000
    overlaps, distances, volumes = {}, {}, {}
    for number in regions.names:
        a = regions.pick(mine.array[0], regions.predicted, number)
        b = regions.pick(its.array[0], regions.true, number)
        overlaps[number] = dice(a, b, [1])[1]
        distances[number] = hd95(a, b, its.spacing, [1])[1]
        volumes[number] = (int(a.sum()) * millilitres, int(b.sum()) * millilitres)
        if number in totals:
            totals[number].update(a, b)
    return Row(name, overlaps, distances, volumes)


def _compared(
    ours: Sequence[Row], theirs: Sequence[Row], names: Mapping[int, str]
) -> dict[str, dict[str, Paired]]:
    def values(rows: Sequence[Row], score: str, number: int) -> list[float]:
        if score == "volume_error_ml":
            return [abs(row.score("volume_difference_ml", number)) for row in rows]
        return [row.score(score, number) for row in rows]

    return {
        name: {
            score: paired(values(ours, score, number), values(theirs, score, number))
            for score in COMPARED
        }
        for number, name in names.items()
    }


def _plain(compared: Mapping[str, Mapping[str, Paired]]) -> dict[str, dict[str, dict]]:
    return {
        name: {score: asdict(found) for score, found in scores.items()}
        for name, scores in compared.items()
    }
