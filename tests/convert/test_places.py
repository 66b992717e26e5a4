"""Operators with parameters in whole networks: where they sit, what they cost, what they refuse."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision import models

import thirdaxis
from thirdaxis.convert.proof import prove
from thirdaxis.fusion.base import Operator


@pytest.fixture(scope="module")
def dense():
    """DenseNet-121 without its last block, as in the papers on DeepLesion."""
    torch.manual_seed(0)
    return models.DenseNet(32, (6, 12, 24), 64, num_classes=2)


CONVOLUTIONS = 2 * (6 + 12 + 24)


def added(net, fusion, flat="slicewise"):
    """Parameters that an operator in the dense layers costs, and how many layers it sits in."""
    deep = thirdaxis.convert(net, flat, depth_stride=False, overrides={"@dense_layers": fusion})
    owners = [m for m in deep.modules() if isinstance(m, Operator)]
    count = sum(p.numel() for p in deep.parameters()) - sum(p.numel() for p in net.parameters())
    return count, len(owners), deep


@pytest.mark.parametrize(("depth", "parameters"), [(3, 223_776), (7, 1_218_336)])
def test_a3d_in_the_dense_layers_costs_what_the_paper_counts(dense, depth, parameters):
    count, owners, deep = added(dense, thirdaxis.A3D(depth=depth))
    assert (count, owners) == (parameters, CONVOLUTIONS)
    assert deep.features.denseblock2.denselayer3.conv1.fusion.mix.shape == (depth, depth, 192)
    assert not hasattr(deep.features.conv0, "fusion")
    assert not hasattr(deep.features.transition1.conv, "fusion")
    found = thirdaxis.report(deep)
    assert found.lifted == CONVOLUTIONS and len(found.executed) == CONVOLUTIONS + 1
    assert found.shape[2] == depth and found.own_parameters == parameters
    assert f"operators' own: {parameters:,}" in str(found)
    with torch.no_grad():
        assert deep.eval()(torch.randn(1, 3, depth, 32, 32)).shape == (1, 2)


def test_other_operators_in_the_dense_layers(dense):
    three = 6 + 12 + 24
    assert added(dense, "p3d")[:2] == (three * 3 * (128 * 128 + 32 * 32), CONVOLUTIONS)
    assert added(dense, "soft_acs")[:2] == (three * 3 * 32, three)
    assert added(dense, "tsm")[:2] == (0, 0)
    count, _, inflated = added(dense, "i3d")
    assert count == three * 2 * 9 * 128 * 32
    assert inflated.features.conv0.weight.dim() == 4


@pytest.mark.parametrize("depth", [3, 7])
def test_multiplications_of_the_deeplesion_backbone(dense, depth):
    """Per slice of 512 x 512, in G: the net 13.31, its 3 x 3 kernels 6.34, P3D's taps 8.985."""

    def macs(fusion):
        settings = {"in_channels": 1, "stem": "green", "depth_stride": False}
        places = {"@dense_layers": fusion}
        deep = thirdaxis.convert(dense.features, "slicewise", overrides=places, **settings)
        return thirdaxis.report(deep, (1, 1, depth, 512, 512)).macs / 1e9

    flat = macs("slicewise")
    assert flat == pytest.approx({3: 39.93, 7: 93.16}[depth], abs=0.01)
    assert macs("tsm") == macs("acs") == flat
    assert macs("i3d") - flat == pytest.approx({3: 38.05, 7: 88.78}[depth], abs=0.01)
    assert macs("soft_acs") == macs("i3d")
    assert macs("p3d") - flat == pytest.approx({3: 26.96, 7: 62.89}[depth], abs=0.01)


