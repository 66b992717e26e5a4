"""Networks begin near nothing, and are otherwise what they were."""

import copy

import torch
from torch import nn

from thirdaxis.tasks.locating.network import make_locator_network
from thirdaxis.tasks.locating.plan import plan_of
from thirdaxis.tasks.locating.start import quieten
from thirdaxis.tasks.settings_files import make_settings


def loud(gain):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.BatchNorm3d(4), nn.ReLU())
    net.append(nn.Conv3d(4, 1, 1))
    nn.init.normal_(net[3].weight, 5, gain)
    return net


def test_the_layer_that_gives_the_answer_is_made_smaller_and_no_other():
    net = loud(5.0)
    before = copy.deepcopy(net)
    assert quieten(net, 1, (8, 9, 10)) == "3"
    for name, value in net.state_dict().items():
        same = torch.equal(value, before.state_dict()[name])
        assert same == (not name.startswith("3.")), name
    volume = torch.randn(2, 1, 8, 9, 10)
    ratio = net.train()(volume) / before.train()(volume)
    assert 0 < ratio.mean() < 0.1 and ratio.std() < 1e-4


def test_small_answers_and_answers_of_several_layers_stay():
    small = loud(0.0)
    nn.init.normal_(small[3].weight, 0, 0.1)
    normed = nn.Sequential(nn.Conv3d(1, 1, 3, padding=1), nn.BatchNorm3d(1), nn.ReLU())
    nn.init.constant_(normed[1].weight, 9.0)

    class Twofold(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Conv3d(1, 1, 1), nn.Conv3d(1, 1, 1)
            nn.init.constant_(self.one.weight, 9.0)
            nn.init.constant_(self.two.weight, 9.0)

        def forward(self, volume):
            return self.one(volume) + self.two(volume)

    for net in (small, Twofold()):
        before = copy.deepcopy(net.state_dict())
        assert quieten(net, 1, (4, 5, 6)) is None
        for name, value in net.state_dict().items():
            torch.testing.assert_close(value, before[name])
    assert quieten(normed, 1, (4, 5, 6)) == "1"  # a norm may be what gives the answer


def test_ah_net_begins_near_nothing():
    told = {"task": "locate", "data": "d", "boxes": "b", "network": "ahnet:resnet18"}
    settings = make_settings({**told, "patch": [8, 32, 32]}, "test")
    net = make_locator_network(settings, plan_of(settings, 1)).net
    with torch.no_grad():
        answer = net(torch.randn(2, 1, 8, 32, 32, generator=torch.Generator().manual_seed(1)))
    assert answer.square().mean().sqrt() < 0.3
