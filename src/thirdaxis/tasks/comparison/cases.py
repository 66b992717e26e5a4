"""Two groups of runs on the cases that both have scored, whichever task they are of."""

import csv
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from thirdaxis.errors import InputError
from thirdaxis.metrics.auc import roc_auc
from thirdaxis.metrics.classify import score as score_classes
from thirdaxis.metrics.paired import Paired, paired, paired_draws
from thirdaxis.tasks.classification.summary import PREDICTIONS
from thirdaxis.tasks.classification.table import Answers, read_answers
from thirdaxis.tasks.comparison.finished import Finished
from thirdaxis.tasks.run_folder import VALIDATION

AT_ONE = "sensitivity_1"
"""The score of detectors of which each image tells: lesions found at 1 false positive an image."""


def over_cases(first: Sequence[Finished], second: Sequence[Finished], score: str) -> Paired | None:
    """Compares two groups case by case; a case that several runs held out counts by their mean.

    Classes are compared by drawing patients, as their scores are of many samples together.

    Args:
        first: runs of one group.
        second: of the other.
        score: its name.

    Returns:
        The comparison, first less second; none where the score is not one of cases, or where no
        case is in both.

    Raises:
        InputError: a file of scores is damaged.
    """
    if first[0].task == "classify":
        return _over_samples(first, second, score)
    read = {"segment": _of_scans, "detect": _of_images}.get(first[0].task)
    if read is None:
        return None
    one, other = (_means([read(run.folder, score) for run in runs]) for runs in (first, second))
    shared = [
        name
        for name in sorted(set(one) & set(other))
        if math.isfinite(one[name]) and math.isfinite(other[name])
    ]
    if not shared:
        return None
    return paired([one[name] for name in shared], [other[name] for name in shared])


def _means(each: Sequence[dict[str, float]]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for scores in each:
        for name, value in scores.items():
            found.setdefault(name, []).append(value)
    return {name: float(np.mean(values)) for name, values in found.items()}


def _of_scans(folder: Path, score: str) -> dict[str, float]:
    """Scores of the held-out scans, of a mean over scans."""
    label, _, name = score.rpartition(".")
    if not name.endswith("_mean") or (not label and name != "dice_mean"):
        return {}
    stem = name.removesuffix("_mean")
    column = f"{stem.replace('error', 'difference')} {label}" if label else "mean_dice"
    size = abs if "error" in stem else float
    path = folder / VALIDATION / "scores.csv"
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            return {row["case"]: size(float(row[column])) for row in csv.DictReader(stream)}
    except FileNotFoundError:
        return {}
    except (KeyError, ValueError, TypeError, csv.Error) as error:
        raise InputError(f"{path}: not the scores of a run's scans ({error})") from None


def _of_images(folder: Path, score: str) -> dict[str, float]:
    """Share of the lesions of each image that are found at one false positive an image."""
    path = folder / "scores.json"
    if score != AT_ONE or not path.exists():
        return {}
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        if told["threshold"]["false_alarms_an_image"] != 1:
            return {}
        return {
            one["name"]: 1 - one["missed"] / one["lesions"]
            for one in told["images"]
            if one["lesions"]
        }
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path}: not the scores of a run's images ({error})") from None


def _over_samples(
    first: Sequence[Finished], second: Sequence[Finished], score: str
) -> Paired | None:
    read = [_answers(runs) for runs in (first, second)]
    every = [one for answers in read for one in answers]
    if not all(read) or len({(one.kind, one.names) for one in every}) > 1:
        return None
    patients = {
        sample: patient
        for one in every
        for sample, patient in zip(one.samples, one.patients, strict=True)
    }
    shared = sorted(
        set.intersection(*({name for one in answers for name in one.samples} for answers in read))
    )
    if not shared:
        return None
    means = [_mean_score(answers, shared, score) for answers in read]
    if any(math.isnan(mean(np.arange(len(shared)))) for mean in means):
        return None
    return paired_draws(means[0], means[1], [patients[name] for name in shared])


def _answers(runs: Sequence[Finished]) -> list[Answers]:
    found = [run.folder / PREDICTIONS for run in runs if (run.folder / PREDICTIONS).is_file()]
    answers = [read_answers(path) for path in found]
    return [one for one in answers if one.truth is not None]


def _mean_score(
    runs: Sequence[Answers], samples: Sequence[str], score: str
) -> Callable[[np.ndarray], float]:
    """The mean over runs of a score of those of the drawn samples that each has held out."""
    rows = []
    for run in runs:
        place = {name: number for number, name in enumerate(run.samples)}
        rows.append(np.array([place.get(name, -1) for name in samples]))

    def mean(drawn: np.ndarray) -> float:
        found = []
        for run, row in zip(runs, rows, strict=True):
            some = torch.from_numpy(row[drawn][row[drawn] >= 0])
            if len(some):
                found.append(_score_of(run, some, score))
        return float(np.mean(found)) if found else math.nan

    return mean


def _score_of(run: Answers, some: torch.Tensor, score: str) -> float:
    assert run.truth is not None
    answers, truth = run.answers[some], run.truth[some]
    if score == "auc" and run.kind == "classes" and len(run.names) == 2:
        return roc_auc(answers[:, 1], truth == 1)  # many times faster than all scores
    return score_classes(answers, truth, run.kind).get(score, math.nan)
