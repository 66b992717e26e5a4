"""Slices stacked as the channels of a 2D network."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision import models

import thirdaxis


@pytest.mark.parametrize(
    ("slices", "channels"),
    [(1, [1]), (3, [0, 1, 2]), (5, [2, 0, 1, 2, 0]), (7, [1, 2, 0, 1, 2, 0, 1])],
)
def test_the_rgb_stem_is_repeated_around_the_middle_slice(slices, channels):
    torch.manual_seed(0)
    net = models.resnet18(weights=None).eval()
    before = copy.deepcopy(net.state_dict())
    deep = thirdaxis.stacked(net, slices)
    x = torch.randn(2, 1, slices, 64, 64)
    weight = torch.stack([net.conv1.weight[:, c] for c in channels], 1)
    seen = []
    hook = deep.conv1.register_forward_hook(lambda module, args, out: seen.append(out))
    with torch.no_grad():
        assert deep(x).shape == (2, 1000)
        torch.testing.assert_close(seen[0], F.conv2d(x[:, 0], weight, stride=2, padding=3))
        if slices == 3:
            torch.testing.assert_close(deep(x), net(x[:, 0]))
    hook.remove()
    assert list(deep.state_dict()) == list(net.state_dict())
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    for twin in (copy.deepcopy(deep), pickle.loads(pickle.dumps(deep))):
        with torch.no_grad():
            torch.testing.assert_close(twin(x), deep(x))


def test_what_cannot_be_stacked():
    net = thirdaxis.stacked(nn.Sequential(nn.Conv2d(1, 2, 3)), 4)
    for wrong in (torch.zeros(1, 1, 5, 6, 6), torch.zeros(1, 4, 6, 6), torch.zeros(1, 2, 4, 6, 6)):
        with pytest.raises(thirdaxis.InputError, match=r"takes \(N, 1, 4, H, W\), got"):
            net(wrong)
    for what, slices in (
        (nn.Linear(3, 3), 3),
        (nn.Sequential(nn.Conv2d(4, 4, 3, groups=4)), 3),
        (nn.Sequential(nn.Conv2d(3, 4, 3)), 0),
        (thirdaxis.convert(nn.Sequential(nn.Conv2d(3, 4, 3))), 3),
    ):
        with pytest.raises(thirdaxis.UsageError, match="stacked"):
            thirdaxis.stacked(what, slices)
