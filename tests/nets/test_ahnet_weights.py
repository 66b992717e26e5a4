import pytest
import torch
from monai.networks.nets.ahnet import PSP
from monai.networks.nets.ahnet import AHNet as Monais
from torch import nn

import thirdaxis
from thirdaxis.errors import InputError
from thirdaxis.nets.ahnet import ahnet, flat_ahnet, lift_ahnet
from thirdaxis.nets.ahnet_decoder import POOLS, PyramidPooling
from thirdaxis.nets.ahnet_weights import fill_encoder, load_monai
from thirdaxis.nets.build import build
from thirdaxis.nets.gcn import GCN


def norms(net):
    return [m for m in net.modules() if isinstance(m, nn.BatchNorm2d | nn.BatchNorm3d)]


def test_it_is_the_network_of_monai():
    """In training, with the running statistics that this leaves, and after, in double precision.

    Three pools, so that a quarter of the smallest plane of four will do.
    """
    torch.manual_seed(0)
    theirs = Monais(upsample_mode="trilinear", psp_block_num=3, out_channels=2).double()
    for norm in norms(theirs):
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
        norm.momentum = 1.0
    ours = lift_ahnet(flat_ahnet(2, pools=POOLS[:3])).double()
    report = load_monai(ours, theirs)
    assert len(report.loaded) == len(theirs.state_dict()) == len(ours.state_dict())
    for norm in norms(ours):
        norm.momentum = 1.0
    volume = torch.randn(1, 1, 32, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        for training in (True, False):
            expected = theirs.train(training)(volume.movedim(2, -1)).movedim(-1, 2)
            assert expected.std() > 1e-2
            torch.testing.assert_close(ours.train(training)(volume), expected)
    again = ahnet(2).double()
    found = load_monai(again, theirs)
    # Statistics of variances of 16 positions each; names alone are loaded, but for one pool less.
    assert {n.rpartition(".")[0] for n in found.missing} == {"decoder.pyramid.project.3"}
    assert {n for n, _ in found.skipped} == {
        f"decoder.output.{n}"
        for n in ("0.weight", "0.bias", "0.running_mean", "0.running_var", "2.weight")
    }


def test_the_pyramid_of_four_pools_is_monais():
    torch.manual_seed(0)
    theirs = PSP(3, 4, 5, "trilinear").double()
    ours = PyramidPooling(5).double()
    ours.load_state_dict(
        {n.replace("project_modules", "project"): v for n, v in theirs.state_dict().items()}
    )
    volume = torch.randn(1, 5, 2, 128, 64, dtype=torch.float64)
    with torch.no_grad():
        expected = theirs(volume.movedim(2, -1)).movedim(-1, 2)
        found = ours(volume)
    torch.testing.assert_close(found[:, :4], expected)
    assert torch.equal(found[:, 4:], volume)


def test_learned_steps_up_are_told_and_left_out():
    with torch.device("meta"):
        state = Monais(out_channels=3).state_dict()
        net = lift_ahnet(flat_ahnet(2))
    report = load_monai(net, {f"module.{name}": value for name, value in state.items()})
    why = dict(report.skipped)
    ups = {f"up{i}.up.weight" for i in range(4)} | {"final.up.weight"}
    psp = {f"psp.up_modules.{i}.{n}" for i in range(4) for n in ("weight", "bias")}
    assert why.keys() == ups | psp | {"decoder.output.2.weight"}
    assert "(3," in why["decoder.output.2.weight"] and "(2," in why["decoder.output.2.weight"]
    assert not report.missing


def test_a_file_of_monais_weights_is_taken_by_name(tmp_path):
    torch.manual_seed(0)
    theirs = Monais(upsample_mode="trilinear")
    torch.save(theirs.state_dict(), tmp_path / "monai.pt")
    built = build("ahnet:resnet50", classes=1, weights=tmp_path / "monai.pt")
    assert not built.weights.skipped and not built.weights.missing
    net = built.lift(built.net, "slicewise", in_channels=built.adapted(1), stem="depth")
    kernel = theirs.conv1.weight.detach()
    assert torch.equal(net.encoder.conv1.weight, kernel.permute(0, 1, 4, 2, 3))
    with pytest.raises(InputError, match="not the weights of MONAI's AHNet"):
        load_monai(net, {"weight": torch.zeros(1)})


@pytest.fixture(scope="module")
def stage1():
    """A first stage whose running statistics are not those of a start."""
    torch.manual_seed(0)
    net = GCN(2, resnet="resnet18")
    net.train()(torch.randn(2, 3, 64, 64))
    return net.eval()


def test_the_first_stage_fills_the_encoder_statistics_included(stage1):
    net = ahnet(3, resnet="resnet18")
    decoder = {name: value.clone() for name, value in net.decoder.state_dict().items()}
    report = fill_encoder(net, stage1)
    own = net.encoder.state_dict()
    for name, value in stage1.encoder.state_dict().items():
        assert torch.equal(own[name].reshape(value.shape), value), name
    assert not torch.equal(own["bn1.running_mean"], torch.zeros(64))
    assert len(report.loaded) + len(report.adapted) == len(own) and not report.missing
    assert [name for name, _ in report.adapted] == ["conv1.weight"]
    assert all(
        torch.equal(value, decoder[name]) for name, value in net.decoder.state_dict().items()
    )
    volume = torch.randn(1, 1, 3, 32, 32)
    with torch.no_grad():
        deep = lift_ahnet(flat_ahnet(3, "resnet18"), depth_stride=False).eval()
        fill_encoder(deep, stage1)
        for one, other in zip(deep.encoder(volume), stage1.encoder(volume[:, 0]), strict=True):
            torch.testing.assert_close(one[:, :, 1], other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("fusion", ["slicewise", "acs", thirdaxis.A3D(depth=3)])
def test_a_converted_first_stage_and_any_operator_on_2d_kernels(stage1, tmp_path, fusion):
    trained = thirdaxis.convert(
        stage1, "slicewise", in_channels=1, stem="depth", depth_stride=False
    )
    state = {f"net.{name}": value for name, value in trained.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "stage1.pt")
    net = lift_ahnet(flat_ahnet(2, "resnet18"), fusion)
    fill_encoder(net, tmp_path / "stage1.pt")
    own = net.encoder.state_dict()
    for name, value in trained.encoder.state_dict().items():
        assert torch.equal(own[name], value), name


def test_a_first_stage_that_does_not_fit_changes_nothing(stage1):
    net = ahnet(2, resnet="resnet34")
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(InputError, match=r"'layer\d.*should be .*, and is none; train the first"):
        fill_encoder(net, stage1)
    half = {n: v for n, v in stage1.state_dict().items() if "layer3" not in n}
    small = ahnet(2, resnet="resnet18")
    with pytest.raises(InputError, match="the given tensors: .*'layer3"):
        fill_encoder(small, half)
    lifted = lift_ahnet(flat_ahnet(2, "resnet18"), "i3d")
    with pytest.raises(InputError, match="should be .* fusions that keep 2D kernels"):
        fill_encoder(lifted, stage1)
    with pytest.raises(InputError, match="does not fit"):
        fill_encoder(small, {"weight": torch.zeros(3)})
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
