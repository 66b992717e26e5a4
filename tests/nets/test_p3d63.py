import pytest
import torch
import torch.nn.functional as F
from torch import nn

from thirdaxis.errors import UsageError
from thirdaxis.nets.p3d63 import p3d


def on_meta(layout):
    with torch.device("meta"):
        return p3d(layout).eval()


def test_layers_are_planar_or_along_depth():
    net = on_meta("63")
    assert [len(getattr(net, f"layer{i}")) for i in range(1, 5)] == [3, 4, 6, 3]
    blocks = [b for i in range(1, 5) for b in getattr(net, f"layer{i}")]
    assert "".join(block.kind for block in blocks) == "ABCABCABCABCABCA"
    for block in blocks:
        assert block.conv2.weight.shape[2:] == (3, 3)  # a planar kernel keeps two sides
        assert block.conv3.weight.shape[2:] == (3, 1, 1)
        assert block.conv1.weight.shape[2:] == block.conv4.weight.shape[2:] == (1, 1)
    assert net.conv1.weight.shape == (64, 1, 7, 7)


def test_strides_leave_depth_alone():
    net, x, found = on_meta("63"), torch.empty(1, 1, 9, 64, 64, device="meta"), []
    with torch.no_grad():
        for part in (net.conv1, net.maxpool, net.layer1, net.layer2, net.layer3, net.layer4):
            x = part(x)
            found.append(tuple(x.shape[1:4]))
    assert found == [
        (64, 9, 32),
        (64, 9, 16),
        (256, 9, 16),
        (512, 9, 8),
        (1024, 9, 4),
        (2048, 9, 2),
    ]


def by_hand(x, weight, norm, stride=1):
    """A dense convolution, a norm in evaluation mode by its formula, and ReLU."""
    kernel = weight.unsqueeze(2) if weight.dim() == 4 else weight
    pads = [size // 2 for size in kernel.shape[2:]]
    x = F.conv3d(x, kernel, None, (1, stride, stride), pads)
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    shift = norm.bias - norm.running_mean * scale
    return x * scale.view(-1, 1, 1, 1) + shift.view(-1, 1, 1, 1)


def lively(net):
    for norm in net.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.normal_(norm.running_mean, std=0.1)
            nn.init.uniform_(norm.weight, 0.5, 1.5)
    return net.eval()


@pytest.fixture(scope="module")
def bottlenecks():
    torch.manual_seed(0)
    return p3d("63")


@pytest.mark.parametrize(("place", "kind"), [(1, "B"), (2, "C"), (3, "A")])
def test_bottlenecks_written_out(bottlenecks, place, kind):
    torch.manual_seed(0)
    net = lively(bottlenecks)
    block = [b for i in range(1, 5) for b in getattr(net, f"layer{i}")][place]
    assert block.kind == kind
    stride = 2 if place == 3 else 1
    x = torch.randn(1, 256, 4, 6, 6)

    def step(number, maps, stride=1):
        conv, norm = getattr(block, f"conv{number}"), getattr(block, f"norm_{number}")
        return by_hand(maps, conv.weight, norm, stride)

    with torch.no_grad():
        first = step(1, x, stride).relu()
        planar = step(2, first).relu()
        along = {"A": planar, "B": first, "C": planar}[kind]
        mixed = step(3, along).relu()
        out = step(4, mixed if kind == "A" else planar + mixed)
        beside = by_hand(x, block.downsample[0].weight, block.downsample[1], 2) if place == 3 else x
        torch.testing.assert_close(block(x), (out + beside).relu())
        other = step(4, planar + mixed if kind == "A" else mixed)  # the kinds differ
        assert not torch.allclose(block(x), (other + beside).relu(), atol=1e-2)


def test_basic_blocks_written_out():
    torch.manual_seed(0)
    net = lively(p3d("18ba", norm="batch"))
    block = net.layer3[0]  # the fifth: B, strided, its kernels side by side
    assert block.kind == "B"
    x = torch.randn(1, 128, 3, 8, 8)

    def step(number, maps, stride=1):
        conv, norm = getattr(block, f"conv{number}"), getattr(block, f"norm_{number}")
        return by_hand(maps, conv.weight, norm, stride).relu()

    with torch.no_grad():
        first = step(1, x, 2) + step(2, x, 2)
        out = step(3, first) + step(4, first)
        beside = by_hand(x, block.downsample[0].weight, block.downsample[1], 2)
        torch.testing.assert_close(block(x), (out + beside).relu())


def test_group_norms_take_in_all_slices():
    torch.manual_seed(0)
    norm = p3d("18ba", norm="group").layer1[0].norm_1
    x = torch.randn(2, 64, 3, 4, 4) * torch.tensor([1.0, 5.0, 1.0]).view(1, 1, 3, 1, 1)
    torch.testing.assert_close(norm(x), F.group_norm(x, 32))


def test_unknown_layouts_are_named():
    with pytest.raises(UsageError, match="unknown layout '36'"):
        p3d("36")
