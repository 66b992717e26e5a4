import pytest
import torch
from torch import nn
from torchvision.models import resnet18

import thirdaxis
from thirdaxis.nets.resnet_unet import ResNetUNet


def conv(a, b, k):
    """Parameters of a convolution without bias and its batch norm."""
    return a * b * k * k + 2 * b


def test_widths_are_those_of_the_paper():
    encoder = sum(w.numel() for w in resnet18(weights=None).parameters()) - 512 * 1000 - 1000
    steps = [(512, 256), (256, 128), (128, 64), (64, 64)]
    decoder = sum(conv(a, b, 1) + conv(2 * b, b, 3) + conv(b, b, 3) for a, b in steps)
    head = conv(64, 16, 3) + conv(16, 16, 3) + 16 * 2 + 2
    net = ResNetUNet(classes=2)
    assert sum(w.numel() for w in net.parameters()) == encoder + decoder + head


def test_joins_are_at_strides_one_to_sixteen():
    net = thirdaxis.convert(ResNetUNet(classes=2), "i3d", in_channels=1).eval()
    sizes = []
    for part in (*net.joins, net.encoder.layer4):
        part.register_forward_hook(lambda _, __, out: sizes.append(thirdaxis.reveal(out).shape[1:]))
    with torch.no_grad():
        answer = net(torch.randn(1, 1, 16, 32, 32))
    assert answer.shape == (1, 2, 16, 32, 32)
    assert sorted(sizes) == sorted(
        [(512, 1, 2, 2), (256, 2, 4, 4), (128, 4, 8, 8), (64, 8, 16, 16), (64, 16, 32, 32)]
    )
    assert net.encoder.conv1.weight.shape == (64, 1, 7, 7, 7)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_slicewise_is_the_2d_network_on_every_slice(name):
    torch.manual_seed(0)
    net = ResNetUNet(3, name).eval()
    net3d = thirdaxis.convert(net, "slicewise", depth_stride=False)
    volume = torch.randn(1, 3, 2, 32, 48)
    with torch.no_grad():
        torch.testing.assert_close(net3d(volume)[:, :, 1], net(volume[:, :, 1]))


def test_the_head_drops_channels_in_training_alone():
    net = ResNetUNet(2, dropout=0.5)
    drops = [m for m in net.modules() if isinstance(m, nn.Dropout2d)]
    assert [drop.p for drop in drops] == [0.5]
    volume = torch.randn(2, 1, 16, 32, 32)
    net3d = thirdaxis.convert(net.eval(), "acs", in_channels=1)
    with torch.no_grad():
        assert torch.equal(net3d(volume), net3d(volume))
