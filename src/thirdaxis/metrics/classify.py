"""All scores of a classifier on a set of samples, by the kind of its answer, with intervals."""

import math
from collections.abc import Hashable, Sequence
from typing import Literal

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from thirdaxis.errors import InputError
from thirdaxis.metrics.auc import class_aucs, roc_auc
from thirdaxis.metrics.bootstrap import Interval, bootstrap
from thirdaxis.metrics.calibration import calibration_error, decisions
from thirdaxis.metrics.confusion import (
    Counts,
    accuracy,
    confusion_matrix,
    counts_of,
    mean_of,
)

Kind = Literal["classes", "labels", "grade"]
"""``classes``: one class out of several, two included; ``labels``: several labels, each there or
not; ``grade``: an ordinal number."""

SHARES = ("sensitivity", "specificity", "precision", "f1")


def score(answers: Tensor, truth: Tensor, kind: Kind) -> dict[str, float]:
    """Scores answers.

    With two classes the second one is the positive, as is usual; with more, the shares and the AUC
    are means over the classes, each against all others. Labels count as there from 0.5 on. What a
    set of samples cannot tell is nan and left out of means. See `thirdaxis.metrics.confusion` and
    `thirdaxis.metrics.calibration`.

    Args:
        answers: ``(N, classes)`` probabilities, or ``(N,)`` numbers for a grade.
        truth: ``(N,)`` class numbers, ``(N, labels)`` zeros and ones, or ``(N,)`` grades.
        kind: of the answers.

    Returns:
        For classes and labels: ``auc``, ``accuracy``, ``sensitivity``, ``specificity``,
        ``precision``, ``f1`` and ``ece`` (labels are scored one by one and averaged). For a grade:
        ``auc`` (mean over the cuts between neighbouring grades), ``accuracy`` (rounded to
        a whole number), ``mae``, ``rmse`` and ``spearman``.

    Raises:
        InputError: on shapes that do not belong together, or no samples.
    """
    _check(answers, truth, kind)
    if kind == "grade":
        return _grade(answers.double(), truth.double())
    if kind == "labels":
        each = [_label(answers[:, k], truth[:, k]) for k in range(answers.shape[1])]
        return {name: mean_of([one[name] for one in each]) for name in each[0]}
    matrix = confusion_matrix(answers.argmax(1), truth, answers.shape[1])
    counts = counts_of(matrix)
    if answers.shape[1] == 2:
        auc, judged = roc_auc(answers[:, 1], truth == 1), counts[1:]
    else:
        auc = mean_of(class_aucs(answers, torch.nn.functional.one_hot(truth, answers.shape[1])))
        judged = counts
    return {
        "auc": auc,
        "accuracy": accuracy(matrix),
        **_shares(judged),
        "ece": calibration_error(*decisions(answers, truth)),
    }


def class_table(
    answers: Tensor, truth: Tensor, kind: Kind, names: Sequence[str]
) -> dict[str, dict[str, float]]:
    """The scores of each class against all others, or of each label.

    Args:
        answers: as in `score`, of classes or labels.
        truth: as in `score`.
        kind: ``classes`` or ``labels``.
        names: of the classes or labels.

    Returns:
        For each name ``auc``, the shares of `thirdaxis.metrics.confusion.Counts` and the number of
        samples that have it.
    """
    _check(answers, truth, kind)
    if kind == "classes":
        one_hot = torch.nn.functional.one_hot(truth, answers.shape[1])
        counts = counts_of(confusion_matrix(answers.argmax(1), truth, answers.shape[1]))
    else:
        one_hot = truth
        counts = [_label_counts(answers[:, k], truth[:, k]) for k in range(answers.shape[1])]
    aucs = class_aucs(answers, one_hot)
    return {
        name: {"samples": int(one_hot[:, k].sum()), "auc": aucs[k], **_shares([counts[k]])}
        for k, name in enumerate(names)
    }


def score_intervals(
    answers: Tensor,
    truth: Tensor,
    kind: Kind,
    *,
    cases: Sequence[Hashable] | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, Interval]:
    """95 % bootstrap intervals of `score`, see `thirdaxis.metrics.bootstrap`.

    Args:
        answers: as in `score`.
        truth: as in `score`.
        kind: as in `score`.
        cases: the patient of each sample, where patients have several: they are drawn whole. None
            draws samples, of classes as many of each class as there are.
        draws: how many.
        seed: of the draws.
    """
    _check(answers, truth, kind)
    strata = truth.tolist() if kind == "classes" and cases is None else None

    def drawn(numbers: np.ndarray) -> dict[str, float]:
        chosen = torch.from_numpy(numbers)
        return score(answers[chosen], truth[chosen], kind)

    return bootstrap(drawn, len(truth), strata=strata, cases=cases, draws=draws, seed=seed)


def _check(answers: Tensor, truth: Tensor, kind: Kind) -> None:
    shape = truth.shape if kind != "classes" else (*truth.shape, *answers.shape[1:2])
    rank = 1 if kind == "grade" else 2
    if answers.ndim != rank or answers.shape != torch.Size(shape):
        raise InputError(
            f"answers {tuple(answers.shape)} and truth {tuple(truth.shape)} do not belong together "
            f"as {kind}"
        )
    if not len(answers):
        raise InputError("no samples to score")


def _label_counts(probability: Tensor, truth: Tensor) -> Counts:
    return counts_of(confusion_matrix((probability >= 0.5).long(), truth.long(), 2))[1]


def _label(probability: Tensor, truth: Tensor) -> dict[str, float]:
    counts = _label_counts(probability, truth)
    return {
        "auc": roc_auc(probability, truth),
        "accuracy": float(((probability >= 0.5) == truth.bool()).double().mean()),
        **_shares([counts]),
        "ece": calibration_error(probability.clamp(0, 1), truth),
    }


def _shares(counts: Sequence[Counts]) -> dict[str, float]:
    return {name: mean_of([getattr(one, name) for one in counts]) for name in SHARES}


def _grade(answers: Tensor, truth: Tensor) -> dict[str, float]:
    grades = truth.unique(sorted=True)
    gap = answers - truth
    told_apart = len(grades) > 1 and len(answers.unique()) > 1
    return {
        "auc": mean_of([roc_auc(answers, truth > grade) for grade in grades[:-1]]),
        "accuracy": float((answers.round() == truth).double().mean()),
        "mae": float(gap.abs().mean()),
        "rmse": math.sqrt(float((gap**2).mean())),
        "spearman": float(stats.spearmanr(answers.numpy(), truth.numpy())[0])
        if told_apart
        else math.nan,
    }
