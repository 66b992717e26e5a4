import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models

import thirdaxis
from thirdaxis.errors import UsageError
from thirdaxis.nets.build import build
from thirdaxis.nets.encoder_unet import EncoderUNet
from thirdaxis.nets.lidc import LIDC, LidcDenseNet121, LidcResNet18, LidcVGG16


def count(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def decoder_count(deep: int, middle: int, fine: int, joined: int, last: int, volume: bool) -> int:
    """Two joining 1 x 1 convolutions without bias, a 3 x 3 one with norm, and two classes."""
    kernel = 27 if volume else 9
    head = last * (last // 4) * kernel + 2 * (last // 4) + 2 * (last // 4) + 2
    return (deep + middle) * joined + (joined + fine) * last + head


def test_resnet_has_the_papers_size_with_the_papers_decoder():
    net = LidcResNet18()
    without_head = count(net) - count(net.fc)
    acs = count(thirdaxis.convert(LidcResNet18(), "acs")) - count(net.fc)
    i3d = count(thirdaxis.convert(LidcResNet18(), "i3d")) - count(net.fc)
    assert acs == without_head == 11_176_512
    assert round((acs + decoder_count(512, 128, 64, 512, 512, False)) / 1e6, 2) == 12.39
    assert round((i3d + decoder_count(512, 128, 64, 512, 512, True)) / 1e6, 1) == 35.6


@pytest.mark.parametrize("name", LIDC)
def test_parameters_are_those_of_torchvision_but_for_the_last_layer(name):
    with torch.device("meta"):
        mine = LIDC[name][0](2).state_dict()
        theirs = models.get_model(LIDC[name][1], weights=None).state_dict()
    different = {key for key in mine if key not in theirs or mine[key].shape != theirs[key].shape}
    assert (
        different
        == {
            "resnet18": {"fc.weight", "fc.bias"},
            "vgg16_bn": {"classifier.weight", "classifier.bias"},
            "densenet121": {"classifier.weight", "classifier.bias"},
        }[name]
    )


@pytest.mark.parametrize("name", LIDC)
def test_maps_have_the_stated_sizes_and_nothing_overwrites_them(name):
    torch.manual_seed(0)
    net = LIDC[name][0](3).eval()
    seen = []
    taps = {
        "resnet18": ("relu", "layer2", "layer4"),
        "vgg16_bn": ("features.5", "features.22", "features.42"),
        "densenet121": ("features.relu0", "features.transition2", "features.denseblock4"),
    }[name]
    for tap in taps:
        layer = net.get_submodule(tap)
        layer.register_forward_hook(lambda module, args, output: seen.append(output.clone()))
    with torch.no_grad():
        maps = net.maps(torch.randn(1, 3, 16, 24))
        for found, expected, width, stride in zip(
            maps, seen, net.channels, net.strides, strict=True
        ):
            assert found.shape == (1, width, 16 // stride, 24 // stride)
            torch.testing.assert_close(found, expected)
        assert net(torch.randn(2, 3, 16, 24)).shape == (2, 3)


def test_resnet_differs_from_torchvisions_in_strides_alone():
    torch.manual_seed(0)
    coarse, fine = models.resnet18(num_classes=2).eval(), LidcResNet18().eval()
    fine.load_state_dict(coarse.state_dict())
    for layer in (coarse.conv1, coarse.layer3[0].conv1, coarse.layer3[0].downsample[0]):
        layer.stride = (1, 1)
    coarse.maxpool = nn.Identity()
    image = torch.randn(2, 3, 24, 24)
    with torch.no_grad():
        torch.testing.assert_close(fine(image), coarse(image))


@pytest.mark.parametrize("kind", [LidcResNet18, LidcVGG16, LidcDenseNet121])
def test_scores_come_from_the_mean_of_the_last_map(kind):
    torch.manual_seed(0)
    net = kind(2).eval()
    last = net.fc if kind is LidcResNet18 else net.classifier
    with torch.no_grad():
        image = torch.randn(1, 3, 16, 16)
        deep = net.maps(image)[-1]
        if kind is LidcDenseNet121:
            deep = net.features.norm5(deep).relu()
        torch.testing.assert_close(net(image), deep.mean((2, 3)) @ last.weight.T + last.bias)


def test_it_converts_and_takes_grey_volumes():
    net = thirdaxis.convert(LidcResNet18(), "acs", in_channels=1).eval()
    with torch.no_grad():
        assert net(torch.randn(1, 1, 8, 12, 16)).shape == (1, 2)


def test_built_by_name_with_torchvisions_weights(tmp_path):
    source = models.resnet18(weights=None)
    save_file(source.state_dict(), tmp_path / "r18.safetensors")
    built = build("lidc:resnet18", classes=2, weights=tmp_path / "r18.safetensors", task="classify")
    assert isinstance(built.net, LidcResNet18) and built.rgb
    assert torch.equal(built.net.conv1.weight, source.conv1.weight)
    assert {name for name, _ in built.weights.skipped} == {"fc.weight", "fc.bias"}


def test_for_segmentation_it_is_an_encoder():
    net = build("lidc:resnet18", classes=2).net
    assert isinstance(net, EncoderUNet) and net.encoder.strides == (1, 2, 4)


def test_an_unknown_name_is_refused():
    with pytest.raises(UsageError, match="did you mean 'resnet18'"):
        build("lidc:resnet81", classes=2, task="classify")
