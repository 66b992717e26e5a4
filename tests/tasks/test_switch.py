import math

import pytest
import torch
from torch import nn

from thirdaxis.errors import UsageError
from thirdaxis.tasks.module import RunModule
from thirdaxis.tasks.settings_files import make_settings
from thirdaxis.tasks.switch import has_begun, longest_wait


@pytest.mark.parametrize(
    ("when", "first"),
    [(0.5, 5), (0.3, 3), (3, 3), (1, 1), (10, None), (None, None), ("plateau", 7)],
)
def test_a_change_is_made_once_and_stays(when, first):
    """The loss is lowest in epochs 3, and then in 7, after three epochs that were no lower."""
    losses = [5.0, 4.0, 4.5, 3.0, 3.0, 3.5, 3.1, 2.0, 1.0]
    begun = [
        has_begun(when, losses[:epoch], epochs=10, plateau=3) for epoch in range(len(losses) + 1)
    ]
    assert begun == [first is not None and epoch >= first for epoch in range(10)]


def test_what_is_no_number_is_no_progress():
    assert longest_wait([]) == 0
    assert longest_wait([1.0, math.nan, 0.5, math.nan, math.nan]) == 2
    assert longest_wait([math.nan, math.nan]) == 2
    assert longest_wait([3.0, 2.0, 1.0]) == 0


def settings(**values):
    return make_settings({"task": "segment", "data": "d", **values}, "test")


def test_words_of_a_command_line_are_understood():
    assert settings(freeze="encoder", unlock_at="plateau").unlock_at == "plateau"
    told = settings(freeze="encoder", unlock_at=0.5, focal_from=3)
    assert (told.unlock_at, told.focal_from) == (0.5, 3)
    assert make_settings(told.plain(), "again") == told


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"unlock_at": 3}, "unlock_at names no modules: name them by freeze"),
        ({"unlock_at": 0, "freeze": "enc1"}, "setting 'unlock_at'"),
        ({"unlock_at": "platau", "freeze": "enc1"}, "setting 'unlock_at'"),
        ({"plateau": 0}, "setting 'plateau'"),
        ({"focal_from": 2, "loss": "dice_focal"}, "focal_from: the loss 'dice_focal' is focal"),
        ({"focal_from": 2, "loss": "dice"}, "focal_from: the loss 'dice' has no focal form"),
    ],
)
def test_settings_that_make_no_change(values, said):
    with pytest.raises(UsageError, match=said):
        settings(**values)


class Plan:
    def plain(self):
        return {}


def test_what_is_unlocked_later_is_locked_before_and_optimised_from_the_start():
    net = nn.Sequential()
    net.first = nn.Sequential(nn.Conv3d(1, 2, 1), nn.BatchNorm3d(2))
    net.last = nn.Conv3d(2, 2, 1)
    net.first.requires_grad_(False)
    module = RunModule(net, settings(freeze="first", unlock_at=2, epochs=4), Plan(), 8)
    (optimiser,), _ = module.configure_optimizers()
    assert optimiser.param_groups[0]["params"] == list(net.parameters())
    before = {name: value.clone() for name, value in net.state_dict().items()}
    for epoch in range(3):
        module.past_losses = [1.0] * epoch
        module.on_train_epoch_start()
        locked = epoch < 2
        assert [m.training for m in (net, net.first[1], net.last)] == [True, not locked, True]
        assert module.changes() == ([] if locked else ["unlocked"])
        optimiser.zero_grad()
        module(torch.randn(4, 1, 2, 2, 2)).square().mean().backward()
        optimiser.step()
        moved = {n for n, v in net.state_dict().items() if not torch.equal(v, before[n])}
        assert {n.split(".")[0] for n in moved} == ({"last"} if locked else {"first", "last"})
        assert "first.1.running_mean" not in moved or not locked
