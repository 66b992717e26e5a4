import math

import pytest
import torch
from sklearn.metrics import roc_auc_score

from thirdaxis.errors import InputError
from thirdaxis.metrics.auc import roc_auc


@pytest.mark.parametrize("levels", [3, 1000], ids=["many ties", "few ties"])
def test_as_scikit_learn_has_it(levels):
    torch.manual_seed(0)
    scores = torch.randint(levels, (4, 5, 60)) / 7
    truth = torch.rand(4, 5, 60) < 0.2 + 0.3 * (scores > scores.mean())
    expected = roc_auc_score(truth.flatten(), scores.flatten())
    assert 0.55 < expected < 0.8
    assert roc_auc(scores, truth) == pytest.approx(expected, abs=1e-12)
    assert roc_auc(scores, truth.to(torch.uint8)) == roc_auc(scores, truth)
    assert roc_auc(-scores, truth) == pytest.approx(1 - expected, abs=1e-12)


def test_equal_scores_are_a_coin_toss():
    assert roc_auc(torch.zeros(7), torch.arange(7) < 2) == 0.5


@pytest.mark.parametrize("truth", [0, 1])
def test_of_one_kind_alone_there_is_none(truth):
    assert math.isnan(roc_auc(torch.rand(5), torch.full((5,), truth)))


def test_shapes_that_differ_are_refused():
    with pytest.raises(InputError, match=r"\(3,\).*\(4,\)"):
        roc_auc(torch.rand(3), torch.ones(4))
