import pytest
import torch
from torch import nn
from torchvision.models import densenet121, mobilenet_v2

import thirdaxis
from thirdaxis.errors import InputError, UsageError
from thirdaxis.fusion.table import ON_CONVOLUTIONS
from thirdaxis.nets.lesion.backbone import Backbone, encoder_named
from thirdaxis.nets.lesion.detector import make_detector
from thirdaxis.nets.lesion.pyramid import windows
from thirdaxis.nets.lesion.settings import DetectorSettings


class Plain(nn.Module):
    """Three levels by four convolutions."""

    channels = (8, 12, 16)

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.ReLU())
        self.first = nn.Conv2d(8, 8, 3, padding=1)
        self.second = nn.Sequential(nn.Conv2d(8, 12, 3, 2, 1), nn.ReLU())
        self.third = nn.Conv2d(12, 16, 3, 2, 1)

    def forward(self, image):
        first = self.first(self.stem(image))
        second = self.second(first)
        return [first, second, self.third(second)]


# Of the published code: parameters in M, and what its paper's table 1 calls GFLOPs.
@pytest.mark.parametrize(("depth", "reductions", "macs"), [(3, 4.13, 40.64), (7, 9.63, 94.83)])
def test_the_published_budget(depth, reductions, macs):
    with torch.device("meta"):
        net = make_detector(DetectorSettings(depth=depth))
    budget = {
        "backbone": 4.26,
        "reductions": reductions,
        "pyramid": 0.92,
        "proposals": 2.41,
        "heads.box_head": 55.6,
        "heads.mask_head": 2.95,
        "heads.mask_predictor": 0.263,
    }
    found = {
        name: sum(p.numel() for p in net.get_submodule(name).parameters()) / 1e6 for name in budget
    }
    assert found == pytest.approx(budget, rel=0.005)
    assert found["heads.mask_head"] + found["heads.mask_predictor"] == pytest.approx(3.21, rel=0.02)
    told = thirdaxis.report(net.backbone.net, (1, 1, depth, 512, 512))
    assert told.macs / 1e9 == pytest.approx(macs, rel=0.02)
    assert told.lifted == 42  # the 3 x 3 convolution of each dense layer: acs leaves 1 x 1 ones
    shapes = [(256, 128), (512, 64), (1024, 32)]
    levels = net.levels(torch.empty(1, 1, depth, 512, 512, device="meta"))
    assert [x.shape for x in levels] == [(1, c, depth, s, s) for c, s in shapes]
    assert net.flat(levels).shape == (1, 512, 128, 128)


def test_operators_lie_where_the_papers_put_them():
    with torch.device("meta"):
        net = make_detector(DetectorSettings(depth=7, fusion=thirdaxis.A3D()))
    mixes = {n: m.mix.shape for n, m in net.named_modules() if hasattr(m, "mix")}
    assert len(mixes) == 84 and all(".denselayer" in name for name in mixes)
    assert sum(shape.numel() for shape in mixes.values()) == 1_218_336
    assert net.backbone.fixed_depth == 7 and net.backbone.net.features.conv0.in_channels == 1


def test_levels_of_mobilenet_are_its_own_on_every_slice():
    """The green stem sees what the 2D network sees of a picture that is green alone."""
    torch.manual_seed(0)
    encoder, _ = encoder_named("torchvision:mobilenet_v2")
    whole = mobilenet_v2().eval()
    theirs = whole.state_dict()
    encoder.body.load_state_dict({n: theirs[n] for n in encoder.body.state_dict()})
    settings = DetectorSettings(fusion="slicewise", depth=3)
    backbone = Backbone(encoder, settings).eval()
    assert encoder.channels == (24, 32, 96) and encoder.strides == (4, 8, 16)
    assert set(dict(encoder.body.features.named_children())) == set(map(str, range(14)))
    volume = torch.randn(1, 1, 3, 64, 32)
    with torch.no_grad():
        levels = backbone(volume)
        pictures = torch.zeros(3, 3, 64, 32)
        pictures[:, 1] = volume[0, 0]
        for i, layer in enumerate(whole.features):
            pictures = layer(pictures)
            if i in (3, 6, 13):
                expected = pictures.movedim(0, 1).unsqueeze(0)
                torch.testing.assert_close(levels.pop(0), expected, rtol=1e-4, atol=1e-5)
    assert not levels


