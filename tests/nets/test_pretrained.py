import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models

import thirdaxis
from thirdaxis.errors import InputError, UsageError
from thirdaxis.fusion.i3d import I3D
from thirdaxis.fusion.table import resolve
from thirdaxis.nets.encoder_unet import EncoderUNet
from thirdaxis.nets.frozen import freeze, hold_frozen
from thirdaxis.nets.group_transform import GroupTransform
from thirdaxis.nets.p3d63 import p3d
from thirdaxis.nets.pretrained import holds_volumes, load_pretrained
from thirdaxis.nets.resnet3d import resnet3d
from thirdaxis.nets.volumes import make_volumetric

WIDTHS = (64, 128, 256, 512)
BATCH_NORM = ("weight", "bias", "running_mean", "running_var")


def published_resnet18(in_channels=1, classes=None, stride_free=True):
    """Names and shapes of 3D ResNet-18 files of Med3D (1 channel) and Kinetics (3 channels).

    Both were trained with shortcuts of type A, so that there are no tensors for them.
    """

    def norm(name, width):
        return {f"{name}.{part}": (width,) for part in BATCH_NORM}

    shapes = {"conv1.weight": (64, in_channels, 7, 7, 7), **norm("bn1", 64)}
    into = 64
    for stage, width in enumerate(WIDTHS, 1):
        for block in range(2):
            name = f"layer{stage}.{block}"
            shapes[f"{name}.conv1.weight"] = (width, into, 3, 3, 3)
            shapes[f"{name}.conv2.weight"] = (width, width, 3, 3, 3)
            shapes |= norm(f"{name}.bn1", width) | norm(f"{name}.bn2", width)
            into = width
    if classes:
        shapes |= {"fc.weight": (classes, 512), "fc.bias": (classes,)}
    return shapes


def filled(shapes, prefix=""):
    """Every tensor has values of its own, at the cost of one number."""
    found = {}
    for number, (name, shape) in enumerate(shapes.items(), 1):
        found[prefix + name] = torch.full((1,), number / 1000).expand(shape)
    return found


def saved(path, tensors, **beside):
    torch.save({"state_dict": tensors, **beside} if beside else tensors, path)
    return path


def emptied(**told):
    with torch.device("meta"):
        net = resnet3d(**told)
    return net.to_empty(device="cpu")


def assert_holds(net, tensors, prefix=""):
    state = net.state_dict()
    for name, value in tensors.items():
        own = state[prefix + name]
        assert bool((own == value.reshape(own.shape)).all()), name


def test_med3ds_file_fills_its_network_whole(tmp_path):
    shapes = published_resnet18()
    file = saved(tmp_path / "resnet_18_23dataset.pth", filled(shapes, "module."), epoch=1)
    net = emptied(depth=18, shortcut="A", dilated=True, depth_strides=True, classes=2)
    report = load_pretrained(net, file)
    assert sorted(report.loaded) == sorted(shapes) and not report.adapted + report.skipped
    assert report.missing == ["fc.weight", "fc.bias"]
    assert_holds(net, filled(shapes))


def test_kinetics_file_gives_its_colours_to_one_channel_and_keeps_its_classes(tmp_path):
    shapes = published_resnet18(in_channels=3, classes=400)
    file = saved(tmp_path / "resnet-18-kinetics.pth", filled(shapes, "module."), arch="resnet-18")
    net = emptied(depth=18, classes=2)
    report = load_pretrained(net, file)
    assert report.adapted == [("conv1.weight", "RGB kernel summed for one grey channel")]
    assert [name for name, _ in report.skipped] == ["fc.weight", "fc.bias"]
    assert {n.split(".")[2] for n in report.missing if "layer" in n} == {"downsample"}
    given = filled(shapes)
    torch.testing.assert_close(net.conv1.weight, given["conv1.weight"].sum(1, keepdim=True))
    assert_holds(net, {n: v for n, v in given.items() if n.startswith("layer")})


