import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from thirdaxis.errors import UsageError
from thirdaxis.nets.resnet3d import resnet3d
from thirdaxis.nets.starts import start_anew

PHOTOGRAPH = (1, 1, 3, 224, 224)


def on_meta(**told) -> nn.Module:
    with torch.device("meta"):
        return resnet3d(**told).eval()


def shapes_of(net: nn.Module, size: tuple[int, ...], parts: list[str]) -> list[tuple[int, ...]]:
    """Shapes (C, D, H, W) that come out of parts, called one after the other."""
    found, x = [], torch.empty(size, device="meta")
    with torch.no_grad():
        for part in parts:
            x = net.get_submodule(part)(x)
            found.append(tuple(x.shape[1:]))
    return found


@pytest.mark.parametrize(
    ("depth", "parameters", "published"),
    [(18, 33_673_000, 15.99), (34, 63_982_632, 32.65), (50, 48_204_072, 23.93)],
)
def test_parameters_and_multiply_adds_are_the_published_ones(depth, parameters, published):
    net = on_meta(depth=depth)
    assert sum(p.numel() for p in net.parameters()) == parameters
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        assert net(torch.empty(PHOTOGRAPH, device="meta")).shape == (1, 1000)
    assert counter.get_total_flops() / 2e9 == pytest.approx(published, rel=0.02)


def test_three_slices_stay_three_down_to_the_last_map():
    parts = ["conv1", "bn1", "maxpool", "layer1", "layer2", "layer3", "layer4"]
    assert shapes_of(on_meta(), PHOTOGRAPH, parts)[2:] == [
        (64, 3, 56, 56),
        (64, 3, 56, 56),
        (128, 3, 28, 28),
        (256, 3, 14, 14),
        (512, 3, 7, 7),
    ]


def test_depth_strides_part_by_part():
    parts = ["conv1", "maxpool", "layer1", "layer2", "layer3", "layer4"]

    def slices(told):
        net = on_meta(depth_strides=told)
        return [shape[1] for shape in shapes_of(net, (1, 1, 33, 32, 32), parts)]

    assert slices(True) == [17, 9, 9, 5, 3, 2]
    assert slices((False, True, False, True, False)) == [33, 17, 17, 17, 9, 9]
    assert slices(False) == [33] * 6
    with pytest.raises(UsageError, match="depth_strides"):
        resnet3d(depth_strides=(True, False))


def tensors_for(net: nn.Module) -> dict[str, torch.Tensor]:
    """Random content for a network on the meta device; norms stay near the identity."""
    found = {}
    for name, value in net.state_dict().items():
        fan = max(1, value[0].numel()) if value.dim() > 1 else 100
        noise = torch.randn(value.shape) * fan**-0.5
        is_scale = value.dim() == 1 and name.endswith(("weight", "running_var"))
        found[name] = 1 + noise.abs() if is_scale else noise
    return found


@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_with_all_strides_it_is_monais(shortcut):
    from monai.networks.nets import resnet18

    torch.manual_seed(0)
    mine = on_meta(depth=18, depth_strides=True, shortcut=shortcut, classes=3)
    with torch.device("meta"):
        theirs = resnet18(
            n_input_channels=1, num_classes=3, shortcut_type=shortcut, conv1_t_stride=2
        ).eval()
    tensors = tensors_for(mine)
    mine.load_state_dict(tensors, assign=True)
    shaped = {
        name: tensors[name].reshape(value.shape)
        if name in tensors
        else torch.zeros(value.shape)  # the bias of its shortcuts, which no ResNet has
        for name, value in theirs.state_dict().items()
    }
    assert not tensors.keys() - shaped.keys()
    theirs.load_state_dict(shaped, assign=True)
    volume = torch.randn(1, 1, 9, 33, 45)
    with torch.no_grad():
        torch.testing.assert_close(mine(volume), theirs(volume), rtol=1e-4, atol=1e-4)
        wrong = theirs.layer2[0].conv1.weight.flip(2)  # whose taps along depth are turned about
        theirs.layer2[0].conv1.weight = nn.Parameter(wrong)
        assert not torch.allclose(mine(volume), theirs(volume), rtol=1e-2, atol=1e-2)


def test_the_pool_of_kept_depth_takes_in_three_slices():
    pool = on_meta(depth=18).maxpool
    maps = torch.randn(2, 4, 5, 9, 8)
    expected = nn.functional.max_pool3d(maps, 3, (1, 2, 2), 1)
    assert torch.equal(pool(maps), expected)


def test_dilated_stages_are_med3ds():
    net = on_meta(depth=18, depth_strides=True, dilated=True)
    parts = ["conv1", "maxpool", "layer1", "layer2", "layer3", "layer4"]
    assert [s[1:] for s in shapes_of(net, (1, 1, 32, 64, 64), parts)][-3:] == [(4, 8, 8)] * 3
    for stage, rate in (("layer3", 2), ("layer4", 4)):
        convs = [m for m in net.get_submodule(stage).modules() if isinstance(m, nn.Conv2d)]
        spatial = [m for m in convs if m.kernel_size == (3, 3)]
        assert len(spatial) == 4
        assert {m.dilation for m in spatial} == {m.padding for m in spatial} == {(rate, rate)}
        assert {m.stride for m in convs} == {(1, 1)}


def test_every_tap_of_the_v1c_stem_meets_three_slices():
    torch.manual_seed(0)
    volume = torch.randn(1, 1, 3, 32, 32)
    dead = {}
    for stem in ("7", "v1c"):
        first = on_meta(depth=18, stem=stem).conv1.to_empty(device="cpu")
        for parameter in first.parameters():
            nn.init.normal_(parameter)
        first.train()(volume).square().sum().backward()
        weight = first.weight if stem == "7" else first[0].weight
        dead[stem] = [bool((weight.grad[:, :, k] == 0).all()) for k in range(weight.shape[2])]
    assert dead == {"7": [True, False, False, False, False, False, True], "v1c": [False] * 3}


def test_starts_draw_every_slice_of_a_kernel():
    torch.manual_seed(0)
    net = resnet3d(18, norm="group", classes=2)
    kernel = net.layer4[1].conv2.weight
    assert not torch.allclose(kernel[:, :, 0], kernel[:, :, 1])
    kernel = kernel.detach()
    assert float(kernel.std()) == pytest.approx((2 / (512 * 27)) ** 0.5, rel=0.02)
    start_anew(net, "xavier", zero_last_norm=True)
    assert float(kernel.abs().max()) <= (6 / (2 * 512 * 27)) ** 0.5
    assert float(kernel.abs().max()) == pytest.approx((6 / (2 * 512 * 27)) ** 0.5, rel=0.01)
    block = net.layer1[0]
    maps = torch.randn(1, 64, 3, 8, 8).relu()
    torch.testing.assert_close(block(maps), maps)  # a block is the identity at first


@pytest.mark.parametrize(
    "wrong", [{"depth": 20}, {"stem": "v1d"}, {"norm": "layer"}, {"shortcut": "C"}, {"start": "he"}]
)
def test_unknown_settings_are_named(wrong):
    with pytest.raises(UsageError, match=str(next(iter(wrong.values())))):
        resnet3d(**wrong)
