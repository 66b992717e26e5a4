import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from thirdaxis.axes import channels_as_slices
from thirdaxis.errors import InputError, UsageError
from thirdaxis.nets.lesion.svd import SvdBackbone, SvdSettings, make_svd_detector
from thirdaxis.nets.volumetric import flat

SMALL = {"width": 8, "hidden": 16}
HEADS = {
    f"heads.box_predictor.{layer}.{part}"
    for layer in ("cls_score", "bbox_pred")
    for part in ("weight", "bias")
}


def on_meta(**told):
    with torch.device("meta"):
        return make_svd_detector(SvdSettings(**SMALL, **told))


@pytest.mark.parametrize(
    ("backbone", "widest"),
    [("resnet3d:18-v1c-gn", 512), ("resnet3d:50", 2048), ("p3d:63-gn", 2048)],
)
def test_nine_slices_fall_to_one_level_by_level(backbone, widest):
    detector = on_meta(backbone=backbone).eval()
    with torch.no_grad():
        levels = detector.levels(torch.empty(2, 1, 9, 128, 192, device="meta"))
        maps = detector.flat(levels)
    assert [tuple(x.shape[:3]) for x in levels] == [
        (2, widest // n, d) for n, d in ((8, 9), (4, 5), (2, 3), (1, 1))
    ]
    assert [tuple(x.shape) for x in maps] == [
        (2, 8, 128 // stride, 192 // stride) for stride in (4, 8, 16, 32, 64)
    ]
    assert [m.slices for m in detector.reductions] == [9, 5, 3, 1]


@pytest.mark.parametrize("to_plane", ["group", "centre"])
def test_photographs_keep_their_three_slices(to_plane):
    told = {"depth": 3, "reduces": False, "classes": 80, "to_plane": to_plane}
    detector = on_meta(backbone="resnet3d:18-gn", **told).eval()
    with torch.no_grad():
        levels = detector.levels(channels_as_slices(torch.empty(1, 3, 64, 64, device="meta")))
    assert [x.shape[2] for x in levels] == [3, 3, 3, 3]
    kinds = {type(m).__name__ for m in detector.reductions}
    assert kinds == {"GroupTransform" if to_plane == "group" else "CentreSlice"}
    assert detector.heads.box_predictor.cls_score.out_features == 81


def lively(net):
    """A backbone from the meta device whose layers pass something on."""
    net = net.to_empty(device="cpu")
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=(2 / module.weight[0].numel()) ** 0.5)
        if isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
    return net.eval()


def test_the_third_reduction_is_the_unpadded_convolution():
    torch.manual_seed(0)
    with torch.device("meta"):
        backbone = SvdBackbone(flat("resnet3d:18", in_channels=1, classes=1), 9, True)
    backbone = lively(backbone)
    with torch.no_grad():
        *_, third, last = backbone(torch.randn(1, 1, 9, 32, 32))
        first, second = backbone.net.layer4
        weights = {name: p for name, p in first.named_parameters() if p.dim() > 1}

        def norm(n, x):
            return (x - 0) / torch.sqrt(torch.tensor(1 + n.eps))

        y = F.conv3d(third, weights["conv1.weight"], None, 2, (0, 1, 1))
        y = F.conv3d(norm(first.bn1, y).relu(), weights["conv2.weight"], None, 1, 1)
        short = weights["downsample.0.weight"].reshape(512, 256, 1, 1, 1)
        short = F.conv3d(third[:, :, 1:2], short, None, (1, 2, 2))
        y = (norm(first.bn2, y) + norm(first.downsample[1], short)).relu()
        torch.testing.assert_close(last, second(y), rtol=1e-4, atol=1e-4)
        padded = F.conv3d(third, weights["conv1.weight"], None, 2, 1)[:, :, :1]
        other = F.conv3d(norm(first.bn1, padded).relu(), weights["conv2.weight"], None, 1, 1)
        other = (norm(first.bn2, other) + norm(first.downsample[1], short)).relu()
        assert not torch.allclose(last, second(other), rtol=1e-2, atol=1e-2)


@pytest.fixture(scope="module")
def small():
    """A detector of nine slices with a thin backbone's place taken by the smallest there is."""
    torch.manual_seed(0)
    settings = SvdSettings(backbone="p3d:18ba-gn", regions=(16, 0.25), anchors=(2000, 0.5), **SMALL)
    return make_svd_detector(settings)


def test_it_trains_every_parameter(small):
    images = torch.randn(2, 1, 9, 64, 64)
    targets = [
        {"boxes": torch.tensor([[10.0, 12.0, 30.0, 28.0]]), "labels": torch.ones(1).long()},
        {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0).long()},
    ]
    small.train()
    lost = small(images, None, targets)
    assert set(lost) == {"rpn_objectness", "rpn_box", "class", "box"}
    assert all(torch.isfinite(value) for value in lost.values())
    small.zero_grad()
    sum(lost.values()).backward()
    idle = {n for n, p in small.named_parameters() if p.grad is None or not p.grad.abs().any()}
    assert not idle