@pytest.mark.parametrize(("into", "out", "side", "depth"), [(12, 8, 3, 3), (5, 7, 5, 7)])
def test_parameters_of_one_layer_as_the_papers_count_them(into, out, side, depth):
    """Table 1 of A3D and table III of ACS, without biases."""
    flat = nn.Conv2d(into, out, side, padding=side // 2, bias=False)
    one = into * out * side**2
    expected = {
        "slicewise": one,
        "i3d": one * side,
        "p3d": one + out * out * side,
        "acs": one,
        "mean_acs": one,
        "soft_acs": out * (into * side**2 + 3),
        "tsm": one,
        "alignshift": one,
        "a3d": one + depth**2 * into,
    }
    for name, count in expected.items():
        fusion = thirdaxis.A3D(depth=depth) if name == "a3d" else name
        deep = thirdaxis.convert(flat, fusion)
        assert sum(p.numel() for p in deep.parameters()) == count, name
        found = thirdaxis.report(deep, (1, into, depth, 9, 9))
        assert (found.parameters, found.trouble) == (count, "")


def test_tsm_before_the_first_convolution_of_residual_blocks():
    torch.manual_seed(0)
    net = models.resnet50(weights=None).eval()
    placed = thirdaxis.convert(net, "slicewise", overrides={"@residual": "tsm"})
    names = [n for n, s in placed._thirdaxis.parts.items() if isinstance(s.fusion, thirdaxis.TSM)]
    assert len(names) == 3 + 4 + 6 + 3 and all(n.endswith(".conv1") for n in names)
    block = placed.layer1[1]
    x = torch.randn(1, 256, 4, 5, 5)
    moved = x.clone()
    moved[:, :32] = F.pad(x[:, :32, 1:], (0, 0, 0, 0, 0, 1))
    moved[:, 32:64] = F.pad(x[:, 32:64, :-1], (0, 0, 0, 0, 1, 0))
    seen = []
    block.conv1.register_forward_hook(lambda module, args, out: seen.append(thirdaxis.reveal(out)))
    with torch.no_grad():
        out = block(x)
        torch.testing.assert_close(seen[0], F.conv3d(moved, block.conv1.weight.unsqueeze(2)))
        flat = net.layer1[1]
        branch = flat.bn1(seen[0].transpose(1, 2).flatten(0, 1)).relu()
        branch = flat.bn3(flat.conv3(flat.bn2(flat.conv2(branch)).relu()))
        expected = (branch + x.transpose(1, 2).flatten(0, 1)).relu()
    torch.testing.assert_close(out.transpose(1, 2).flatten(0, 1), expected)


def test_the_3x3_convolutions_alone():
    net = models.squeezenet1_1(weights=None)
    placed = thirdaxis.convert(net, "slicewise", overrides={"@3x3": "i3d"})
    for name, module in placed.named_modules():
        if isinstance(module, nn.Conv2d):
            deep = net.get_submodule(name).kernel_size == (3, 3)
            assert module.weight.dim() == (5 if deep else 4), name


def test_a_proof_with_1x1_convolutions_that_look_along_depth():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 8, 1)).eval()
    proof = prove(net, torch.randn(2, 3, 12, 12), thirdaxis.P3D(pointwise=True))
    assert proof.passed and proof.lifted == 2, proof.failure


def test_an_unknown_place_is_refused(dense):
    with pytest.raises(thirdaxis.UsageError, match="did you mean '@dense_layers'"):
        thirdaxis.convert(dense, overrides={"@dense_layer": "tsm"})
    with pytest.raises(thirdaxis.UsageError, match="no module matches '@residual'"):
        thirdaxis.convert(nn.Sequential(nn.Conv2d(1, 2, 3)), overrides={"@residual": "tsm"})


