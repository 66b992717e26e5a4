"""Top-k accuracy: whether the true class is among the k likeliest."""

import torch
from torch import Tensor


def top_hits(scores: Tensor, truth: Tensor, k: int) -> Tensor:
    """Which samples have their true class among the k highest scores.

    Equal scores count against the sample: a network that says the same of all classes knows none.

    Args:
        scores: (N, classes), floating.
        truth: (N,) true classes.
        k: from 1.

    Returns:
        (N,) bool; nan as the score of the true class is a miss.
    """
    own = scores.gather(1, truth[:, None])
    ahead = (scores >= own).sum(1) - 1  # without itself
    return (ahead < k) & ~torch.isnan(own[:, 0])
