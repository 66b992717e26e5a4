"""Area under the receiver operating characteristic."""

import math

import torch
from torch import Tensor

from thirdaxis.errors import InputError


def roc_auc(scores: Tensor, truth: Tensor) -> float:
    """How often a positive scores higher than a negative; of equal scores half count.

    Exact for any number of scores, in the time of one sort (Hanley and McNeil, "The Meaning and Use
    of the Area under a Receiver Operating Characteristic (ROC) Curve", 1982).

    Args:
        scores: numbers, any shape.
        truth: whether each is a positive, of the same shape.

    Returns:
        0 to 1; nan where there are only positives or only negatives.

    Raises:
        InputError: where the shapes differ.
    """
    if scores.shape != truth.shape:
        raise InputError(
            f"scores {tuple(scores.shape)} and truth {tuple(truth.shape)} differ in shape"
        )
    truth = truth.bool()
    positives, negatives = scores[truth].sort().values, scores[~truth].sort().values
    if not len(positives) or not len(negatives):
        return math.nan
    below = torch.searchsorted(negatives, positives)
    not_above = torch.searchsorted(negatives, positives, right=True)
    return int(below.sum() + not_above.sum()) / (2 * len(positives) * len(negatives))


def class_aucs(scores: Tensor, truth: Tensor) -> list[float]:
    """The AUC of each class against all others (one against the rest), or of each label.

    Args:
        scores: ``(N, classes)``.
        truth: ``(N, classes)`` whether each sample is of the class; `torch.nn.functional.one_hot`
            makes it of class numbers.

    Returns:
        One number a class, nan where a class has no positives or no negatives.

    Raises:
        InputError: where the shapes differ or are not two-dimensional.
    """
    if scores.ndim != 2:
        raise InputError(f"scores are (N, classes), not {tuple(scores.shape)}")
    if scores.shape != truth.shape:
        raise InputError(
            f"scores {tuple(scores.shape)} and truth {tuple(truth.shape)} differ in shape"
        )
    return [roc_auc(scores[:, k], truth[:, k]) for k in range(scores.shape[1])]


def roc_curve(scores: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Shares of negatives and of positives at or above each threshold, from the highest down.

    Args:
        scores: numbers, any shape.
        truth: whether each is a positive, of the same shape.

    Returns:
        False-positive and true-positive rates, both from 0 to 1, one more than there are different
        scores. The area under the straight lines between them is `roc_auc`.

    Raises:
        InputError: where the shapes differ, or there are only positives or only negatives.
    """
    if math.isnan(roc_auc(scores, truth)):
        raise InputError("a ROC curve needs positives and negatives")
    order = scores.reshape(-1).argsort(descending=True)
    ranked, hit = scores.reshape(-1)[order], truth.reshape(-1)[order].bool()
    # Samples of one score pass the threshold together.
    last = torch.cat([ranked[1:] != ranked[:-1], torch.ones(1, dtype=torch.bool)])
    rates = []
    for kind in (~hit, hit):
        passed = kind.double().cumsum(0)[last] / kind.sum()
        rates.append(torch.cat([torch.zeros(1, dtype=torch.float64), passed]))
    return rates[0], rates[1]