def test_nothing_is_proposed_beyond_an_image_that_was_padded(small):
    targets = [{"boxes": torch.zeros(0, 4), "size": (40, 56)}, {"boxes": torch.zeros(0, 4)}]
    small.train()
    with torch.no_grad():
        maps = small.flat(small.levels(torch.randn(2, 1, 9, 64, 64)))
        padded, whole = small.proposals.of_map(maps, (64, 64), targets)[0]
    assert len(padded) and padded[:, 2].max() <= 56 and padded[:, 3].max() <= 40
    assert whole[:, 2].max() > 56 and whole[:, 3].max() > 40


def test_windows_of_a_slab_are_those_of_its_slices(small):
    small.eval()
    slab = torch.randn(1, 1, 11, 64, 70)
    with torch.no_grad():
        found = small.detections(small.flat(small.levels(slab)), (64, 70))
        parts = small.before_fusion(slab)
        one = small.after([part[:, :, 1:10] for part in parts])
        [alone] = small.detections(small.flat(one), (64, 70))
        [called] = small(slab[:, :, 1:10])
    assert len(found) == 3 and len(alone["boxes"]) > 0
    for other in (found[1], called):
        for name in ("boxes", "scores", "labels"):
            torch.testing.assert_close(other[name], alone[name], rtol=1e-3, atol=1e-3)
    boxes = alone["boxes"]
    assert bool((boxes >= 0).all()) and float(boxes[:, 2].max()) <= 70
    assert bool((alone["scores"].diff() <= 0).all())


def test_a_detector_of_photographs_passes_on_all_but_its_group_transforms(small, tmp_path):
    told = {"depth": 3, "reduces": False, "classes": 3}
    source = on_meta(backbone="p3d:18ba-gn", **told).to_empty(device="cpu")
    tensors = {n: torch.full_like(v, 0.25) for n, v in source.state_dict().items()}
    save_file(tensors, tmp_path / "coco.safetensors")
    settings = SvdSettings(backbone="p3d:18ba-gn", **SMALL)
    report = make_svd_detector(settings, tmp_path / "coco.safetensors").weights
    left = {name for name, _ in report.skipped}
    # The third level has as many slices as the photographs.
    assert left - HEADS == {f"reductions.{i}.fuse.weight" for i in (0, 1, 3)}
    assert left >= HEADS and not report.missing
    classifier = {n.removeprefix("backbone.net."): v for n, v in tensors.items() if "net." in n}
    save_file(classifier, tmp_path / "imagenet.safetensors")
    report = make_svd_detector(settings, tmp_path / "imagenet.safetensors").weights
    assert len(report.loaded) == len(classifier) and not report.skipped


@pytest.mark.parametrize(
    ("told", "say"),
    [
        ({"depth": 7}, "takes 9 slices, got 7"),
        ({"masks": True}, "boxes alone"),
        ({"context": 1}, "sees its slices alone"),
        ({"to_plane": "center"}, "did you mean 'centre'"),
        ({"sizes": (16, 32)}, "each of 5 levels"),
        ({"backbone": "torchvision:resnet18"}, "published in 3D"),
        ({"backbone": "resnet3d:18-a"}, "take type B"),
    ],
)
def test_what_does_not_go_together_is_refused(told, say):
    with pytest.raises(UsageError, match=say):
        on_meta(**told)


def test_images_of_too_few_slices_are_refused(small):
    with pytest.raises(InputError, match="9 slices or more, got 7"):
        small.levels(torch.zeros(1, 1, 7, 64, 64))
