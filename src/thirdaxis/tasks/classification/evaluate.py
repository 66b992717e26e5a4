"""Scores what a classifier said: with intervals, by class, as JSON."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from thirdaxis.atomic import write_text
from thirdaxis.errors import InputError
from thirdaxis.metrics.bootstrap import Interval
from thirdaxis.metrics.classify import class_table, score, score_intervals
from thirdaxis.metrics.confusion import confusion_matrix
from thirdaxis.metrics.table import strict
from thirdaxis.tasks.classification.cases import read_cases
from thirdaxis.tasks.classification.settings import ClassifySettings
from thirdaxis.tasks.classification.table import Answers, read_answers
from thirdaxis.tasks.run_folder import SETTINGS, read_run

SCORES = "scores.json"


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of a set of answers.

    Args:
        answers: what was scored.
        truth: of each.
        values: as `thirdaxis.metrics.classify.score`.
        intervals: 95 % bootstrap intervals of the values.
        by_patient: whether patients were drawn whole, as some have several samples.
    """

    answers: Answers
    truth: Tensor
    values: dict[str, float]
    intervals: dict[str, Interval]
    by_patient: bool

    def plain(self) -> dict[str, Any]:
        """As strict JSON can hold it; nan becomes null."""
        answers, truth = self.answers, self.truth
        told: dict[str, Any] = {
            "kind": answers.kind,
            "samples": len(answers.samples),
            "patients": len(set(answers.patients)),
            "scores": self.values,
            "intervals": {name: list(ends) for name, ends in self.intervals.items()},
            "drawn": "by patient" if self.by_patient else "by sample within classes",
        }
        if answers.kind != "grade":
            told["classes"] = class_table(answers.answers, truth, answers.kind, answers.names)
        if answers.kind == "classes":
            matrix = confusion_matrix(answers.answers.argmax(1), truth, len(answers.names))
            told["confusion"] = {"names": list(answers.names), "rows are true": matrix.tolist()}
        return strict(told)


def score_answers(answers: Answers, draws: int, seed: int = 0) -> Scores:
    """Scores answers beside which the truth stands.

    Args:
        answers: with their truth.
        draws: of the bootstrap.
        seed: of the draws.

    Raises:
        InputError: the truth is not known.
    """
    if answers.truth is None:
        raise InputError("the table of predictions has no truth to score against")
    told = (answers.answers, answers.truth, answers.kind)
    by_patient = len(set(answers.patients)) < len(answers.patients)
    cases = answers.patients if by_patient else None
    intervals = score_intervals(*told, cases=cases, draws=draws, seed=seed)
    return Scores(answers, answers.truth, score(*told), intervals, by_patient)


def evaluate(
    predictions: Path, against: Path, out: Path | None = None, *, draws: int = 1000
) -> Scores:
    """Scores a table of predictions and writes `scores.json`.

    Args:
        predictions: a CSV file that `predict` wrote.
        against: a run folder (its held-out samples), or a table of predictions with the truth, such
            as the same file.
        out: folder for the scores; none takes that of `predictions`.
        draws: of the bootstrap.

    Raises:
        InputError: a sample without truth, a held-out sample of a run without a prediction, or
            other classes.
    """
    found = read_answers(predictions)
    known, complete = _truth(against, found)
    lacking = [name for name in found.samples if name not in known]
    if lacking:
        raise InputError(f"{predictions}: {against} has no sample {lacking[0]!r}")
    missing = sorted(set(known) - set(found.samples))
    if missing and complete:
        raise InputError(
            f"{predictions}: {len(missing)} of the {len(known)} held-out samples have no "
            f"prediction, the first is {missing[0]!r}"
        )
    truth = torch.stack([known[name] for name in found.samples])
    scores = score_answers(replace(found, truth=truth), draws)
    folder = predictions.parent if out is None else out
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / SCORES, json_text(scores.plain()))
    return scores


def json_text(told: Mapping[str, Any]) -> str:
    """Indented JSON."""
    return json.dumps(told, indent=2, allow_nan=False) + "\n"


def _truth(against: Path, found: Answers) -> tuple[dict[str, Tensor], bool]:
    """The truth by sample, and whether all of them have to be predicted."""
    if (against / SETTINGS).is_file():
        run = read_run(against)
        if not isinstance(run.settings, ClassifySettings):
            raise InputError(f"{against}: a run of the task {run.settings.task!r}, not 'classify'")
        if run.settings.kind != found.kind or (
            found.kind != "grade" and run.plan.names != found.names
        ):
            raise InputError(f"{against}: its {run.settings.kind} are {', '.join(run.plan.names)}")
        cases = read_cases(run.settings).named(run.test, run.settings.data)
        names = list(cases.samples)
        return dict(zip(names, run.plan.truth(cases.labels(names)), strict=True)), True
    other = read_answers(against)
    if other.truth is None:
        raise InputError(
            f"{against}: has no column of the truth; expected a run folder, or a table"
        )
    if (other.kind, other.names) != (found.kind, found.names):
        raise InputError(f"{against}: its {other.kind} are {', '.join(other.names)}")
    return dict(zip(other.samples, other.truth, strict=True)), False
