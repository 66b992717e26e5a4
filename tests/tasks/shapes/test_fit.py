import shutil

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from thirdaxis.data.shapes import Shapes2D
from thirdaxis.errors import InputError, UsageError
from thirdaxis.tasks.shapes import fit as shapes_fit
from thirdaxis.tasks.shapes.fit import Machine, best_row, fit, held, mean_of, read_state, scores
from thirdaxis.tasks.shapes.recipe import Schedule

SETTINGS = {"seed": 3, "what": "a test"}


def _net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Conv2d(4, 3, 1))


@pytest.fixture(scope="module")
def data():
    return held(Shapes2D(8, 0)), held(Shapes2D(3, 1))


@pytest.fixture(params=["adam", "sgd"])
def schedule(request):
    momentum = 0.9 if request.param == "sgd" else 0
    common = {"optimiser": request.param, "momentum": momentum, "weight_decay": 1e-4}
    common |= {"learning_rate": 0.02, "batch": 3, "test_batch": 2}
    return Schedule(**common, milestones=(2,), epochs=4)


def _fit(schedule, data, path, net=None, **told):
    return fit(net or _net(), schedule, *data, path, SETTINGS, lambda _: None, **told)


def _assert_same(one, other):
    for part in ("net", "best"):
        assert one[part].keys() == other[part].keys()
        assert all(torch.equal(value, other[part][name]) for name, value in one[part].items())
    assert one["optimizer"]["param_groups"] == other["optimizer"]["param_groups"]
    moments = [state["optimizer"]["state"] for state in (one, other)]
    torch.testing.assert_close(*moments, rtol=0, atol=0)
    rows = [[row | {"seconds": 0} for row in state["history"]] for state in (one, other)]
    np.testing.assert_equal(*rows)


@pytest.mark.parametrize("steps", [0, 2, 3, 7, 10, 11])
def test_a_run_that_was_stopped_goes_on_to_the_same_end(
    tmp_path, data, schedule, monkeypatch, steps
):
    _fit(schedule, data, tmp_path / "unbroken.pt")
    loss, taken = shapes_fit.soft_dice_loss, []

    def stopping(logits, labels):
        taken.append(1)
        if len(taken) > steps:
            raise KeyboardInterrupt
        return loss(logits, labels)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shapes_fit, "soft_dice_loss", stopping)
        _fit(schedule, data, tmp_path / "broken.pt", untrained=lambda _: 0.25)
    assert read_state(tmp_path / "broken.pt")["epoch"] == steps // 3
    torch.manual_seed(99)
    _fit(schedule, data, tmp_path / "broken.pt", untrained=None)
    one, other = (read_state(tmp_path / f"{name}.pt", SETTINGS) for name in ("unbroken", "broken"))
    _assert_same(one, other)
    assert other["untrained"] == 0.25  # found once, before the first step


def test_half_precision_is_mixed_and_told(tmp_path, data, schedule, monkeypatch):
    machine, seen = Machine(precision="bf16"), []
    loss = shapes_fit.soft_dice_loss

    def noting(logits, labels):
        seen.append(logits)
        return loss(logits, labels)

    monkeypatch.setattr(shapes_fit, "soft_dice_loss", noting)
    net = _net()
    _fit(schedule.model_copy(update={"epochs": 1}), data, tmp_path / "state.pt")
    full = [logits.detach() for logits in seen]
    seen.clear()
    state = _fit(schedule, data, tmp_path / "half.pt", net, machine=machine)
    assert {logits.dtype for logits in seen} == {torch.float32}
    assert not torch.equal(seen[0], full[0])
    torch.testing.assert_close(seen[0], full[0], rtol=0.05, atol=0.05)
    assert {weight.dtype for weight in net.parameters()} == {torch.float32}
    assert state["on"] == [f"torch {torch.__version__}, cpu, bfloat16 mixed with 32-bit floats"]
    state = _fit(schedule.model_copy(update={"epochs": 4}), data, tmp_path / "half.pt")
    assert len(state["on"]) == 2  # a run that went on at another precision tells both


@pytest.mark.parametrize(("epochs", "rate"), [(1, 0.02), (2, 0.02), (3, 0.002), (4, 0.002)])
def test_the_rate_falls_after_a_milestone(tmp_path, data, schedule, epochs, rate):
    schedule = schedule.model_copy(update={"epochs": epochs})
    state = _fit(schedule, data, tmp_path / "state.pt")
    assert state["optimizer"]["param_groups"][0]["lr"] == pytest.approx(rate)
    assert [row["epoch"] for row in state["history"]] == list(range(1, epochs + 1))
    assert state["parameters"] == 4 * 9 + 4 + 8 + 12 + 3


