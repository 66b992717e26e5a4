from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import thirdaxis
from thirdaxis.errors import InputError, UsageError
from thirdaxis.fusion.table import ON_CONVOLUTIONS
from thirdaxis.nets.lesion.backbone import Backbone
from thirdaxis.nets.lesion.detector import LesionDetector, make_detector
from thirdaxis.nets.lesion.pyramid import windows
from thirdaxis.nets.lesion.settings import DetectorSettings

LOSSES = ["rpn_objectness", "rpn_box", "class", "box", "mask"]


class Plain(nn.Module):
    """Three levels by four convolutions, the first of a stem that nothing fuses."""

    channels = (8, 12, 16)

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.ReLU())
        self.first = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(8, 12, 3, 2, 1), nn.ReLU())
        self.third = nn.Sequential(nn.Conv2d(12, 16, 3, 2, 1), nn.ReLU())

    def forward(self, image):
        first = self.first(self.stem(image))
        second = self.second(first)
        return [first, second, self.third(second)]


@pytest.fixture(scope="module")
def detector() -> Callable[..., LesionDetector]:
    """A detector of a moment's size, around the plain network unless another is named."""

    def made(fusion: Any = "acs", depth: int = 3, seed: int = 0, **more: Any) -> LesionDetector:
        small = {"width": 16, "hidden": 16, "mask_width": 8, "stem": "sum"}
        small |= {"proposals_before": (400, 200), "proposals_after": (60, 30)}
        settings = DetectorSettings(fusion=fusion, depth=depth, **{**small, **more})
        torch.manual_seed(seed)
        if "backbone" in more:
            return make_detector(settings)
        return LesionDetector(Backbone(Plain(), settings), settings)

    return made


@pytest.fixture
def targets() -> list[dict[str, torch.Tensor]]:
    """Two lesions on the first image, none on the second."""
    boxes = torch.tensor([[8.0, 10, 28, 26], [36, 30, 56, 58]])
    masks = torch.zeros(2, 64, 64, dtype=torch.uint8)
    masks[0, 10:27, 8:29] = masks[1, 30:59, 36:57] = 1
    label = torch.ones(2, dtype=torch.int64)
    return [
        {"boxes": boxes, "labels": label, "masks": masks},
        {"boxes": boxes[:0], "labels": label[:0], "masks": masks[:0]},
    ]


@pytest.mark.parametrize(
    ("name", "masks"), [*((name, True) for name in [*ON_CONVOLUTIONS, "stacked"]), ("acs", False)]
)
def test_a_training_step_reaches_every_part(name, masks, detector, operator, targets):
    """Also where no image of the batch has a lesion, as a step of many processes needs it."""
    fusion = name if name == "stacked" else operator(name, 3)
    backbone = {"backbone": "torchvision:mobilenet_v2"} if name == "planecycle" else {}
    net = detector(fusion, masks=masks, **backbone)
    images, thickness = torch.randn(2, 1, 3, 64, 64), torch.tensor([1.0, 5.0])
    for given in (targets, [targets[1]] * 2):
        net.zero_grad()
        lost = net(images, thickness, given)
        assert list(lost) == LOSSES[: 5 if masks else 4]
        assert all(loss.ndim == 0 and loss.isfinite() for loss in lost.values())
        assert (lost["rpn_box"] > 0) == (len(given[0]["boxes"]) > 0)
        sum(lost.values()).backward()
        none = [
            n for n, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()
        ]
        assert not none
        if given is targets:
            reached = {n.split(".")[0] for n, p in net.named_parameters() if p.grad.any()}
            parts = {"backbone", "pyramid", "proposals", "heads"}
            assert reached == parts | ({"reductions"} if name != "stacked" else set())


@pytest.mark.parametrize(
    "fusion",
    [thirdaxis.A3D(noise=0.0), thirdaxis.TSM(fraction=0.0), thirdaxis.AlignShift(fraction=0.0)],
    ids=lambda fusion: fusion.name,
)
def test_without_effect_an_operator_leaves_the_slicewise_detector(fusion, detector, targets):
    """The papers' network: equal to the last bit, losses, maps and detections."""
    papers = {"backbone": "densenet121", "width": 8, "depth": 3}
    flat, fused = detector("slicewise", **papers), detector(fusion, **papers)
    missing, unexpected = fused.load_state_dict(flat.state_dict(), strict=False)
    assert all(name.endswith(".fusion.mix") for name in missing) and not unexpected
    assert bool(missing) == (fusion.name == "a3d")
    images, thickness = torch.randn(1, 1, 3, 64, 64), torch.tensor([2.0])
    answers = []
    for net in (flat, fused):
        torch.manual_seed(1)
        lost = net(images, thickness, targets[:1])
        with torch.no_grad():
            answers.append([lost, net.eval()(images, thickness)])
    torch.testing.assert_close(*answers, rtol=0, atol=0)


