import torch
import torch.nn.functional as F
import torchvision

from thirdaxis.nets.encoder_unet import EncoderUNet
from thirdaxis.nets.encoders import ChainEncoder


def _torchvision(name):
    torch.manual_seed(0)
    return torchvision.models.get_model(name, weights=None)


def test_decoder_against_a_written_out_one():
    torch.manual_seed(0)
    net = EncoderUNet(ChainEncoder(_torchvision("squeezenet1_0"), "s"), 3, widths=(32, 24)).eval()
    image = torch.randn(1, 3, 48, 40)
    with torch.no_grad():
        skips = [*net.encoder(image)]
        x = net.bridge(skips.pop())
        for join, skip in zip(net.joins, [*skips[::-1], net.image_skip(image)], strict=True):
            x = F.interpolate(x, size=tuple(skip.shape[2:]), mode="bilinear")
            x = join(torch.cat((x, skip), 1))
        expected = F.interpolate(x, size=(48, 40), mode="bilinear")
        torch.testing.assert_close(net(image), net.head(expected), atol=1e-5, rtol=1e-4)
    assert [join[0].out_channels for join in net.joins] == [32, 24, 24, 16]


def test_full_resolution_path_is_optional_and_left_out_where_it_is_not_needed():
    def unet(name, **settings):
        return EncoderUNet(ChainEncoder(_torchvision(name), name), 2, **settings)

    assert unet("resnet18").image_skip[0].out_channels == 16
    assert unet("resnet18", image_skip=0).image_skip is None
    assert unet("vgg11").image_skip is None
    without = unet("resnet18", image_skip=0).eval()
    with torch.no_grad():
        assert without(torch.randn(1, 3, 45, 50)).shape == (1, 2, 45, 50)


def test_every_parameter_learns():
    net = EncoderUNet(ChainEncoder(_torchvision("mobilenet_v2"), "m"), 3)
    net(torch.randn(2, 3, 64, 64)).square().mean().backward()
    assert [n for n, p in net.named_parameters() if p.grad is None] == []