def test_med3ds_deeper_file_has_shortcut_convolutions(tmp_path):
    with torch.device("meta"):
        net = resnet3d(50, dilated=True, depth_strides=True, classes=2)
    # As published, kernels of one tap have all their axes: (C, C, 1, 1, 1).
    shapes = {
        n: tuple(v.shape) + (1,) * (v.dim() == 4)
        for n, v in net.state_dict().items()
        if v.dim() and not n.startswith("fc.")
    }
    shapes["conv_seg.0.weight"] = (2048, 32, 2, 2, 2)
    file = saved(tmp_path / "resnet_50.pth", filled(shapes, "module."), epoch=1)
    report = load_pretrained(net.to_empty(device="cpu"), file)
    assert [name for name, _ in report.skipped] == ["conv_seg.0.weight"]
    assert report.missing == ["fc.weight", "fc.bias"]
    assert sum("downsample.0" in name for name, _ in report.adapted) == 4
    del shapes["conv_seg.0.weight"]
    assert_holds(net, {n: filled(shapes)[n] for n in ("layer1.0.downsample.0.weight",)})


@pytest.mark.parametrize("fusion", ["i3d", "acs"])
def test_imagenets_2d_file_goes_into_the_same_names(tmp_path, fusion):
    with torch.device("meta"):
        state = models.resnet18().state_dict()
    tensors = filled({n: tuple(v.shape) for n, v in state.items() if v.dim()})
    file = saved(tmp_path / "resnet18-f37072fd.pth", tensors)
    assert not holds_volumes(file)
    told = {"classes": 2, "channels": 1, "task": "classify"}
    net, report = make_volumetric("resnet3d:18", resolve(fusion), file, **told)
    assert [name for name, _ in report.skipped] == ["fc.weight", "fc.bias"]
    stem, inner = tensors["conv1.weight"].sum(1, keepdim=True), tensors["layer4.1.conv2.weight"]
    if fusion == "i3d":
        stem, inner = (w.unsqueeze(2).repeat_interleave(len(w[0, 0]), 2) for w in (stem, inner))
        stem, inner = stem / 7, inner / 3
    torch.testing.assert_close(net.conv1.weight.detach(), stem)
    torch.testing.assert_close(net.layer4[1].conv2.weight.detach(), inner)


class Encoding(nn.Module):
    """A network that has the layers somewhere inside."""

    def __init__(self, body):
        super().__init__()
        self.encoder = nn.ModuleDict({"body": body})
        self.fuse = GroupTransform(4, 9)
        self.conv1 = nn.Conv2d(1, 1, 1)  # of a name that the file has too


@pytest.mark.parametrize("prefix", ["", "module.backbone.", "net.encoder.body.", "backbone."])
def test_layers_are_found_wherever_they_sit(tmp_path, prefix):
    shapes = {n: s for n, s in published_resnet18().items() if "layer4" not in n}
    neck = {"neck.lateral.weight": torch.zeros(4, 4, 1, 1)}
    file = saved(tmp_path / "any.pth", filled(shapes, prefix) | neck)
    net = Encoding(emptied(depth=18, classes=2))
    report = load_pretrained(net, file)
    assert len(report.loaded) == len(shapes)
    assert [name.removeprefix("encoder.body.") for name, _ in report.skipped] == [
        "neck.lateral.weight"
    ]
    assert_holds(net, filled(shapes), "encoder.body.")


