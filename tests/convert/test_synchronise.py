import copy
import pickle

import torch
from torch import nn

import thirdaxis
from thirdaxis.convert.synchronise import synchronise


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.last = nn.Conv2d(4, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.first(x))


def nets() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    own = thirdaxis.convert(Small(), "acs", in_channels=1)
    shared = copy.deepcopy(own)
    synchronise(shared)
    return own, shared


def test_norms_are_exchanged_and_all_else_stays():
    own, shared = nets()
    assert type(shared.first[1]) is nn.SyncBatchNorm and type(own.first[1]) is nn.BatchNorm2d
    assert own.state_dict().keys() == shared.state_dict().keys()
    volume = torch.randn(2, 1, 3, 6, 6)
    for training in (True, False):
        torch.testing.assert_close(own.train(training)(volume), shared.train(training)(volume))
    torch.testing.assert_close(own.first[1].running_var, shared.first[1].running_var)
    again = pickle.loads(pickle.dumps(shared))
    torch.testing.assert_close(again(volume), shared(volume))


def test_what_a_process_group_is_asked_is_of_volumes(monkeypatch):
    """Statistics of all devices are taken of plain (N, C, D, H, W), not of what hides slices."""
    _, shared = nets()
    seen = []
    usual = nn.SyncBatchNorm.forward

    def watched(norm, x):
        seen.append((type(x), tuple(x.shape)))
        return usual(norm, x)

    monkeypatch.setattr(nn.SyncBatchNorm, "forward", watched)
    shared.train()(torch.randn(2, 1, 3, 6, 5))
    assert seen == [(torch.Tensor, (2, 4, 3, 6, 5))]


def test_a_2d_network_is_left_2d():
    net = Small()
    synchronise(net)
    assert type(net.first[1]) is nn.SyncBatchNorm
    assert net(torch.randn(2, 1, 6, 6)).shape == (2, 2, 6, 6)
