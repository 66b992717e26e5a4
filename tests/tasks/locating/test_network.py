import pytest
import torch
from torch import nn

from thirdaxis.errors import InputError, UsageError
from thirdaxis.tasks.locating import network
from thirdaxis.tasks.locating.plan import plan_of
from thirdaxis.tasks.network import Made
from thirdaxis.tasks.settings_files import make_settings


class Refuses(nn.Module):
    def forward(self, volume: torch.Tensor) -> torch.Tensor:
        raise InputError("sides are multiples of 32")


@pytest.mark.parametrize(
    ("net", "said"),
    [
        (
            nn.Conv3d(1, 2, 1),
            r"gives \(1, 2, 4, 8, 8\) for a patch of 4×8×8 voxels, expected one map",
        ),
        (nn.MaxPool3d(2), r"gives \(1, 1, 2, 4, 4\)"),
        (Refuses(), "does not go through unet: sides are multiples of 32; take a larger patch"),
    ],
)
def test_a_network_that_gives_no_map_of_the_patch_is_refused(monkeypatch, net, said):
    told = {"task": "locate", "data": "d", "boxes": "b", "network": "unet", "patch": [4, 8, 8]}
    settings = make_settings(told, "test")
    monkeypatch.setattr(network, "converted", lambda *_, **__: Made(net, None))
    with pytest.raises(UsageError, match=said):
        network.make_locator_network(settings, plan_of(settings, 1))
