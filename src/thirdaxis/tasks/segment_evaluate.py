"""Scores label maps against the truth: Dice and HD95 of each case, Dice over all voxels."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from thirdaxis.atomic import write_text
from thirdaxis.data.classes import as_classes
from thirdaxis.data.folder import read_folder
from thirdaxis.data.volume import READERS, Volume, file_ending, read_labels, same_grid
from thirdaxis.errors import InputError
from thirdaxis.metrics.dice import GlobalDice, dice
from thirdaxis.metrics.hausdorff import hd95
from thirdaxis.metrics.table import Row, csv_text, json_text, summary
from thirdaxis.tasks.prepare import data_folder
from thirdaxis.tasks.run_folder import SETTINGS, cases_named, read_run

SCORES_CSV, SCORES_JSON = "scores.csv", "scores.json"


@dataclass(frozen=True)
class Evaluation:
    """Scores of a set of predictions.

    Args:
        rows: one a case, sorted by name.
        labels: foreground label value -> name.
        global_dice: Dice of each label over the voxels of all cases.
        unpredicted: how many label maps had no prediction.
    """

    rows: tuple[Row, ...]
    labels: dict[int, str]
    global_dice: dict[int, float]
    unpredicted: int

    def summary(self) -> dict[str, dict[str, float | int]]:
        """Per class and over all classes, as `thirdaxis.metrics.table.summary`."""
        return summary(self.rows, self.labels, self.global_dice)


@dataclass(frozen=True)
class Truth:
    """The label maps to score against; `labels` is none where no `dataset.json` names them.

    `of_value` says which classes their values are, see `thirdaxis.data.classes.Classes`.
    """

    files: dict[str, Path]
    labels: dict[int, str] | None
    complete: bool
    of_value: tuple[tuple[int, int], ...] | None = None


def find_truth(against: Path) -> Truth:
    """Finds the label maps that a path stands for.

    Args:
        against: a run folder (its held-out cases), a data set folder, or a folder of label maps.

    Returns:
        Their files by case name. A run's held-out cases have to be predicted completely.

    Raises:
        InputError: nothing to score against.
    """
    if (against / SETTINGS).is_file():
        run = read_run(against)
        folder = data_folder(run.settings)
        cases = cases_named(folder, run.validation)
        files = {case.name: case.label for case in cases if case.label is not None}
        return Truth(files, folder.labels, complete=True, of_value=folder.cases[0].of_value)
    if (against / "dataset.json").is_file():
        folder = read_folder(against)
        files = {case.name: case.label for case in folder.cases if case.label is not None}
        return Truth(files, folder.labels, complete=False)
    beside = against.parent / "dataset.json"
    names = read_folder(against.parent).labels if beside.is_file() else None
    return Truth(label_files(against), names, complete=False)


def label_files(folder: Path) -> dict[str, Path]:
    """The volume files of a folder by case name.

    Raises:
        InputError: no such folder, or no volumes in it.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    found = {
        path.name[: len(path.name) - len(file_ending(path))]: path
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name[0] != "." and file_ending(path) in READERS
    }
    if not found:
        raise InputError(f"{folder}: no label maps; expected files such as CASE.nii.gz")
    return found


def evaluate(
    predictions: Path,
    against: Path,
    out: Path | None = None,
    *,
    watch: Callable[[Sequence[str]], Iterable[str]] = lambda names: names,
) -> Evaluation:
    """Scores predictions and writes `scores.csv` and `scores.json`.

    Args:
        predictions: folder of label maps named as the cases, `CASE.nii.gz`.
        against: a run folder, a data set folder, or a folder of label maps.
        out: folder for the scores; none takes `predictions`.
        watch: wraps the case names to show progress.

    Returns:
        The scores.

    Raises:
        InputError: a prediction without a label map or on another grid, a label value that the
            data set does not have, a held-out case of a run without a prediction.
    """
    truth = find_truth(against)
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
    labels = dict(truth.labels) if truth.labels else _labels_in(truth.files.values())
    labels.pop(0, None)
    if not labels:
        raise InputError(f"{against}: the label maps hold background alone, nothing to score")
    total = GlobalDice(list(labels))
    rows = []
    for name in watch(sorted(found)):
        mine, its = _pair(found[name], truth.files[name], labels, truth.of_value)
        total.update(mine.array[0], its.array[0])
        values = list(labels)
        rows.append(
            Row(
                name,
                dice(mine.array[0], its.array[0], values),
                hd95(mine.array[0], its.array[0], its.spacing, values),
            )
        )
    scores = Evaluation(tuple(rows), labels, total.compute(), len(lacking))
    target = predictions if out is None else out
    target.mkdir(parents=True, exist_ok=True)
    write_text(target / SCORES_CSV, csv_text(rows, labels))
    write_text(target / SCORES_JSON, json_text(rows, labels, scores.global_dice))
    return scores


def _pair(
    prediction: Path,
    truth: Path,
    labels: dict[int, str],
    of_value: tuple[tuple[int, int], ...] | None,
) -> tuple[Volume, Volume]:
    mine, its = read_labels(prediction), read_labels(truth)
    its = Volume(as_classes(its.array, of_value), its.affine)
    if not same_grid(mine, its):
        raise InputError(
            f"{prediction}: not on the grid of {truth}: {mine.shape} voxels of {mine.spacing} mm, "
            f"expected {its.shape} of {its.spacing}"
        )
    for path, volume in ((prediction, mine), (truth, its)):
        unknown = sorted(set(volume.array.unique().tolist()) - {0, *labels})
        if unknown:
            raise InputError(
                f"{path}: has the label {unknown[0]}, the data set has 0 and "
                f"{', '.join(map(str, labels))}"
            )
    return mine, its


def _labels_in(files: Iterable[Path]) -> dict[int, str]:
    values: set[int] = set()
    for path in files:
        values.update(read_labels(path).array.unique().tolist())
    return {value: str(value) for value in sorted(values)}
