import pytest
import torch
from torchvision.models import resnet18, resnet50

import thirdaxis
from thirdaxis.errors import UsageError
from thirdaxis.nets.resnet_maps import ResNetMaps


def converted(net, depth_pools=True):
    return thirdaxis.convert(
        net,
        "slicewise",
        depth_stride=False,
        in_channels=1,
        stem="depth",
        overrides={"maxpool": {"depth_stride": depth_pools}},
    )


@pytest.mark.parametrize("make", [resnet18, resnet50])
def test_maps_are_torchvisions(make):
    torch.manual_seed(0)
    theirs = make(weights=None).eval()
    ours = ResNetMaps(make.__name__, depth_pools=True).eval()
    whole = {k: v for k, v in theirs.state_dict().items() if not k.startswith("fc.")}
    assert ours.load_state_dict(whole) is not None
    image = torch.randn(1, 3, 40, 56)
    with torch.no_grad():
        x = theirs.relu(theirs.bn1(theirs.conv1(image)))
        expected = [x]
        for step in ("maxpool", "layer1", "layer2", "layer3", "layer4"):
            expected.append(getattr(theirs, step)(expected[-1]))
        found = ours(image)
    assert [x.shape[1] for x in found] == list(ours.channels)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("depth", [1, 2, 3, 7, 33])
def test_depth_is_halved_at_every_stride_and_rounded_up(depth):
    net = converted(ResNetMaps("resnet18", depth_pools=True).eval())
    with torch.no_grad():
        maps = net(torch.zeros(1, 1, depth, 32, 32))
    strides = (2, 4, 4, 8, 16, 32)
    assert [x.shape[2] for x in maps] == [-(-depth // s) for s in strides]


def test_the_pools_take_the_larger_of_two_slices_where_the_code_has_them():
    """By torch's own 3D layers, block by block: between convolution and norm in the shortcut,
    behind the last norm on the way through; norms of negative weight tell pools before and after.
    """
    torch.manual_seed(0)
    net = ResNetMaps("resnet18", depth_pools=True).eval()
    for norm in net.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(norm.weight)
            torch.nn.init.normal_(norm.running_mean)

    def norm3d(x, norm):
        shape = (1, -1, 1, 1, 1)
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        return (x - norm.running_mean.view(shape)) * scale.view(shape) + norm.bias.view(shape)

    def conv3d(x, conv):
        steps, pads = ((n, *pair) for n, pair in ((1, conv.stride), (0, conv.padding)))
        return torch.conv3d(x, conv.weight.unsqueeze(2), None, steps, pads)

    def pairs(x):
        lone = x[:, :, -1:] if x.shape[2] % 2 else x[:, :, :0]
        even = x.shape[2] // 2 * 2
        return torch.cat([torch.maximum(x[:, :, 0:even:2], x[:, :, 1:even:2]), lone], 2)

    net3d = converted(net)
    with torch.no_grad():
        volume = torch.randn(2, 1, 5, 32, 32)
        maps = net3d(volume)
        kernel = net.conv1.weight.unsqueeze(1)
        x = torch.conv3d(volume, kernel, None, (1, 2, 2), (1, 3, 3))
        torch.testing.assert_close(maps[0], norm3d(pairs(x), net.bn1).relu(), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(maps[1], torch.max_pool3d(maps[0], 3, 2, 1))
        block = net.layer2[0]
        x = norm3d(conv3d(maps[2], block.conv1), block.bn1).relu()
        x = pairs(norm3d(conv3d(x, block.conv2), block.bn2))
        short = norm3d(pairs(conv3d(maps[2], block.downsample[0])), block.downsample[2])
        found = net3d.layer2[0](maps[2])
        torch.testing.assert_close(found, (x + short).relu(), atol=1e-4, rtol=1e-4)


def test_an_unknown_resnet_is_refused():
    with pytest.raises(UsageError, match="unknown ResNet 'resnet20'; did you mean 'resnet"):
        ResNetMaps("resnet20")