def test_group_transforms_follow_only_to_as_many_slices(tmp_path):
    class Net(nn.Module):
        def __init__(self, slices):
            super().__init__()
            self.conv = thirdaxis.convert(nn.Conv2d(1, 4, 3), "i3d")
            self.fuse = nn.ModuleList(GroupTransform(4, n) for n in slices)

    source, target = Net((3, 3, 3)), Net((9, 3, 1))
    for transform in source.fuse:
        nn.init.normal_(transform.fuse.weight)
    file = tmp_path / "detector.safetensors"
    save_file(source.state_dict(), file)
    report = load_pretrained(target, file)
    assert sorted(report.loaded) == ["conv.bias", "conv.weight", "fuse.1.fuse.weight"]
    assert sorted(report.skipped) == [
        ("fuse.0.fuse.weight", "fuses 3 slices, here 9"),
        ("fuse.2.fuse.weight", "fuses 3 slices, here 1"),
    ]
    assert not report.missing
    assert torch.equal(target.fuse[1].fuse.weight, source.fuse[1].fuse.weight)
    assert bool((target.fuse[0].fuse.weight == 1 / 9).all())
    assert bool((target.fuse[2].fuse.weight == 1).all())


def test_files_of_svd_nets_code_have_stems_of_other_names(tmp_path):
    with torch.device("meta"):
        pseudo, deep = p3d("18ba", classes=2), resnet3d(18, stem="v1c", classes=2)
    for net, renamed in (
        (pseudo, {"conv1.weight": "conv1_custom.weight"}),
        (deep, {f"conv1.{i}.": f"stem.{i}." for i in (0, 1, 3, 4, 6)} | {"bn1.": "stem.7."}),
    ):
        tensors = filled({n: tuple(v.shape) for n, v in net.state_dict().items() if v.dim()})
        theirs = {}
        for name, value in tensors.items():
            old = next((old for old in renamed if name.startswith(old)), "")
            theirs["backbone." + renamed.get(old, "") + name.removeprefix(old)] = value
        assert "backbone.conv1.weight" not in theirs and len(theirs) == len(tensors)
        net = net.to_empty(device="cpu")
        report = load_pretrained(net, saved(tmp_path / "svd.pth", theirs, meta={}))
        assert not report.skipped and not report.missing
        assert_holds(net, tensors)


def test_strides_do_not_matter_to_what_is_carried(tmp_path):
    torch.manual_seed(0)
    with torch.device("meta"):
        photographs, scans = (resnet3d(18, depth_strides=told, classes=2) for told in (False, True))
    photographs.to_empty(device="cpu")
    tensors = {n: torch.full_like(v, 0.5) for n, v in photographs.state_dict().items()}
    save_file(tensors, tmp_path / "svd.safetensors")
    report = load_pretrained(scans.to_empty(device="cpu"), tmp_path / "svd.safetensors")
    assert len(report.loaded) == len(tensors) and not report.skipped + report.missing
    assert_holds(scans, tensors)


def test_2d_weights_are_inflated_where_kernels_are_3d(tmp_path):
    torch.manual_seed(0)
    source = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1))
    save_file(source.state_dict(), tmp_path / "flat.safetensors")
    net = thirdaxis.convert(nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 2, 1)), I3D(taps=3))
    report = load_pretrained(net, tmp_path / "flat.safetensors")
    assert dict(report.adapted)["0.weight"] == (
        "2D kernel inflated by I3D, RGB kernel summed for one grey channel"
    )
    picture = torch.randn(1, 3, 8, 8).mean(1, keepdim=True).expand(1, 3, 8, 8)
    volume = picture[:, :1].unsqueeze(2).repeat(1, 1, 7, 1, 1)
    torch.testing.assert_close(net(volume)[:, :, 3], source(picture))
    colours = saved(tmp_path / "stem.pth", {"weight": torch.randn(4, 3, 3, 3)})
    stem = thirdaxis.convert(nn.Conv2d(1, 4, 3), "i3d")  # (4, 1, 3, 3, 3): as many numbers
    load_pretrained(stem, colours)
    assert torch.equal(stem.weight[:, :, 0], stem.weight[:, :, 2])


