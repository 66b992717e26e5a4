"""Depth stride, overrides, statistics, the stem, and what is said about senseless arguments."""

import pytest
import torch
from torch import nn
from torchvision import models

import thirdaxis


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(0)
    return models.resnet18(weights=None).eval()


class Body(nn.Module):
    """The feature map of a ResNet, without its head."""

    def __init__(self, net):
        super().__init__()
        self.net = nn.Sequential(*list(net.children())[:-2])

    def forward(self, x):
        return self.net(x)


@pytest.mark.parametrize("depth,expected", [(1, 1), (2, 1), (31, 1), (32, 1), (33, 2), (65, 3)])
def test_depth_is_strided_like_the_plane_or_kept(resnet, depth, expected):
    volume = torch.randn(1, 3, depth, 32, 32)
    with torch.no_grad():
        assert thirdaxis.convert(Body(resnet))(volume).shape == (1, 512, expected, 1, 1)
        kept = thirdaxis.convert(Body(resnet), depth_stride=False)
        assert kept(volume).shape == (1, 512, depth, 1, 1)


def test_overrides_by_pattern(resnet):
    lifted = thirdaxis.convert(
        resnet,
        "acs",
        overrides={
            "layer*": {"depth_stride": False},
            "layer4": thirdaxis.I3D(),
            "layer4.1": {"fusion": "slicewise", "statistics": "slice"},
        },
    )
    assert lifted.layer4[0].conv1.weight.dim() == 5
    assert lifted.layer4[1].conv1.weight.dim() == 4
    assert lifted.layer3[0].conv1.weight.dim() == 4
    shapes = {}
    for name in ("layer1", "layer4"):
        getattr(lifted, name).register_forward_hook(
            lambda module, args, out, name=name: shapes.update({name: out})
        )
    with torch.no_grad():
        assert lifted(torch.randn(1, 3, 16, 64, 64)).shape == (1, 1000)
    assert thirdaxis.reveal(shapes["layer1"]).shape == (1, 64, 4, 16, 16)
    assert thirdaxis.reveal(shapes["layer4"]).shape == (1, 512, 4, 2, 2)
    text = str(thirdaxis.report(lifted))
    assert "layer4: I3D(), depth kept" in text
    assert "15 of 17 spatial ones lifted" in text


class Separate(nn.Sequential):
    """Says itself how its convolutions are lifted."""

    lifted_as = {"0": "slicewise", "1": thirdaxis.I3D(taps=3)}  # noqa: RUF012


def test_what_a_network_asks_for_itself_holds_unless_it_is_overridden():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 4, 3), Separate(nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 1)))
    volume = torch.randn(1, 2, 5, 8, 8)

    def shapes(**told):
        lifted = thirdaxis.convert(net, "i3d", depth_stride=False, **told)
        found = [tuple(m.weight.shape[2:]) for m in (lifted[0], *lifted[1])]
        return lifted, found

    lifted, found = shapes()
    assert found == [(3, 3, 3), (3, 3), (3, 1, 1)]
    assert shapes(overrides={"1.0": "i3d", "1.1": "acs"})[1] == [(3, 3, 3), (3, 3, 3), (1, 1)]
    said = {"1.0": "slicewise", "1.1": thirdaxis.I3D(taps=3)}
    plain = nn.Sequential(net[0], nn.Sequential(*net[1]))
    expected = thirdaxis.convert(plain, "i3d", depth_stride=False, overrides=said)
    with torch.no_grad():
        torch.testing.assert_close(lifted(volume), expected(volume))
        inner = thirdaxis.convert(net[0], "i3d")(volume)
        planes = nn.functional.conv3d(inner, net[1][0].weight.unsqueeze(2), net[1][0].bias)
        taps = net[1][1].weight.unsqueeze(2).repeat(1, 1, 3, 1, 1) / 3
        along = nn.functional.conv3d(planes, taps, net[1][1].bias, 1, (1, 0, 0))
    torch.testing.assert_close(lifted(volume), along)


def test_override_equals_the_whole_conversion(resnet):
    volume = torch.randn(1, 3, 8, 32, 32)
    with torch.no_grad():
        whole = thirdaxis.convert(resnet, "slicewise", statistics="volume")(volume)
        parts = thirdaxis.convert(
            resnet, "acs", overrides={"conv1": "slicewise", "layer*": "slicewise"}
        )(volume)
    torch.testing.assert_close(whole, parts)