def test_with_effect_it_does_not(detector):
    images = torch.randn(1, 1, 3, 64, 64)
    flat, fused = detector("slicewise").eval(), detector(thirdaxis.A3D(depth=3)).eval()
    fused.load_state_dict(flat.state_dict(), strict=False)
    assert not torch.allclose(fused.levels(images)[0], flat.levels(images)[0])


@pytest.mark.parametrize("fusion", ["alignshift", thirdaxis.A3D(depth=3, reference=2.0)])
def test_every_sample_has_its_own_thickness(fusion, detector):
    net = detector(fusion, 3).eval()
    images, thickness = torch.randn(2, 1, 3, 64, 64), torch.tensor([1.0, 5.0])
    with torch.no_grad():
        both = net.flat(net.levels(images, thickness))
        for i in (0, 1):
            alone = net.flat(net.levels(images[i : i + 1], thickness[i : i + 1]))
            torch.testing.assert_close(both[i : i + 1], alone, rtol=1e-5, atol=1e-5)
        turned = net.flat(net.levels(images, thickness.flip(0)))
    assert not torch.allclose(both, turned, rtol=1e-2, atol=1e-2)
    with pytest.raises(InputError, match="thickness"):
        net(images)


@pytest.mark.parametrize("name", ["slicewise", "stacked"])
@pytest.mark.parametrize("depth", [1, 3])
def test_a_slab_gives_the_maps_of_its_windows(name, depth, detector):
    net = detector(name, depth).eval()
    slab = torch.randn(2, 1, depth + 2, 32, 64)
    with torch.no_grad():
        found = net.flat(net.levels(slab))
        expected = net.flat(net.levels(windows(slab, depth)))
    assert found.shape == (2 * 3, 16, 8, 16)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["i3d", "p3d", "acs", "tsm", "alignshift"])