def test_a_network_of_2d_kernels_says_what_to_do(tmp_path):
    file = saved(tmp_path / "volumes.pth", filled({"weight": (4, 1, 3, 3, 3)}))
    with pytest.raises(InputError, match="convert it by 'i3d'"):
        load_pretrained(thirdaxis.convert(nn.Conv2d(1, 4, 3), "acs"), file)
    with pytest.raises(InputError, match="no weights fit"):
        load_pretrained(nn.Linear(3, 3), file)
    with pytest.raises(InputError, match="no such weights file"):
        load_pretrained(nn.Linear(3, 3), tmp_path / "gone.pth")


def small_unet(**told) -> tuple[nn.Module, object]:
    return make_volumetric("unet", thirdaxis.I3D(), classes=2, channels=1, task="segment", **told)


def test_a_named_network_takes_3d_weights_after_its_conversion(tmp_path):
    torch.manual_seed(0)
    source, report = small_unet(weights=None)
    assert report is None
    save_file(source.state_dict(), tmp_path / "unet3d.safetensors")
    assert holds_volumes(tmp_path / "unet3d.safetensors")
    net, report = small_unet(weights=tmp_path / "unet3d.safetensors", start="xavier")
    assert not report.skipped and not report.missing
    assert all(torch.equal(v, source.state_dict()[n]) for n, v in net.state_dict().items())

    drawn, _ = small_unet(weights=None, start="xavier")
    kernel = drawn.enc1[0].weight
    assert not torch.equal(kernel[:, :, 0], kernel[:, :, 1])
    repeated = small_unet(weights=None)[0].enc1[0].weight
    assert torch.equal(repeated[:, :, 0], repeated[:, :, 1])


def test_a_random_start_beside_2d_weights_is_refused(tmp_path):
    from thirdaxis.nets.unet import UNet

    save_file(UNet(1, 2).state_dict(), tmp_path / "unet.safetensors")
    assert not holds_volumes(tmp_path / "unet.safetensors")
    with pytest.raises(UsageError, match="leave one"):
        small_unet(weights=tmp_path / "unet.safetensors", start="xavier")


def test_resnet3d_by_name_segments_and_classifies():
    with torch.device("meta"):
        for name, task in (("resnet3d:18-v1c", "segment"), ("p3d:18ba-gn", "classify")):
            net, report = make_volumetric(
                name, thirdaxis.I3D(), None, classes=3, channels=2, task=task, depth_stride=False
            )
            assert report is None and isinstance(net, EncoderUNet) == (task == "segment")
            answer = net.eval()(torch.empty(1, 2, 3, 64, 64))
            assert answer.shape == ((1, 3, 3, 64, 64) if task == "segment" else (1, 3))


@pytest.mark.parametrize("name", ["resnet3d:19", "resnet3d:18-v1d", "p3d:63-v1c", "p3d:18"])
def test_names_nearly_right_are_refused(name):
    with pytest.raises(UsageError, match="unknown network"):
        make_volumetric(name, thirdaxis.I3D(), None, classes=2, channels=1, task="classify")


def test_frozen_stages_keep_weights_and_statistics():
    net = nn.Sequential()
    net.layer1 = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    net.layer2 = nn.Sequential(nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2))
    assert set(freeze(net, ["layer1*"])) == {"layer1", "layer1.0", "layer1.1"}
    net.train()
    hold_frozen(net)
    assert [m.training for m in (net, net.layer1[1], net.layer2[1])] == [True, False, True]
    before = {name: value.clone() for name, value in net.state_dict().items()}
    optimiser = torch.optim.SGD((p for p in net.parameters() if p.requires_grad), 0.1)
    net.layer2(net.layer1(torch.randn(4, 1, 8, 8))).square().mean().backward()
    optimiser.step()
    changed = {
        n.split(".")[0] for n, v in net.state_dict().items() if not torch.equal(v, before[n])
    }
    assert changed == {"layer2"}
    with pytest.raises(UsageError, match="did you mean 'layer1"):
        freeze(net, ["layer11"])
