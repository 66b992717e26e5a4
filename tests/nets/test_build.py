import sys
import types

import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import nn

from thirdaxis.errors import InputError, UsageError
from thirdaxis.nets.build import OnlyOut, build
from thirdaxis.nets.encoder_unet import EncoderUNet
from thirdaxis.nets.unet import UNet


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("unet", UNet),
        ("torchvision:resnet18", EncoderUNet),
        ("torchvision:lraspp_mobilenet_v3_large", OnlyOut),
        ("timm:mobilenetv3_small_050.lamb_in1k", EncoderUNet),
        ("smp:Unet/resnet18", None),
        ("smp:fpn/tu-resnet18", None),
        ("thirdaxis.nets.unet:UNet", UNet),
    ],
)
def test_segmentation_by_name(name, kind):
    built = build(name, classes=4, in_channels=2)
    assert kind is None or isinstance(built.net, kind)
    assert built.weights is None
    assert built.rgb == (kind is not UNet)
    with torch.no_grad():
        answer = built.net.eval()(torch.randn(1, 3 if built.rgb else 2, 64, 96))
    assert answer.shape == (1, 4, 64, 96)


@pytest.mark.parametrize("name", ["torchvision:squeezenet1_1", "timm:resnet18"])
def test_classification_by_name(name):
    built = build(name, classes=4, task="classify")
    with torch.no_grad():
        assert built.net.eval()(torch.randn(1, 3, 64, 96)).shape == (1, 4)


@pytest.mark.parametrize("library", ["torchvision", "timm", "smp"])
def test_a_file_in_the_librarys_layout_reaches_the_encoder(tmp_path, library):
    torch.manual_seed(1)
    source = torchvision.models.resnet18(weights=None)
    save_file(source.state_dict(), tmp_path / "r18.safetensors")
    name = "smp:unet/resnet18" if library == "smp" else f"{library}:resnet18"
    built = build(name, classes=3, weights=tmp_path / "r18.safetensors")
    encoder = built.net.encoder if library == "smp" else built.net.encoder.body
    for key, value in encoder.state_dict().items():
        assert torch.equal(value, source.state_dict()[key])
    assert {name for name, _ in built.weights.skipped} == {"fc.weight", "fc.bias"}
    assert built.weights.missing == []


def test_a_classifier_for_other_classes_loads_all_but_its_head(tmp_path):
    source = torchvision.models.squeezenet1_1(weights=None)
    torch.save(source.state_dict(), tmp_path / "s.pth")
    built = build(
        "torchvision:squeezenet1_1", classes=3, weights=tmp_path / "s.pth", task="classify"
    )
    assert {n for n, _ in built.weights.skipped} == {"classifier.1.weight", "classifier.1.bias"}
    assert torch.equal(built.net.features[0].weight, source.features[0].weight)


def test_a_segmentation_network_takes_a_whole_file_or_its_backbones(tmp_path):
    name = "lraspp_mobilenet_v3_large"
    whole = torchvision.models.get_model(name, weights=None, weights_backbone=None)
    torch.save(whole.state_dict(), tmp_path / "whole.pth")
    torch.save(whole.backbone.state_dict(), tmp_path / "backbone.pth")
    first = next(iter(whole.backbone.state_dict()))
    for file in ("whole.pth", "backbone.pth"):
        built = build(f"torchvision:{name}", classes=2, weights=tmp_path / file)
        own = built.net.net.backbone.state_dict()[first]
        assert torch.equal(own, whole.backbone.state_dict()[first])


@pytest.mark.parametrize("name", ["mobilenet_v2", "squeezenet1_0"])
def test_published_weights(shared_data, name):
    path = shared_data / "weights" / f"{name}.safetensors"
    built = build(f"torchvision:{name}", classes=3, weights=path)
    tensors = load_file(path)
    assert all(n.startswith("classifier.") for n, _ in built.weights.skipped)
    assert len(built.weights.loaded) + len(built.weights.skipped) == len(tensors)
    assert built.weights.missing == [] and built.weights.adapted == []
    for key, value in built.net.encoder.body.state_dict().items():
        assert torch.equal(value, tensors[key])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("unett", "did you mean 'unet'"),
        ("resnet18", "did you mean 'torchvision:resnet18'"),
        ("torchvision:resnet17", "did you mean 'resnet1"),
        ("timm:rsenet18", "did you mean 'resnet18'"),
        ("smp:unett/resnet18", "did you mean 'unet'"),
        ("smp:unet/resnet17", "did you mean 'resnet"),
        ("smp:unet", "ARCHITECTURE/ENCODER"),
        ("no.such.module:make", "No module named"),
        ("thirdaxis.nets.unet:make", "has no attribute 'make'"),
        ("builtins:dict", "gave a dict"),
        ("builtins:len", "could not be called"),
        ("torchvision:vit_b_16", "cannot be an encoder"),
    ],
)
def test_unknown_or_unsuitable_networks(name, message):
    with pytest.raises(UsageError, match=message) as caught:
        build(name, classes=3)
    assert "\n" not in str(caught.value)


def test_tasks_and_counts():
    with pytest.raises(UsageError, match="segments"):
        build("unet", classes=2, task="classify")
    with pytest.raises(UsageError, match="unknown torchvision network"):
        build("torchvision:fcn_resnet50", classes=2, task="classify")
    with pytest.raises(UsageError, match="classes=0"):
        build("unet", classes=0)
    with pytest.raises(UsageError, match="no library weights"):
        build("unet", classes=2, weights="library")


def _offline(*_, **__):
    raise OSError("Name or service not known\nand a long story")


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_no_network_is_one_line(monkeypatch, library):
    owner = {"torchvision": torchvision.models, "timm": timm}[library]
    monkeypatch.setattr(
        owner, {"torchvision": "get_model", "timm": "create_model"}[library], _offline
    )
    with pytest.raises(InputError, match=r"resnet18 \(Name or service not known\)") as caught:
        build(f"{library}:resnet18", classes=2, weights="library")
    assert "\n" not in str(caught.value) and "file" in str(caught.value)


@pytest.mark.parametrize(
    ("library", "owner", "maker", "wish"),
    [
        ("torchvision", torchvision.models, "get_model", {"weights": "DEFAULT"}),
        ("timm", timm, "create_model", {"pretrained": True}),
    ],
)
def test_library_weights_are_the_ones_the_library_gives(monkeypatch, library, owner, maker, wish):
    make = getattr(owner, maker)
    pretrained = torchvision.models.resnet18(weights=None)

    def librarian(name, **settings):
        asked = all(settings.get(key) == value for key, value in wish.items())
        return pretrained if asked else make(name, **settings)

    monkeypatch.setattr(owner, maker, librarian)
    built = build(f"{library}:resnet18", classes=2, weights="library")
    assert torch.equal(built.net.encoder.body.conv1.weight, pretrained.conv1.weight)
    assert "(library)" in built.weights.source


def test_a_users_factory_gets_channels_and_classes_and_its_weights(monkeypatch, tmp_path):
    module = types.ModuleType("users_nets")
    module.make = lambda in_channels, classes: nn.Sequential(nn.Conv2d(in_channels, classes, 1))
    monkeypatch.setitem(sys.modules, "users_nets", module)
    torch.save(module.make(2, 3).state_dict(), tmp_path / "w.pth")
    built = build("users_nets:make", classes=3, in_channels=2, weights=tmp_path / "w.pth")
    assert built.net[0].weight.shape == (3, 2, 1, 1)
    assert built.weights.loaded == ["0.weight", "0.bias"]
