import math

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss, top_k_accuracy_score
from torch import nn

from thirdaxis.errors import InputError
from thirdaxis.tasks.pretraining.classify.data import NOBODY
from thirdaxis.tasks.pretraining.classify.module import (
    ClassifyPretrainModule,
    counted,
    scores_of,
)
from thirdaxis.tasks.pretraining.classify.plan import PretrainPlan
from thirdaxis.tasks.settings_files import make_settings


@pytest.fixture
def make_module(pretrain_values):
    def made(**told):
        settings = make_settings(pretrain_values | told, "test")
        plan = PretrainPlan(("a", "b", "c"), 20, 10, "digest")
        net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 3))
        module = ClassifyPretrainModule(net, settings, plan, 4)
        module.log = lambda *told, **more: None
        return module

    return made


def batch_of(damaged=None):
    return {
        "image": torch.randn(4, 1, 3, 32, 32),
        "truth": torch.tensor([0, 2, 1, 2]),
        "damaged": damaged or {},
        "converted": [],
    }


def test_scores_of_batches_are_those_of_all_pictures_together():
    random = np.random.default_rng(0)
    logits, truth = random.normal(size=(60, 8)), random.integers(0, 8, 60)
    parts = []
    for first in range(0, 60, 20):
        one = torch.from_numpy(logits[first : first + 20]), torch.from_numpy(truth[first:][:20])
        nobody = torch.randn(3, 8).double(), torch.full((3,), NOBODY)
        parts.append(counted(*(torch.cat(pair) for pair in zip(one, nobody, strict=True))))
    scores = scores_of(torch.stack(parts).sum(0), 8)
    share = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert scores == pytest.approx(
        {
            "top-1": top_k_accuracy_score(truth, logits, k=1, labels=range(8)),
            "top-5": top_k_accuracy_score(truth, logits, k=5, labels=range(8)),
            "cross_entropy": log_loss(truth, share, labels=range(8)),
        },
        rel=1e-5,
    )
    assert scores_of(counted(torch.zeros(1, 5), torch.tensor([NOBODY])), 5).keys() == {
        *("top-1", "cross_entropy")
    }


def test_the_loss_spreads_a_share_of_each_label(make_module):
    module, batch = make_module(smoothing=0.3), batch_of()
    loss = module.training_step(batch, 0).item()
    logs = module(batch["image"]).log_softmax(1)
    wanted = torch.full((4, 3), 0.1)
    wanted[range(4), batch["truth"]] += 0.7
    assert loss == pytest.approx(-(wanted * logs).sum(1).mean().item(), rel=1e-5)


def test_what_was_damaged_is_counted_on_after_a_break(make_module):
    before, after = make_module(damaged=0.05), make_module(damaged=0.05)  # two of thirty
    before.training_step(batch_of({"a.jpg": "cut short"}), 0)
    before.validation_step(batch_of({"b.jpg": "cut short"}), 0)
    checkpoint = {}
    before.on_save_checkpoint(checkpoint)
    after.on_load_checkpoint(checkpoint)
    after.training_step(batch_of({"a.jpg": "cut short"}), 0)
    with pytest.raises(InputError, match="c.jpg: a damaged picture .*, number 3, .* allows 2"):
        after.training_step(batch_of({"c.jpg": "cut short"}), 0)


def test_rates_follow_the_schedule(make_module):
    """Two steps of warm-up, then a cosine: by hand."""
    told = {"warmup": 2, "learning_rate": 0.8, "batch": 8, "reference_batch": 16}
    (optimiser,), (schedule,) = make_module(**told).configure_optimizers()
    rates = []
    for _ in range(4):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule["scheduler"].step()
    wanted = [0.4 / 3, 0.8 / 3, 0.4, 0.4 * 0.5 * (1 + math.cos(math.pi / 2))]
    assert rates == pytest.approx(wanted)
    assert optimiser.param_groups[0]["momentum"] == 0.9
    assert not optimiser.param_groups[0]["nesterov"]


def test_channels_of_pictures_lie_together_where_asked_for(make_module):
    module = make_module(channels_last=True, transform="none")
    seen = []
    module.net.register_forward_pre_hook(lambda net, given: seen.append(given[0].stride()))
    module(torch.randn(2, 3, 32, 32))
    assert seen == [(3 * 32 * 32, 1, 3 * 32, 3)]
