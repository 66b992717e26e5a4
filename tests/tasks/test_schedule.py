import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW

from thirdaxis.errors import UsageError
from thirdaxis.tasks.schedule import in_steps, rate_at, stepping
from thirdaxis.tasks.settings_files import make_settings


def settings(**values):
    return make_settings({"data": "d", **values}, "test")


@pytest.mark.parametrize(
    ("schedule", "step", "share"),
    [
        ("poly", 0, 1.0),
        ("poly", 50, 0.5**0.9),
        ("poly", 100, 0.0),
        ("cosine", 25, 0.8535533905932737),
        ("cosine", 50, 0.5),
        ("constant", 99, 1.0),
    ],
)
def test_learning_rate_against_written_out_values(schedule, step, share):
    assert rate_at(step, 100, schedule) == pytest.approx(share)


def test_poly_and_cosine_end_on_the_lowest_rate():
    """mmcv's poly: (base - least) (1 - t)^0.9 + least."""
    assert rate_at(25, 100, "poly", least=0.1) == pytest.approx(0.9 * 0.75**0.9 + 0.1)
    assert rate_at(100, 100, "poly", least=0.1) == pytest.approx(0.1)
    assert rate_at(100, 100, "cosine", least=0.2) == pytest.approx(0.2)


def test_steps_fall_at_their_milestones():
    rates = [rate_at(n, 100, "step", milestones=(50, 75), gamma=0.1) for n in range(100)]
    assert rates == pytest.approx([1.0] * 50 + [0.1] * 25 + [0.01] * 25)


def test_warmup_rises_then_the_schedule_begins_at_its_top():
    rates = [rate_at(step, 100, "cosine", rising=10) for step in range(100)]
    assert rates[:10] == pytest.approx([(step + 1) / 11 for step in range(10)])
    assert rates[10] == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_warmup_may_begin_above_zero():
    """mmcv's linear warm-up: 1 - (1 - step / rising) (1 - ratio)."""
    rates = [rate_at(step, 100, "constant", rising=4, first=0.2) for step in range(6)]
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])


@pytest.mark.parametrize(
    ("values", "rate"),
    [({}, 0.1), ({"reference_batch": 8}, 0.025), ({"reference_batch": 8, "accumulate": 6}, 0.15)],
)
def test_the_rate_follows_the_batch_where_it_is_told_to(values, rate):
    told = settings(learning_rate=0.1, batch=2, warmup=0, **values)
    assert told.rate == pytest.approx(rate)
    (optimiser,), _ = stepping(told, nn.Linear(1, 1), 10)
    assert optimiser.param_groups[0]["initial_lr"] == pytest.approx(rate)


def test_shares_and_counts():
    assert in_steps(0.02, 500) == 10
    assert in_steps(50, 500) == 50
    assert in_steps(0.5, 500, 5) == 250
    assert in_steps(30, 500, 5) == 150


@pytest.mark.parametrize("milestones", [(0.5, 0.75), (50, 75)])
def test_a_run_follows_its_settings(milestones):
    """100 epochs of 3 steps; a share of the run and a number of epochs say the same."""
    told = settings(
        schedule="step", milestones=milestones, warmup=6, learning_rate=0.01, epochs=100
    )
    (optimiser,), (entry,) = stepping(told, nn.Linear(1, 1), 300)
    rates = []
    for _ in range(300):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        entry["scheduler"].step()
    expected = [0.01 * (n + 1) / 7 for n in range(6)] + [0.01] * 144 + [0.001] * 75 + [1e-4] * 75
    assert rates == pytest.approx(expected)


@pytest.mark.parametrize(
    ("values", "kind", "told"),
    [
        ({"optimiser": "adamw"}, AdamW, {"weight_decay": 1e-4, "betas": (0.9, 0.999)}),
        ({"optimiser": "adam", "weight_decay": 0}, Adam, {"weight_decay": 0}),
        ({"optimiser": "sgd"}, SGD, {"momentum": 0.9, "nesterov": True}),
        ({"optimiser": "sgd", "nesterov": False}, SGD, {"momentum": 0.9, "nesterov": False}),
        ({"optimiser": "sgd", "momentum": 0}, SGD, {"momentum": 0, "nesterov": False}),
    ],
)
def test_optimisers(values, kind, told):
    net = nn.Linear(2, 2)
    net.bias.requires_grad_(False)
    (optimiser,), _ = stepping(settings(**values), net, 10)
    assert type(optimiser) is kind
    (group,) = optimiser.param_groups
    assert group["params"] == [net.weight] and group["initial_lr"] == 3e-3
    assert {name: group[name] for name in told} == told


def test_weight_decay_of_adam_is_in_the_gradient_and_of_adamw_is_not():
    moved = {}
    for name in ("adam", "adamw"):
        net = nn.Linear(1, 1, bias=False)
        nn.init.ones_(net.weight)
        told = settings(optimiser=name, weight_decay=0.5, learning_rate=0.1, warmup=0)
        (optimiser,), _ = stepping(told, net, 10)
        net.weight.grad = torch.zeros(1, 1)
        optimiser.step()
        moved[name] = float(net.weight.detach())
    # Adam's step has the sign of 0.5 · 1; AdamW shrinks by 0.1 · 0.5.
    assert moved == pytest.approx({"adam": 0.9, "adamw": 0.95})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"schedule": "step"}, "schedule 'step' and milestones go together"),
        ({"milestones": [3]}, "schedule 'step' and milestones go together"),
        ({"lowest_rate": 1}, "lowest_rate 1.0 is above the learning rate 0.003"),
        ({"schedule": "polly"}, "setting 'schedule'"),
        ({"milestones": "a,b"}, "setting 'milestones'"),
    ],
)
def test_settings_that_make_no_schedule(values, said):
    with pytest.raises(UsageError, match=said):
        settings(**values)