def test_a3d_finds_the_slices_of_every_level():
    torch.manual_seed(0)
    net = models.resnet18(weights=None).eval()
    deep = thirdaxis.convert(net, thirdaxis.A3D(depth=9))
    sizes = {n: m.mix.shape[0] for n, m in deep.named_modules() if isinstance(m, Operator)}
    stages = [sizes[f"layer{i}.0.conv2.fusion"] for i in (1, 2, 3, 4)]
    assert sizes["conv1.fusion"] == 9 and stages == [3, 2, 1, 1]
    assert sizes["layer2.0.conv1.fusion"] == 3
    kept = thirdaxis.convert(net, thirdaxis.A3D(depth=9), depth_stride=False)
    assert {m.mix.shape[0] for m in kept.modules() if isinstance(m, Operator)} == {9}
    with torch.no_grad():
        assert deep(torch.randn(1, 3, 9, 32, 32)).shape == (1, 1000)
        with pytest.raises(thirdaxis.InputError, match="volumes of 9 slices.*got 8"):
            deep(torch.randn(1, 3, 8, 32, 32))
    check = thirdaxis.check(net, torch.randn(2, 3, 32, 32), thirdaxis.A3D(depth=9))
    assert check.passed and check.lifted == len(check.executed)
    with pytest.raises(thirdaxis.UsageError, match="takes one alone"):
        prove(net, torch.randn(2, 3, 32, 32), thirdaxis.A3D(depth=9))


class Odd(nn.Module):
    """A layer that runs at two depths, one that never runs, and a kernel that no layer owns."""

    def __init__(self, twice):
        super().__init__()
        self.conv, self.idle = nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 3)
        self.kernel = nn.Parameter(torch.randn(2, 2, 3, 3))
        self.twice = twice

    def forward(self, x):
        x = F.conv2d(self.conv(x), self.kernel, padding=1)
        return self.conv(F.max_pool2d(x, 2)) if self.twice else x


def test_layers_that_a3d_cannot_serve():
    with pytest.raises(thirdaxis.UsageError, match="'conv' runs on 2 and 4 slices"):
        thirdaxis.convert(Odd(twice=True), thirdaxis.A3D(depth=4))
    kept = thirdaxis.convert(Odd(twice=True), thirdaxis.A3D(depth=4), depth_stride=False)
    assert kept.conv.fusion.mix.shape[0] == 4
    once = thirdaxis.convert(Odd(twice=False), thirdaxis.A3D(depth=4))
    assert not hasattr(once.idle, "fusion")
    both = {"idle": thirdaxis.A3D(depth=4), "conv": thirdaxis.A3D(depth=6)}
    with pytest.raises(thirdaxis.UsageError, match="volumes of 4 and 6 slices; choose one"):
        thirdaxis.convert(Odd(twice=False), "slicewise", overrides=both)


@pytest.mark.parametrize("fusion", ["p3d", "psc", "soft_acs"])
def test_kernels_that_no_layer_owns_are_named(fusion):
    told = str(thirdaxis.report(thirdaxis.convert(Odd(twice=False), fusion)))
    assert "convolutions: 1 of 2 spatial ones lifted" in told
    assert "not fused: no convolution layer owns parameters" in told


class Named(nn.Conv2d):
    fusion = "mine"


def test_an_attribute_of_that_name_is_refused():
    with pytest.raises(thirdaxis.UsageError, match="has an attribute 'fusion' already"):
        thirdaxis.convert(nn.Sequential(Named(2, 2, 3)), "p3d")
    assert thirdaxis.convert(nn.Sequential(Named(2, 2, 3)), "acs")[0].fusion == "mine"


def test_a_computed_weight_under_psc_is_refused():
    net = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3)))
    with pytest.raises(thirdaxis.UsageError, match="weight of '0' is computed"):
        thirdaxis.convert(net, "psc")
    for fusion in ("soft_acs", "p3d"):
        deep = thirdaxis.convert(net, fusion)
        deep(torch.randn(1, 3, 4, 6, 6)).sum().backward()
        assert all(p.grad is not None for p in deep.parameters())


def test_frozen_networks_train_their_operators_alone():
    net = nn.Sequential(nn.Conv2d(3, 4, 3)).requires_grad_(False)
    deep = thirdaxis.convert(net, "p3d")
    assert [n for n, p in deep.named_parameters() if p.requires_grad] == ["0.fusion.along"]