def test_inside_a_slab_the_maps_move_with_the_slices(name, detector, told):
    """Five slices from the ends, as far as the four convolutions see."""
    net = detector(name, 3).eval()
    scan = torch.randn(1, 1, 20, 32, 32)
    beside = told(name, scan)
    with torch.no_grad():
        for weight in net.backbone.parameters():  # some operators start without effect
            weight += 0.1 * torch.randn_like(weight)
        here = net.flat(net.levels(scan[:, :, :-1], **beside))
        there = net.flat(net.levels(scan[:, :, 1:], **beside))
    torch.testing.assert_close(here[6:11], there[5:10], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(here[1:], there[:-1], rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("name", ["i3d", "acs", "tsm", "alignshift"])
def test_with_enough_context_windows_are_the_maps_of_a_slab(name, detector, told):
    """Five, as far as the convolutions see; with less, and with none, they are not."""
    scan = torch.randn(1, 1, 20, 32, 32)
    beside = told(name, scan)
    for context in (0, 2, 5):
        net = detector(name, 3, context=context).eval()
        seen = net.settings.seen
        assert seen == 3 + 2 * context
        samples = windows(scan, seen)
        with torch.no_grad():
            slab = net.flat(net.levels(scan, **beside))
            many = {key: value.expand(len(samples)) for key, value in beside.items()}
            alone = net.flat(net.levels(samples, **many))
        assert len(slab) == len(alone) == 20 - seen + 1
        same = torch.allclose(alone, slab, rtol=1e-4, atol=1e-4)
        assert same == (context == 5)


def test_context_belongs_to_a_sample(detector, targets):
    for fusion in ("acs", "a3d"):
        net = detector(fusion, 3, context=2)
        assert net.backbone.fixed_depth == (7 if fusion == "a3d" else None)
        assert [x.kernel_size[0] for x in net.reductions] == [3, 3, 3]
        assert set(net(torch.randn(2, 1, 7, 64, 64), targets=targets)) == set(LOSSES)
    with pytest.raises(InputError, match=r"takes \(N, 1, 7, H, W\), got \(2, 1, 3, 64, 64\)"):
        net(torch.randn(2, 1, 3, 64, 64), targets=targets)


@pytest.mark.parametrize("name", ["slicewise", "acs"])
def test_forward_is_its_parts(name, detector):
    net = detector(name).eval()
    images = torch.randn(2, 1, 3, 64, 96)
    with torch.no_grad():
        whole = net(images)
        parts = net.after(net.before_fusion(images))
        by_hand = net.detections(net.flat(parts), (64, 96))
    torch.testing.assert_close(whole, by_hand)
    for found in whole:
        count = len(found["boxes"])
        assert found["boxes"].shape == (count, 4) and found["scores"].shape == (count,)
        assert found["masks"].shape == (count, 64, 96) and 0 < count <= 50
        assert (found["scores"].diff() <= 0).all()


def test_images_of_any_size_are_padded_and_boxes_are_not(detector):
    net = detector(masks=True).eval()
    images = torch.randn(1, 1, 3, 45, 70)
    with torch.no_grad():
        levels = net.levels(images)
        assert [x.shape[-2:] for x in levels] == [(16, 24), (8, 12), (4, 6)]
        around = torch.zeros(1, 1, 3, 64, 96)
        around[..., :45, :70] = images
        torch.testing.assert_close(levels, net.levels(around), rtol=0, atol=0)
        [found] = net(images)
    assert found["masks"].shape[-2:] == (45, 70)
    edges = found["boxes"].amax(0)
    assert edges[2] == 70 and edges[3] == 45 and (found["boxes"] >= 0).all()


@pytest.mark.parametrize("depth", [1, 5])
def test_other_depths(depth, detector, targets):
    net = detector(thirdaxis.A3D(), depth)
    images = torch.randn(2, 1, depth, 64, 64)
    assert sum(net(images, None, targets).values()).isfinite()
    assert len(net.eval()(images)) == 2


def test_it_learns_an_image_by_heart(detector, targets):
    net = detector("acs", proposals_after=(100, 50), width=32, hidden=64, mask_width=16)
    images = 0.05 * torch.randn(1, 1, 3, 64, 64)
    images[0, 0, 1] += targets[0]["masks"].sum(0)
    optimiser = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(110):
        optimiser.zero_grad()
        sum(net(images, None, targets[:1]).values()).backward()
        optimiser.step()
    with torch.no_grad():
        [found] = net.eval()(images)
    assert (found["scores"][:2] > 0.9).all() and (found["scores"][2:] < 0.5).all()
    first, second = sorted(
        zip(found["boxes"][:2], found["masks"][:2], strict=True), key=lambda x: x[0][0]
    )
    for (box, mask), true, drawn in zip(
        (first, second), targets[0]["boxes"], targets[0]["masks"], strict=True
    ):
        assert (box - true).abs().max() < 5
        assert 2 * (mask * drawn).sum() / (mask.sum() + drawn.sum()) > 0.8


def test_bfloat16_leaves_boxes_in_single_precision(detector, targets):
    net = detector()
    images = torch.randn(2, 1, 3, 64, 64)
    with torch.autocast("cpu", torch.bfloat16):
        lost = net(images, None, targets)
        sum(lost.values()).backward()
        [found, _] = net.eval()(images)
    assert all(loss.dtype == torch.float32 for loss in lost.values())
    assert (found["boxes"] != found["boxes"].bfloat16().float()).any()


@pytest.mark.parametrize("depth", [0, 2, 4, 3.0, "3", -1, True])
def test_an_even_depth_is_refused(depth):
    if depth is True:
        assert type(DetectorSettings(depth=1).depth) is int
    with pytest.raises(UsageError, match="depth is an odd number of slices"):
        DetectorSettings(depth=depth)


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(UsageError, match="did you mean 'alignshift'"):
        DetectorSettings(fusion="alignshif")
    with pytest.raises(UsageError, match="stacked"):
        DetectorSettings(fusion="stacked", place="@3x3")
    with pytest.raises(UsageError, match="context: fusion 'stacked' is a 2D network"):
        DetectorSettings(fusion="stacked", context=1)
    for context in (-1, 0.5):
        with pytest.raises(UsageError, match="context is a number of slices, 0 or more"):
            DetectorSettings(context=context)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((1, 1, 5, 64, 64), r"takes \(N, 1, 3, H, W\), got \(1, 1, 5, 64, 64\)"),
        ((1, 3, 3, 64, 64), r"takes \(N, 1, 3, H, W\)"),
        ((1, 3, 64, 64), r"takes \(N, 1, 3, H, W\)"),
        ((1, 1, 3, 31, 64), "at least 32 x 32 pixels, got 31 x 64"),
    ],
)
def test_images_of_another_form_are_refused(shape, words, detector):
    with pytest.raises(InputError, match=words):
        detector().eval()(torch.zeros(shape))


def test_targets_of_another_form_are_refused(detector, targets):
    net, images = detector(), torch.zeros(2, 1, 3, 64, 64)
    with pytest.raises(InputError, match="2 images need as many, got none"):
        net(images)
    with pytest.raises(InputError, match="got those of 1"):
        net(images, None, targets[:1])
    del targets[1]["masks"]
    with pytest.raises(InputError, match=r"targets\[1\] has no masks"):
        net(images, None, targets)