def _orders(schedule, data, path, seed):
    """The items of each epoch in the order in which the network was trained on them."""
    fed, net = [], _net()
    net.register_forward_pre_hook(lambda net, args: fed.append(args[0]) if net.training else None)
    fit(net, schedule, *data, path, {"seed": seed}, lambda _: None)
    images = [image.sum().item() for image, _ in data[0]]
    order = [images.index(image.sum().item()) for image in torch.cat(fed)]
    return [order[i : i + 8] for i in range(0, len(order), 8)]


def test_every_epoch_and_seed_has_an_order_of_its_own(tmp_path, data, schedule):
    orders = _orders(schedule, data, tmp_path / "3.pt", 3)
    orders += _orders(schedule, data, tmp_path / "4.pt", 4)
    assert len(orders) == 8 and all(sorted(order) == list(range(8)) for order in orders)
    assert len({tuple(order) for order in orders}) == 8


def test_the_best_weights_are_those_of_the_best_epoch(tmp_path, data, schedule, monkeypatch):
    told = iter([0.1, 0.7, 0.7, 0.3])
    seen = []

    def scored(net, test, batch, machine):
        seen.append({name: value.clone() for name, value in net.state_dict().items()})
        return {"dice": [next(told), float("nan"), 1.0], "iou": [0.0] * 3}

    monkeypatch.setattr(shapes_fit, "scores", scored)
    state = _fit(schedule, data, tmp_path / "state.pt")
    assert all(torch.equal(value, state["best"][name]) for name, value in seen[1].items())
    assert not torch.equal(seen[1]["0.weight"], seen[2]["0.weight"])


def test_nothing_is_written_by_halves(tmp_path, data, schedule, monkeypatch):
    path = tmp_path / "state.pt"
    _fit(schedule.model_copy(update={"epochs": 1}), data, path)
    whole = path.read_bytes()
    monkeypatch.setattr(torch, "save", lambda state, buffer: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        _fit(schedule, data, path)
    assert path.read_bytes() == whole
    assert sorted(tmp_path.iterdir()) == [path.with_suffix(".json"), path]


def test_another_run_or_a_damaged_file_is_refused(tmp_path, data, schedule):
    path = tmp_path / "state.pt"
    _fit(schedule.model_copy(update={"epochs": 1}), data, path)
    with pytest.raises(UsageError, match="another recipe or seed"):
        fit(_net(), schedule, *data, path, SETTINGS | {"seed": 4}, lambda _: None)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"state\.pt: not a checkpoint"):
        read_state(path)
    torch.save({"settings": Schedule}, path)  # a class: reading it would run code
    with pytest.raises(InputError, match="not a checkpoint"):
        read_state(path)
    shutil.rmtree(tmp_path)
    assert read_state(path) is None


class _Answers(nn.Module):
    """Scores under which the label is what the image's values say."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, image):
        return nn.functional.one_hot(image[:, 0].long(), 4).movedim(-1, 1).float()


@pytest.mark.parametrize("together", [1, shapes_fit.TOGETHER])
def test_scores_are_means_over_batches_of_sums_over_each(together, monkeypatch):
    monkeypatch.setattr(shapes_fit, "TOGETHER", together)
    truth = torch.tensor([[0, 0, 1, 3], [3, 3, 1, 1], [0, 3, 3, 3]], dtype=torch.uint8)
    said = torch.tensor([[0, 1, 1, 3], [0, 3, 1, 3], [0, 0, 3, 3]])
    found = scores(_Answers(), TensorDataset(said[:, None].float(), truth), 2)
    dice = [(2 / 4 + 2 / 3) / 2, 4 / 6, np.nan, (4 / 6 + 4 / 5) / 2]
    iou = [(1 / 3 + 1 / 2) / 2, 2 / 4, np.nan, (2 / 4 + 2 / 3) / 2]
    np.testing.assert_allclose(found["dice"], dice)
    np.testing.assert_allclose(found["iou"], iou)
    assert mean_of(found["dice"]) == pytest.approx((dice[0] + dice[1]) / 2)
    assert mean_of(found["dice"], slice(1, None)) == pytest.approx((dice[1] + dice[3]) / 2)


def test_of_equal_epochs_the_first_is_best():
    history = [{"epoch": i, "dice": [d, 0.0]} for i, d in enumerate((np.nan, 0.5, 0.5, 0.2))]
    assert best_row(history)["epoch"] == 1
    assert best_row(history[:1])["epoch"] == 0
