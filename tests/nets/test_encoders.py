import pytest
import timm
import torch
import torchvision
from torch import nn

from thirdaxis.errors import UsageError
from thirdaxis.nets.encoder_unet import EncoderUNet
from thirdaxis.nets.encoders import ChainEncoder, TimmEncoder, last_of_each_size


def _torchvision(name):
    torch.manual_seed(0)
    return torchvision.models.get_model(name, weights=None)


# channels and strides as the papers' tables give them
PYRAMIDS = {
    "resnet18": ((64, 64, 128, 256, 512), (2, 4, 8, 16, 32)),
    "mobilenet_v2": ((16, 24, 32, 96, 1280), (2, 4, 8, 16, 32)),
    "mobilenet_v3_small": ((16, 16, 24, 48, 576), (2, 4, 8, 16, 32)),
    "squeezenet1_0": ((96, 256, 512, 512), (2, 4, 9, 18)),
    "densenet121": ((64, 128, 256, 512, 1024), (2, 4, 8, 16, 32)),
    "vgg11": ((64, 128, 256, 512, 512, 512), (1, 2, 4, 8, 16, 32)),
    "shufflenet_v2_x0_5": ((24, 24, 48, 96, 1024), (2, 4, 8, 16, 32)),
    "regnet_x_400mf": ((32, 32, 64, 160, 400), (2, 4, 8, 16, 32)),
    "efficientnet_b0": ((16, 24, 40, 112, 1280), (2, 4, 8, 16, 32)),
    "convnext_tiny": ((96, 192, 384, 768), (4, 8, 16, 32)),
    "mnasnet0_5": ((8, 16, 24, 48, 1280), (2, 4, 8, 16, 32)),
}


@pytest.mark.parametrize("name", PYRAMIDS)
def test_pyramid_of_torchvision_classifiers(name):
    encoder = ChainEncoder(_torchvision(name), name)
    assert (encoder.channels, encoder.strides) == PYRAMIDS[name]
    net = EncoderUNet(encoder, 3).eval()
    with torch.no_grad():
        assert net(torch.randn(1, 3, 64, 72)).shape == (1, 3, 64, 72)


def test_maps_are_those_of_the_network_itself():
    net = _torchvision("resnet18").eval()
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        x = net.relu(net.bn1(net.conv1(image)))
        expected = [x]
        x = net.maxpool(x)
        for layer in (net.layer1, net.layer2, net.layer3, net.layer4):
            x = layer(x)
            expected.append(x)
        whole = net(image)
        head = net.fc
        encoder = ChainEncoder(net, "resnet18").eval()
        maps = encoder(image)
    assert len(maps) == 5
    for given, wanted in zip(maps, expected, strict=True):
        torch.testing.assert_close(given, wanted)
    torch.testing.assert_close(head(maps[-1].mean((2, 3))), whole)
    assert not any(name.startswith("body.fc") for name in encoder.state_dict())
    assert "body.layer1.0.conv1.weight" in encoder.state_dict()


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv3_small_050", "resnetv2_50"])
def test_timm_encoder_every_parameter_learns(name):
    torch.manual_seed(0)
    net = EncoderUNet(TimmEncoder(timm.create_model(name), name), 2)
    net(torch.randn(2, 3, 64, 64)).square().mean().backward()
    assert [n for n, p in net.named_parameters() if p.grad is None] == []


def test_timm_and_torchvision_agree_on_the_same_weights():
    """The two ways to a pyramid are independent; the same ResNet-18 goes through both."""
    ours = _torchvision("resnet18").eval()
    theirs = timm.create_model("resnet18").eval()
    theirs.load_state_dict(ours.state_dict())
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        chain = ChainEncoder(ours, "resnet18").eval()(image)
        intermediates = TimmEncoder(theirs, "resnet18").eval()(image)
    for a, b in zip(chain, intermediates, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("name", ["vit_b_16", "swin_t", "maxvit_t"])
def test_transformers_are_refused(name):
    with pytest.raises(UsageError, match="cannot be an encoder"):
        ChainEncoder(_torchvision(name), name)


def test_timm_transformers_are_refused():
    net = timm.create_model("vit_tiny_patch16_224", img_size=(128, 192))
    with pytest.raises(UsageError, match="feature maps of 1 resolutions"):
        TimmEncoder(net, "vit")


def test_last_map_of_each_size():
    sizes = [(64, 96), (32, 48), (32, 48), (16, 24), (8, 12), (8, 12)]
    assert last_of_each_size([torch.empty(1, 1, *s) for s in sizes], "net") == [0, 2, 3, 5]
    with pytest.raises(UsageError, match="grow"):
        last_of_each_size([torch.empty(1, 1, *s) for s in [(8, 12), (16, 24)]], "net")
    with pytest.raises(UsageError, match=r"do not give \(N, C, H, W\)"):
        last_of_each_size([torch.empty(1, *s, 384) for s in [(16, 24), (8, 12)]], "net")


def test_a_broken_chain_ends_where_it_breaks():
    class Skipping(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c, self.d = (nn.Conv2d(i, 4, 3, 2, 1) for i in (3, 4, 4, 4))

        def forward(self, x):
            return self.d(torch.relu(self.c(self.b(self.a(x)))))

    encoder = ChainEncoder(Skipping(), "skipping")
    assert encoder.channels == (4, 4, 4) and encoder.strides == (2, 4, 8)
    assert {name.split(".")[1] for name in encoder.state_dict()} == {"a", "b", "c"}
