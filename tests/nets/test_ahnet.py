import pytest
import torch
from torch import nn

import thirdaxis
from thirdaxis.errors import InputError, UsageError
from thirdaxis.nets.ahnet import ahnet, flat_ahnet, lift_ahnet
from thirdaxis.nets.saved import build_converted, load_converted, make_recipe, save_converted


@pytest.fixture(scope="module")
def flat():
    """A small one, its norms calibrated on noise."""
    torch.manual_seed(0)
    net = flat_ahnet(2, "resnet18")
    for norm in net.modules():
        if isinstance(norm, nn.BatchNorm2d | nn.BatchNorm3d):
            norm.momentum = 1.0
    with torch.no_grad():
        net.encoder.train()(torch.randn(4, 3, 64, 64))
    return net.eval()


@pytest.fixture(scope="module")
def net(flat):
    return lift_ahnet(flat)


def count(net):
    convolutions = sum(isinstance(part, nn.Conv2d | nn.Conv3d) for part in net.modules())
    return sum(weight.numel() for weight in net.parameters()), convolutions


@pytest.mark.parametrize("classes", [1, 3])
def test_it_has_the_papers_parameters_and_convolutions(classes):
    """Table 2 of the paper; a further class has 128 kernels of 3 x 3."""
    with torch.device("meta"):
        assert count(ahnet(classes)) == (27_085_500 + 1_152 * (classes - 1), 123)
        with_small_output = count(ahnet(classes, output_kernel=1))
    assert with_small_output == (27_085_500 - 1_152 + 128 * classes, 123)


def test_the_stem_sees_three_equal_slices_as_the_2d_one_sees_a_grey_picture(flat, net):
    torch.manual_seed(0)
    grey = torch.randn(2, 1, 1, 32, 32)
    with torch.no_grad():
        expected = flat.encoder.conv1(grey[:, :, 0].repeat(1, 3, 1, 1))
        found = net.encoder.conv1(grey.repeat(1, 1, 5, 1, 1))
    assert found.shape[2] == 5
    for d in (1, 2, 3):
        torch.testing.assert_close(found[:, :, d], expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(found[:, :, 0], expected, rtol=1e-2, atol=1e-2)


def test_with_depth_kept_the_encoder_is_the_2d_one_around_every_slice(flat):
    torch.manual_seed(0)
    kept = lift_ahnet(flat, depth_stride=False)
    volume = torch.randn(1, 1, 4, 64, 64)
    with torch.no_grad():
        deep = kept.encoder(volume)
        for d in (1, 2):
            each = flat.encoder(volume[:, 0, d - 1 : d + 2])
            for found, expected in zip(deep, each, strict=True):
                assert found.shape[2] == 4
                torch.testing.assert_close(found[:, :, d], expected, rtol=1e-3, atol=1e-4)
        assert kept(volume).shape == (1, 2, 4, 64, 64)


@pytest.mark.parametrize(
    "shape", [(1, 1, 1, 1, 1), (1, 1, 1, 40, 9), (2, 1, 5, 33, 47), (1, 1, 34, 20, 32)]
)
def test_volumes_of_any_size_come_back_at_their_size(net, shape):
    with torch.no_grad():
        answer = net(torch.randn(shape))
    assert answer.shape == (shape[0], 2, *shape[2:]) and answer.isfinite().all()


def test_a_slice_learns_and_reaches_every_parameter(flat):
    net = lift_ahnet(flat).train()
    volume = torch.randn(2, 1, 1, 33, 40)
    before = net.encoder.layer4[0].bn1.running_mean.clone()
    net(volume).square().mean().backward()
    assert not [name for name, weight in net.named_parameters() if weight.grad is None]
    assert not torch.equal(before, net.encoder.layer4[0].bn1.running_mean)


def test_what_leaves_one_position_to_train_on_is_refused(flat):
    net = lift_ahnet(flat).train()
    with pytest.raises(
        InputError, match="1 x 32 x 32 leaves one position at stride 32.*batch of 2"
    ):
        net(torch.randn(1, 1, 1, 32, 32))
    net(torch.randn(1, 1, 1, 32, 33))


@pytest.mark.parametrize(
    ("fusion", "takes"),
    [
        ("acs", {}),
        ("tsm", {}),
        (thirdaxis.A3D(depth=6), {}),
        ("alignshift", {"thickness": torch.tensor([5.0])}),
    ],
)
def test_other_operators_lift_the_encoder_alone(flat, net, fusion, takes):
    torch.manual_seed(0)
    other = lift_ahnet(flat, fusion)
    volume = torch.randn(1, 1, 6, 32, 32)
    with torch.no_grad():
        maps, plain = other.encoder(volume, **takes), net.encoder(volume)
        assert [x.shape for x in maps] == [x.shape for x in plain]
        assert torch.equal(maps[0], plain[0])  # the stem has its three slices under any operator
        assert not torch.allclose(maps[3], plain[3], rtol=1e-2, atol=1e-2)
        found = other(volume, **takes)
        assert torch.equal(found, net.decoder(maps, volume.shape[2:]))


def test_thickness_reaches_the_operator(flat):
    net = lift_ahnet(flat, "alignshift")
    volume = torch.randn(1, 1, 6, 32, 32)
    with torch.no_grad():
        thin, thick = (net(volume, thickness=torch.tensor([mm])) for mm in (2.0, 5.0))
        assert not torch.allclose(thin, thick)
        with pytest.raises(InputError, match="thickness"):
            net(volume)


def test_a3d_is_told_the_number_of_slices(flat):
    net = lift_ahnet(flat, thirdaxis.A3D(depth=6))
    with pytest.raises(InputError, match="converted for volumes of 6 slices"):
        net(torch.randn(1, 1, 9, 32, 32))


def test_two_equal_channels_are_one(flat, net):
    both = lift_ahnet(flat, in_channels=2)
    volume = torch.randn(1, 1, 3, 32, 32)
    with torch.no_grad():
        found, expected = both.encoder(volume.repeat(1, 2, 1, 1, 1)), net.encoder(volume)
        torch.testing.assert_close(found[0], expected[0], rtol=1e-3, atol=1e-4)
        assert both(volume.repeat(1, 2, 1, 1, 1)).shape == (1, 2, 3, 32, 32)


def test_the_report_tells_of_the_encoder(net):
    told = thirdaxis.report(lift_ahnet(flat_ahnet(2, "resnet18"), "acs"))
    assert not told.trouble and told.parameters == count(net)[0]
    assert told.conversion.stems == {"conv1": "depth"} and told.conversion.setting.depth_stride
    assert told.lifted == 17 and told.executed[0].module == "conv1"


def test_the_callers_network_stays_2d(flat):
    with pytest.raises(UsageError, match="its encoder is 2D"):
        flat(torch.randn(1, 1, 3, 32, 32))
    with pytest.raises(UsageError, match="takes a network that flat_ahnet returned"):
        lift_ahnet(lift_ahnet(flat))
    with pytest.raises(InputError, match=r"takes volumes \(N, C, D, H, W\), got \(1, 1, 32, 32\)"):
        lift_ahnet(flat)(torch.randn(1, 1, 32, 32))


def test_it_is_kept_in_a_folder_by_its_recipe(tmp_path):
    recipe = make_recipe("ahnet:resnet18", classes=2, fusion="slicewise", stem="depth")
    net, _ = build_converted(recipe)
    save_converted(tmp_path / "net", recipe, net)
    again = load_converted(tmp_path / "net")
    volume = torch.randn(1, 1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(again(volume), net.eval()(volume))
