"""Exported graphs answer as the network does, at sizes that the tracing did not see."""

import onnxruntime
import pytest
import segmentation_models_pytorch as smp
import torch
from torch import nn
from torchvision import models

import thirdaxis
from thirdaxis.fusion.table import ON_CONVOLUTIONS
from thirdaxis.nets.unet import UNet


def short(net: nn.Module) -> nn.Module:
    """The network with two blocks a stage: more of the same take minutes and show nothing new."""
    for stage in net.modules():
        if isinstance(stage, nn.Sequential) and len(set(map(type, stage))) == 1:
            del stage[2:]
    return net


NETWORKS = {
    "unet": lambda: UNet(3, 2),
    "resnet50": lambda: short(models.resnet50(weights=None)),
    "densenet": lambda: models.DenseNet(block_config=(2, 2, 2, 2)),
    "mobilenet_v3_large": lambda: models.mobilenet_v3_large(weights=None),
    "efficientnet_b0": lambda: short(models.efficientnet_b0(weights=None)),
    "convnext_tiny": lambda: short(models.convnext_tiny(weights=None)),
    "fcn_resnet50": lambda: short(
        models.segmentation.fcn_resnet50(weights=None, weights_backbone=None)
    ),
    "deeplabv3_resnet50": lambda: short(
        models.segmentation.deeplabv3_resnet50(weights=None, weights_backbone=None)
    ),
    "smp Unet": lambda: smp.Unet("resnet18", encoder_weights=None, classes=3),
    "smp FPN": lambda: smp.FPN("resnet18", encoder_weights=None, classes=3),
}
# Older torch binds strided networks to the example's depth, and says so.
OLD_TORCH = tuple(map(int, torch.__version__.split(".")[:2])) < (2, 14)
UNSEEN = [(3, 3, 5, 96, 64), (1, 3, 13, 64, 128)]


def maps(answer) -> list[torch.Tensor]:
    return list(answer.values()) if isinstance(answer, dict) else [answer]


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_network_exports_for_any_size(tmp_path, lively, name):
    torch.manual_seed(0)
    net = thirdaxis.convert(lively(NETWORKS[name]()), "acs", depth_stride=True)
    path = tmp_path / "net.onnx"
    if OLD_TORCH and name != "unet":
        with pytest.raises(thirdaxis.ConversionError, match="a newer torch may help"):
            thirdaxis.export(net, torch.randn(2, 3, 8, 64, 64))
        return
    program = thirdaxis.export(net, torch.randn(2, 3, 8, 64, 64), path)
    session = onnxruntime.InferenceSession(path)
    shape = session.get_inputs()[0].shape
    assert OLD_TORCH or shape == ["batch", 3, "depth", "height", "width"]
    assert not any("thirdaxis" in str(node.target) for node in program.graph.nodes)
    for size in UNSEEN:
        volume = torch.randn(size)
        with torch.no_grad():
            expected, others = maps(net(volume)), maps(net(torch.randn(size)))
            traced = maps(program.module()(volume))
        written = session.run(None, {"volume": volume.numpy()})
        for one, other, eager, changed in zip(traced, written, expected, others, strict=True):
            assert (eager - changed).std() > 1e-2 * eager.std()
            # A graph for any size leaves small volumes to conv3d, which rounds otherwise.
            atol = 1e-3 * eager.std().item()
            torch.testing.assert_close(one, eager, rtol=1e-3, atol=atol)
            torch.testing.assert_close(torch.from_numpy(other), eager, rtol=1e-3, atol=atol)


@pytest.mark.parametrize("fusion", ON_CONVOLUTIONS)
@pytest.mark.parametrize("depth_stride", [True, False])
def test_operators_export(lively, fusion, depth_stride, operator):
    net = thirdaxis.convert(lively(UNet(3, 2)), operator(fusion, 4), depth_stride=depth_stride)
    if fusion == "alignshift":
        with pytest.raises(thirdaxis.UsageError, match="asks for the thickness of slices"):
            thirdaxis.export(net, torch.randn(1, 3, 4, 16, 16))
        return
    fixed = fusion == "a3d"
    axes = ("batch", "height", "width") if fixed else ("batch", "depth", "height", "width")
    program = thirdaxis.export(net, torch.randn(1, 3, 4, 16, 16), dynamic=axes)
    volume = torch.randn(2, 3, 4 if fixed else 7, 40, 24)
    with torch.no_grad():
        torch.testing.assert_close(program.module()(volume), net(volume))


class InPlace(nn.Module):
    """Writes into tensors that have other names too."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, 2, padding=1)
        self.act = nn.Hardswish(inplace=True)

    def forward(self, x):
        y = self.conv(x)
        z = self.act(y)
        z += 1
        y.mul_(2)
        return torch.cat((y, z), 1)


def test_writing_in_place_exports_right():
    net = thirdaxis.convert(InPlace())
    program = thirdaxis.export(net, torch.randn(1, 3, 4, 8, 8))
    volume = torch.randn(2, 3, 9, 10, 12)
    with torch.no_grad():
        torch.testing.assert_close(program.module()(volume), net(volume))


def test_pt2_file_and_part_of_a_larger_network(tmp_path):
    net = nn.Sequential(thirdaxis.convert(UNet(1, 2)), nn.Softmax(1)).train()
    path = tmp_path / "net.pt2"
    example, told = torch.randn(1, 1, 4, 16, 16), {"about": "a test"}
    thirdaxis.export(net, example, path, dynamic=("depth",), metadata=told)
    assert net.training and [p.name for p in tmp_path.iterdir()] == ["net.pt2"]
    volume = torch.randn(1, 1, 9, 16, 16)
    with torch.no_grad():
        kept = {"about": ""}
        program = torch.export.load(path, extra_files=kept)
        torch.testing.assert_close(program.module()(volume), net.eval()(volume))
    assert kept == told


class OneSize(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, padding=1)
        self.places = nn.Parameter(torch.randn(1, 2, 8, 8))

    def forward(self, x):
        return self.conv(x) + self.places


def test_what_cannot_be_exported_says_so(tmp_path):
    net = thirdaxis.convert(OneSize())
    example = torch.randn(1, 1, 4, 8, 8)
    with pytest.raises(thirdaxis.UsageError, match="leave the axes along which it has one size"):
        thirdaxis.export(net, example)
    thirdaxis.export(net, example, dynamic=("batch", "depth"))
    for wrong, word in [
        ((OneSize(), example), "convert returned"),
        ((net, example[0]), r"\(N, C, D, H, W\), got \(1, 4, 8, 8\)"),
        ((net, example, tmp_path / "net.zip"), r"\.pt2 or \.onnx"),
    ]:
        with pytest.raises(thirdaxis.UsageError, match=word):
            thirdaxis.export(*wrong)
    with pytest.raises(thirdaxis.UsageError, match="did you mean 'depth'"):
        thirdaxis.export(net, example, dynamic=("deph",))
    assert list(tmp_path.iterdir()) == []


def test_a_graph_that_differs_is_refused(tmp_path, monkeypatch):
    net = thirdaxis.convert(OneSize())
    right = torch.export.export

    def planted(net, *args, **kwargs):
        program = right(net, *args, **kwargs)
        program.state_dict["conv.bias"] = nn.Parameter(net.conv.bias + 0.1)
        return program

    monkeypatch.setattr(torch.export, "export", planted)
    with pytest.raises(thirdaxis.ConversionError, match="differs from the network"):
        thirdaxis.export(net, torch.randn(1, 1, 4, 8, 8), tmp_path / "net.pt2", dynamic=("depth",))
    assert list(tmp_path.iterdir()) == []
