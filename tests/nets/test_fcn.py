import pytest
import torch
import torch.nn.functional as F
from torch import nn

import thirdaxis
from thirdaxis.nets.fcn import FCN
from thirdaxis.nets.lidc import LidcDenseNet121, LidcResNet18, LidcVGG16


class Maps(nn.Module):
    """An encoder whose maps are known: pools and copies of the image."""

    channels = (1, 2, 3)

    def maps(self, image):
        half = F.avg_pool2d(image, 2).repeat(1, 2, 1, 1)
        return [image, half, F.avg_pool2d(image, 4).repeat(1, 3, 1, 1)]


def count(net):
    return sum(weight.numel() for weight in net.parameters())


@pytest.mark.parametrize("norm", [False, True])
def test_the_joins_are_those_written_out_by_hand(norm):
    torch.manual_seed(0)
    net = FCN(Maps(), 2, width=(4, 8), norm=norm).eval()
    image = torch.randn(2, 1, 8, 12)
    fine, half, quarter = Maps().maps(image)

    def mix(x, stage):
        x = F.conv2d(x, net.mixes[stage][0].weight)
        return F.relu(x / (1 + 1e-5) ** 0.5) if norm else x

    def double(x):
        return x.repeat_interleave(2, -1).repeat_interleave(2, -2)

    x = mix(torch.cat([half, double(quarter)], 1), 0)
    x = mix(torch.cat([fine, double(x)], 1), 1)
    x = F.relu(F.conv2d(x, net.head[0].weight, padding=1) / (1 + 1e-5) ** 0.5)
    expected = F.conv2d(x, net.head[3].weight, net.head[3].bias)
    with torch.no_grad():
        torch.testing.assert_close(net(image), expected)
        odd = net(torch.randn(1, 1, 9, 13))
    assert odd.shape == (1, 2, 9, 13)
    assert expected.shape == (2, 2, 8, 12)


def test_parameter_counts_of_the_paper():
    """49.8 and 142.5 "Mb" of Table V are 12,389,442 and 35,596,482 numbers of four bytes."""
    net = FCN(LidcResNet18(), 2, norm=False)
    assert count(net) == 12_389_442
    assert count(thirdaxis.convert(net, "acs")) == 12_389_442
    assert count(thirdaxis.convert(net, "i3d")) == 35_596_482
    # two batch norms of 512 channels
    assert count(FCN(LidcResNet18(), 2, norm=True)) == 12_389_442 + 2 * 2 * 512


@pytest.mark.parametrize(
    ("encoder", "joined"), [(LidcVGG16, (768, 320)), (LidcDenseNet121, (1280, 320))]
)
def test_the_other_decoders_are_narrow(encoder, joined):
    net = FCN(encoder(), 2, width=(256, 64), norm=False)
    assert [mix[0].weight.shape[:2] for mix in net.mixes] == [(256, joined[0]), (64, joined[1])]
    assert not any(part in name for name in net.state_dict() for part in ("fc", "norm5"))
    assert not any(name.startswith("encoder.classifier") for name in net.state_dict())
    with torch.no_grad():
        volume = torch.randn(1, 1, 8, 16, 16)
        net3d = thirdaxis.convert(net.eval(), "slicewise", depth_stride=False, in_channels=1)
        answer = net3d(volume)
        assert answer.shape == (1, 2, 8, 16, 16)
        torch.testing.assert_close(
            answer[:, :, 3], net(volume[:, :, 3].repeat(1, 3, 1, 1)), rtol=1e-3, atol=1e-4
        )


def test_gradients_reach_every_weight():
    net = thirdaxis.convert(FCN(LidcResNet18(), 2, norm=True), "acs", in_channels=1)
    net(torch.randn(1, 1, 8, 16, 16)).sum().backward()
    assert all(weight.grad is not None for weight in net.parameters())
