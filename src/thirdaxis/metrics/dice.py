"""Dice overlap of label maps, per case and over all voxels of a set of cases."""

import math
from collections.abc import Sequence

from torch import Tensor

from thirdaxis.errors import InputError


def overlap(
    prediction: Tensor, truth: Tensor, classes: Sequence[int]
) -> dict[int, tuple[int, int]]:
    """Counts the voxels of each class that two label maps share and have.

    Args:
        prediction: label map of whole numbers, any shape.
        truth: label map of the same shape.
        classes: label values to count.

    Returns:
        For each class, the voxels in both, and the sum of the voxels in each.

    Raises:
        InputError: where the shapes differ.
    """
    if prediction.shape != truth.shape:
        raise InputError(
            f"prediction {tuple(prediction.shape)} and truth {tuple(truth.shape)} differ in shape"
        )
    counts = {}
    for value in classes:
        mine, its = prediction == value, truth == value
        counts[value] = (int((mine & its).sum()), int(mine.sum()) + int(its.sum()))
    return counts


def dice(prediction: Tensor, truth: Tensor, classes: Sequence[int]) -> dict[int, float]:
    """Dice coefficient of each class in one case.

    A class in neither map is not a success nor a failure: its value is nan, to be left out of
    means. A class in exactly one of them scores 0.

    Source: Dice, Measures of the Amount of Ecologic Association Between Species, 1945.

    Args:
        prediction: label map of whole numbers, (D, H, W) or any shape.
        truth: label map of the same shape.
        classes: label values to score.

    Returns:
        For each class, `2 |A and B| / (|A| + |B|)`, 0 to 1, or nan.

    Raises:
        InputError: where the shapes differ.
    """
    counts = overlap(prediction, truth, classes)
    return {value: _ratio(*count) for value, count in counts.items()}


class GlobalDice:
    """Dice over the voxels of all cases together: large objects weigh more than in the mean.

    Args:
        classes: label values to score.
    """

    def __init__(self, classes: Sequence[int]) -> None:
        self.counts = dict.fromkeys(classes, (0, 0))

    def update(self, prediction: Tensor, truth: Tensor) -> None:
        """Adds one case, two label maps of one shape."""
        self._add(overlap(prediction, truth, list(self.counts)))

    def merge(self, other: "GlobalDice") -> None:
        """Adds the cases that another one has counted, such as another process'."""
        self._add(other.counts)

    def compute(self) -> dict[int, float]:
        """The Dice of each class so far, nan for a class never seen."""
        return {value: _ratio(*count) for value, count in self.counts.items()}

    def _add(self, counts: dict[int, tuple[int, int]]) -> None:
        for value, (shared, total) in counts.items():
            before = self.counts[value]
            self.counts[value] = (before[0] + shared, before[1] + total)


def _ratio(shared: int, total: int) -> float:
    return 2 * shared / total if total else math.nan
