import pytest
import torch

from thirdaxis.errors import UsageError
from thirdaxis.tasks.module import RunModule
from thirdaxis.tasks.network import converted
from thirdaxis.tasks.settings_files import make_settings


def settings(**values):
    return make_settings({"task": "segment", "data": "d", **values}, "test")


def made(told, *, load=True):
    return converted(told, "segment", classes=2, channels=1, depth=8, load=load)


def test_networks_published_in_3d_are_so_unless_told():
    assert settings().fusion == settings(network="unet").fusion == "acs"
    assert settings(network="resnet3d:18").fusion == settings(network="p3d:63").fusion == "i3d"
    assert settings(network="resnet3d:18", fusion="acs").fusion == "acs"
    told = settings(network="resnet3d:18-v1c")
    assert make_settings(told.plain(), "again") == told


def test_a_start_is_of_the_seed_and_draws_every_tap():
    first, again, other = (
        made(settings(fusion="i3d", start="xavier", seed=seed)).net.enc1[0].weight
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert not torch.equal(first[:, :, 0], first[:, :, 2])
    with pytest.raises(UsageError, match="zero_last_norm goes with a start"):
        settings(zero_last_norm=True)


class Plan:
    def plain(self):
        return {}


@pytest.mark.parametrize("load", [True, False])
def test_frozen_parts_stay_out_of_training(load):
    told = settings(freeze="enc1,enc2")
    net = made(told, load=load).net
    module = RunModule(net, told, Plan(), 1)
    module.eval()
    module.train()
    assert net.training and net.dec1.training and net.dec1[1].training
    assert not any(m.training for part in (net.enc1, net.enc2) for m in part.modules())
    optimised = {
        id(p) for group in module.configure_optimizers()[0] for p in group.param_groups[0]["params"]
    }
    assert settings(freeze="maxpool,*layer1").freeze == ("maxpool", "*layer1")
    assert optimised == {id(p) for part in (net.dec1, net.head) for p in part.parameters()}
