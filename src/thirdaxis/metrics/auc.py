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