def test_statistics_per_slice_or_per_volume():
    net = nn.Sequential(nn.GroupNorm(2, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    volume = torch.randn(2, 4, 6, 5, 5) * torch.arange(1.0, 7).view(-1, 1, 1)
    sliced = thirdaxis.convert(net, "acs", statistics="slice")(volume)
    expected = torch.stack([net(volume[:, :, i]) for i in range(6)]).mean(0)
    torch.testing.assert_close(sliced, expected)
    whole = thirdaxis.convert(net, "acs", statistics="volume")(volume)
    normed = nn.functional.group_norm(volume, 2, net[0].weight, net[0].bias)
    torch.testing.assert_close(whole, normed.mean((2, 3, 4)))


def test_the_summed_stem_keeps_the_response_to_grey(resnet):
    grey = torch.randn(1, 1, 6, 32, 32)
    with torch.no_grad():
        rgb = thirdaxis.convert(resnet)(grey.repeat(1, 3, 1, 1, 1))
        one = thirdaxis.convert(resnet, in_channels=1)
        two = thirdaxis.convert(resnet, in_channels=2)
        assert one.conv1.weight.shape == (64, 1, 7, 7) and one.conv1.in_channels == 1
        torch.testing.assert_close(one(grey), rgb, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(two(grey.repeat(1, 2, 1, 1, 1)), rgb, rtol=1e-4, atol=1e-4)
    assert resnet.conv1.weight.shape == (64, 3, 7, 7)


def test_mean_and_green_stems(resnet):
    weight = resnet.conv1.weight
    mean = thirdaxis.convert(resnet, in_channels=2, stem="mean").conv1.weight
    green = thirdaxis.convert(resnet, in_channels=1, stem="green").conv1.weight
    torch.testing.assert_close(mean[:, 1], (weight[:, 0] + weight[:, 1] + weight[:, 2]) / 3)
    torch.testing.assert_close(green[:, 0], weight[:, 1])


def test_the_depth_stem_reads_three_slices_as_red_green_and_blue(resnet):
    lifted = thirdaxis.convert(
        nn.Sequential(resnet.conv1), "acs", in_channels=1, stem="depth", depth_stride=False
    )
    assert lifted[0].weight.shape == (64, 1, 3, 7, 7)
    volume = torch.randn(1, 1, 5, 20, 20)
    with torch.no_grad():
        out = lifted(volume)
        for i in (1, 2, 3):
            picture = volume[:, 0, i - 1 : i + 2]
            torch.testing.assert_close(out[:, :, i], resnet.conv1(picture), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "arguments,message",
    [
        ({"fusion": "asc"}, "unknown fusion 'asc'; did you mean 'acs'"),
        ({"fusion": 3}, "fusion takes a name or a settings object, got 3"),
        ({"depth_stride": "no"}, "depth_stride takes True, False or None, got 'no'"),
        ({"in_channels": 0}, "in_channels takes a whole number from 1, got 0"),
        ({"in_channels": 1, "stem": "grene"}, "did you mean 'green'"),
        ({"statistics": "slices"}, "did you mean 'slice'"),
        ({"overrides": {"layre4": "acs"}}, "no module matches 'layre4'; did you mean 'layer"),
        ({"overrides": {"layer4": {"stride": 1}}}, "unknown setting 'stride'"),
        ({"overrides": {"layer4": "i3"}}, "did you mean 'i3d'"),
        ({"example": torch.zeros(3, 8, 8)}, r"got \(3, 8, 8\)"),
    ],
)
def test_senseless_arguments(resnet, arguments, message):
    with pytest.raises(thirdaxis.UsageError, match=message):
        thirdaxis.convert(resnet, **arguments)


def test_only_unconverted_modules(resnet):
    with pytest.raises(thirdaxis.UsageError, match="takes a torch.nn.Module, got str"):
        thirdaxis.convert("resnet18")
    with pytest.raises(thirdaxis.UsageError, match="is converted"):
        thirdaxis.convert(nn.Sequential(thirdaxis.convert(resnet)))
    with pytest.raises(thirdaxis.UsageError, match="that thirdaxis.convert returned"):
        thirdaxis.report(resnet)


def test_wrong_volumes(resnet):
    lifted = thirdaxis.convert(resnet)
    with pytest.raises(thirdaxis.InputError, match="'conv1' takes 3 channels, got a volume of 1"):
        lifted(torch.zeros(1, 1, 8, 32, 32))
    unpadded = thirdaxis.convert(nn.Sequential(nn.Conv2d(1, 4, 3), nn.MaxPool2d(2)))
    with pytest.raises(thirdaxis.InputError, match="too small for the network: 2 x 9"):
        unpadded(torch.zeros(1, 1, 8, 2, 9))
    with pytest.raises(thirdaxis.InputError, match="too small .* layer '1'"):
        unpadded(torch.zeros(1, 1, 8, 3, 9))
    with pytest.raises(thirdaxis.InputError, match="larger volume or a larger batch"):
        thirdaxis.convert(resnet).train()(torch.zeros(1, 3, 8, 32, 32))