def test_library_layouts_of_weights_fill_the_backbones(tmp_path, shared_data):
    net = make_detector(
        DetectorSettings("torchvision:mobilenet_v2", depth=1, width=8, hidden=8),
        weights=shared_data / "weights" / "mobilenet_v2.safetensors",
    )
    assert net.weights is not None and not net.weights.missing
    assert "features.13.conv.2.weight" in net.weights.loaded

    whole = densenet121().state_dict()  # as torchvision's own file names it: norm.1, conv.2
    old = {
        n.replace("norm1", "norm.1").replace("norm2", "norm.2")
        .replace("conv1", "conv.1").replace("conv2", "conv.2"): x
        for n, x in whole.items()
    }  # fmt: skip
    assert "features.denseblock1.denselayer1.conv.2.weight" in old
    torch.save(old, tmp_path / "densenet121.pth")
    net = make_detector(
        DetectorSettings(depth=3, width=8, hidden=8), weights=tmp_path / "densenet121.pth"
    )
    assert net.weights is not None and not net.weights.missing
    own = net.backbone.net.state_dict()
    for name, tensor in own.items():
        expected = whole[name][:, 1:2] if name == "features.conv0.weight" else whole[name]
        torch.testing.assert_close(tensor, expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "channels"),
    [("torchvision:resnet50", (256, 512, 1024)), ("timm:resnet10t", (64, 128, 256))],
)
def test_other_classifiers_give_their_levels(name, channels):
    settings = DetectorSettings(name, "tsm", depth=3, place="@residual", width=8, hidden=8)
    net = make_detector(settings).eval()
    assert not any("layer4." in n for n, _ in net.named_parameters())
    with torch.no_grad():
        levels = net.levels(torch.randn(1, 1, 3, 32, 64))
    assert [x.shape for x in levels] == [
        (1, c, 3, 32 // s, 64 // s) for c, s in zip(channels, (4, 8, 16), strict=True)
    ]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("unet", "no classifier"),
        ("lidc:resnet18", "maps at strides 1, 2, 4, needed are those at 4, 8, 16"),
        ("resnet", "did you mean"),
        ("torchvision:resnet5", "did you mean"),
    ],
)
def test_what_cannot_be_a_backbone_is_said(name, words):
    with pytest.raises(UsageError, match=words):
        encoder_named(name)


def test_maps_of_a_network_that_pads_little_will_do():
    settings = DetectorSettings("torchvision:squeezenet1_1", depth=3, width=8, hidden=8)
    net = make_detector(settings).eval()
    with torch.no_grad():
        levels = net.levels(torch.randn(1, 1, 3, 64, 64))
        [found] = net(torch.randn(1, 1, 3, 64, 64))
    assert [x.shape[1:] for x in levels] == [(128, 3, 15, 15), (256, 3, 7, 7), (512, 3, 3, 3)]
    assert len(found["boxes"])


def test_weights_that_are_none_are_said(tmp_path):
    (tmp_path / "none.pth").write_bytes(b"nothing")
    with pytest.raises(InputError, match="none.pth"):
        encoder_named("densenet121", tmp_path / "none.pth")


@pytest.mark.parametrize(
    ("place", "ahead", "levels"),
    [
        (None, 0, 0),
        ("body.features.0*", 0, 0),
        ("body.features.5.*", 7, 1),
        ("body.features.13*", 15, 2),
    ],
)
def test_what_comes_before_the_first_operator(place, ahead, levels):
    torch.manual_seed(0)
    settings = DetectorSettings("torchvision:mobilenet_v2", "acs", depth=3)
    encoder, _ = encoder_named(settings.backbone)
    backbone = Backbone(encoder, settings, place).eval()
    volume = torch.randn(1, 1, 5, 32, 32)
    with torch.no_grad():
        parts = backbone.before_fusion(volume)
        assert backbone.ahead == ahead and len(parts) == levels + 1
        assert (len(parts) == 1 and parts[0] is volume) == (ahead == 0)
        found = backbone.after([windows(part, 3) for part in parts])
        for one, expected in zip(found, backbone(windows(volume, 3)), strict=True):
            torch.testing.assert_close(one, expected)


@pytest.mark.parametrize("name", [*ON_CONVOLUTIONS, "stacked"])
def test_before_and_after_fusion_are_the_whole(name, operator, told):
    """For the papers' network, whose stem is computed once for every slice."""
    torch.manual_seed(0)
    fusion = name if name == "stacked" else operator(name, 3)
    settings = DetectorSettings(fusion=fusion, depth=3)
    encoder, _ = encoder_named("densenet121")
    for block in (2, 3):  # a short one does
        layers = getattr(encoder.features, f"denseblock{block}")
        for layer in list(layers)[2:]:
            del layers[layer]
    short = encoder.features.transition2
    short.norm, short.conv = nn.BatchNorm2d(192), nn.Conv2d(192, 256, 1, bias=False)
    backbone = Backbone(encoder, settings, settings.place_in(papers=True)).eval()
    volume = torch.randn(1, 1, 4, 32, 32)
    beside = {} if name == "stacked" else told(name, windows(volume, 3))
    with torch.no_grad():
        parts = backbone.before_fusion(volume)
        assert (parts[0] is volume) == (name in ("stacked", "planecycle"))
        found = backbone.after([windows(part, 3) for part in parts], **beside)
        expected = backbone(windows(volume, 3), **beside)
    for one, whole in zip(found, expected, strict=True):
        torch.testing.assert_close(one, whole, rtol=1e-4, atol=1e-4)


def test_levels_need_no_steps_of_their_own():
    settings = DetectorSettings(fusion="acs", depth=3, stem="sum")
    backbone = Backbone(Plain(), settings)
    volume = torch.randn(1, 1, 3, 32, 32)
    [given] = backbone.before_fusion(volume)
    assert given is volume
    for one, whole in zip(backbone.after([given]), backbone(volume), strict=True):
        torch.testing.assert_close(one, whole)
