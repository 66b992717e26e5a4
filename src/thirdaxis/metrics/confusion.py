"""Counts of decisions against the truth, and the shares that follow from them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from thirdaxis.errors import InputError


@dataclass(frozen=True)
class Counts:
    """Decisions on one class against all others.

    Args:
        true_positive: of the class, and told so.
        false_positive: of another one, and told to be of the class.
        false_negative: of the class, and told to be of another one.
        true_negative: of another one, and told so.
    """

    true_positive: int
    false_positive: int
    false_negative: int
    true_negative: int

    @property
    def sensitivity(self) -> float:
        """Share of the class that was found (recall); nan where nothing is of the class."""
        return _share(self.true_positive, self.true_positive + self.false_negative)

    @property
    def specificity(self) -> float:
        """Share of the others that were told so; nan where all are of the class."""
        return _share(self.true_negative, self.true_negative + self.false_positive)

    @property
    def precision(self) -> float:
        """Share of what was told to be of the class that is; nan where nothing was."""
        return _share(self.true_positive, self.true_positive + self.false_positive)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and sensitivity; nan where neither is there.

        Source: Dice, 1945; as a score of decisions, van Rijsbergen, "Information Retrieval", 1979.
        """
        wrong = self.false_positive + self.false_negative
        return _share(2 * self.true_positive, 2 * self.true_positive + wrong)


def confusion_matrix(decided: Tensor, truth: Tensor, classes: int) -> Tensor:
    """Counts of samples by true class (rows) and decided class (columns).

    Args:
        decided: class numbers from 0, any shape.
        truth: class numbers of the same shape.
        classes: how many there are.

    Returns:
        ``(classes, classes)`` int64.

    Raises:
        InputError: where the shapes differ or a number is no class.
    """
    if decided.shape != truth.shape:
        raise InputError(
            f"decided {tuple(decided.shape)} and truth {tuple(truth.shape)} differ in shape"
        )
    both = torch.stack([truth.reshape(-1), decided.reshape(-1)]).long()
    strange = [number for number in both.unique().tolist() if not 0 <= number < classes]
    if strange:
        raise InputError(f"class numbers go from 0 to {classes - 1}, not {strange[0]}")
    cells = torch.bincount(both[0] * classes + both[1], minlength=classes * classes)
    return cells.reshape(classes, classes)


def counts_of(matrix: Tensor) -> list[Counts]:
    """The counts of each class against all others, from `confusion_matrix`."""
    total, found = int(matrix.sum()), []
    for number in range(len(matrix)):
        hit = int(matrix[number, number])
        told, there = int(matrix[:, number].sum()), int(matrix[number].sum())
        found.append(Counts(hit, told - hit, there - hit, total - told - there + hit))
    return found


def accuracy(matrix: Tensor) -> float:
    """Share of right decisions, from `confusion_matrix`; nan without samples."""
    return _share(int(matrix.trace()), int(matrix.sum()))


def mean_of(values: Sequence[float]) -> float:
    """Mean of what is defined; nan where nothing is."""
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else math.nan


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
