"""Whether probabilities mean what they say."""

from dataclasses import dataclass

import torch
from torch import Tensor

from thirdaxis.errors import InputError

BINS = 15


@dataclass(frozen=True)
class Bin:
    """Samples of like confidence: how many, how sure they are on average, how often right."""

    samples: int
    confidence: float
    right: float


def reliability(confidence: Tensor, right: Tensor, bins: int = BINS) -> list[Bin]:
    """Sorts samples into bins of equal width by confidence; bins without samples are left out.

    The bins are (0, 1/n], (1/n, 2/n] and so on, 0 itself in the first.

    Args:
        confidence: numbers from 0 to 1, any shape.
        right: whether what was told with that confidence is so, of the same shape.
        bins: how many.

    Raises:
        InputError: where the shapes differ or a confidence is outside 0 to 1.
    """
    if confidence.shape != right.shape:
        raise InputError(
            f"confidence {tuple(confidence.shape)} and right {tuple(right.shape)} differ in shape"
        )
    sure, hit = confidence.reshape(-1).double(), right.reshape(-1).double()
    if not bool(((sure >= 0) & (sure <= 1)).all()):
        raise InputError("a confidence is a number from 0 to 1")
    place = (sure * bins).ceil().long().clamp(1, bins)
    found = []
    for number in range(1, bins + 1):
        inside = place == number
        if bool(inside.any()):
            found.append(
                Bin(int(inside.sum()), float(sure[inside].mean()), float(hit[inside].mean()))
            )
    return found


def calibration_error(confidence: Tensor, right: Tensor, bins: int = BINS) -> float:
    """Expected calibration error: by how much confidence misses the share that is right.

    The gap between both in each bin of `reliability`, weighted by its samples (Guo et al., "On
    Calibration of Modern Neural Networks", ICML 2017). For one class out of several, two included,
    the confidence is that of the decision, the largest probability; for labels each by itself, that
    of the label.

    Args:
        confidence: as in `reliability`.
        right: as in `reliability`.
        bins: how many.

    Returns:
        0 to 1; nan without samples.

    Raises:
        InputError: as `reliability`.
    """
    total = confidence.numel()
    if not total:
        return float("nan")
    parts = reliability(confidence, right, bins)
    return sum(part.samples * abs(part.confidence - part.right) for part in parts) / total


def decisions(probabilities: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """The confidence of each decision, and whether it is right.

    Args:
        probabilities: ``(N, classes)``.
        truth: ``(N,)`` class numbers.
    """
    sure, decided = probabilities.max(dim=1)
    return sure.clamp(0, 1), torch.eq(decided, truth)
