"""Short cuts of layers against the calls that they spare."""

import copy

import pytest
import torch
from torch import nn

import thirdaxis
from thirdaxis.convert.carrier import LAYERS
from thirdaxis.convert.rules_resize import resize_depth

MADE = {
    nn.Conv2d: [
        lambda: nn.Conv2d(4, 6, 3, 2, 1),
        lambda: nn.Conv2d(4, 4, 3, padding="same", groups=4, bias=False),
        lambda: nn.Conv2d(4, 6, 3, padding=1, padding_mode="circular"),
    ],
    nn.BatchNorm2d: [
        lambda: nn.BatchNorm2d(4),
        lambda: nn.BatchNorm2d(4, affine=False, momentum=None),
        lambda: nn.BatchNorm2d(4, track_running_stats=False),
    ],
    nn.SyncBatchNorm: [lambda: nn.SyncBatchNorm(4)],
}
CASES = [(kind, i) for kind in LAYERS for i in range(len(MADE.get(kind, [kind])))]


def the_long_way(net: nn.Module) -> nn.Module:
    """A copy whose layers run their own code and its rules."""
    net = copy.deepcopy(net)
    for module in net.modules():
        if hasattr(vars(module).get("forward"), "straight"):
            vars(module)["forward"].straight = None
    return net


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kind, which", CASES)
def test_short_cut_changes_nothing(kind, which, training, double_precision):
    layer = MADE.get(kind, [kind])[which]()
    short = thirdaxis.convert(nn.Sequential(nn.Conv2d(3, 4, 1), layer), "acs").train(training)
    long = the_long_way(short)
    x = torch.randn(2, 3, 5, 8, 7)
    found, expected = short(x), long(x)
    assert torch.equal(found, expected)
    for answer in (found, expected):
        answer.square().sum().backward()
    for ours, theirs in zip(short.parameters(), long.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)
    for ours, theirs in zip(short.buffers(), long.buffers(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("kind", LAYERS)
def test_short_cut_is_taken(kind, monkeypatch):
    taken = []
    handler = LAYERS[kind]
    monkeypatch.setitem(LAYERS, kind, lambda m, x: taken.append(m) or handler(m, x))
    layer = MADE.get(kind, [kind])[0]()
    thirdaxis.convert(nn.Sequential(nn.Identity(), layer).eval())(torch.randn(1, 4, 2, 8, 8))
    assert len(taken) == 1


def test_own_subclass_runs_its_own_code():
    class Twice(nn.Conv2d):
        def forward(self, x):
            return 2 * super().forward(x)

    net = nn.Sequential(Twice(1, 1, 3))
    x = torch.randn(1, 1, 4, 6, 6)
    plain = nn.Sequential(nn.Conv2d(1, 1, 3))
    plain.load_state_dict(net.state_dict())
    found, expected = (thirdaxis.convert(n, "slicewise")(x) for n in (net, plain))
    torch.testing.assert_close(found, 2 * expected)


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_depth_of_huge_planes_is_resized_exactly(mode):
    """Their voxels are more than 32 bits can count, as one row of a picture."""
    volume = torch.arange(4200.0).repeat(1, 1, 2, 4200, 1)
    resized = resize_depth(volume, 3, mode, None if mode == "nearest" else False)
    assert torch.equal(resized, volume[:, :, :1].expand_as(resized))
