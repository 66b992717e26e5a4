import numpy as np
import pytest
import torch
from sklearn.metrics import top_k_accuracy_score

from thirdaxis.metrics.ranked import top_hits


@pytest.mark.parametrize("k", [1, 3, 5])
def test_hits_are_those_of_scikit_learn(k):
    random = np.random.default_rng(0)
    scores, truth = random.normal(size=(200, 10)), random.integers(0, 10, 200)
    hits = top_hits(torch.from_numpy(scores), torch.from_numpy(truth), k)
    wanted = top_k_accuracy_score(truth, scores, k=k, labels=range(10))
    assert hits.double().mean().item() == pytest.approx(wanted)


def test_a_network_that_says_the_same_of_all_knows_none():
    truth = torch.arange(4)
    assert not top_hits(torch.zeros(4, 4), truth, 1).any()
    assert top_hits(torch.eye(4), truth, 1).all()
    assert not top_hits(torch.full((4, 4), torch.nan), truth, 3).any()
