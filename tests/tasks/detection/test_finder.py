from functools import cache

import numpy as np
import pytest
import torch

from thirdaxis.data.lesions.key_slice import KeySlice
from thirdaxis.data.lesions.stack import slice_weights, stack_slices
from thirdaxis.data.volume import Volume
from thirdaxis.errors import InputError, UsageError
from thirdaxis.nets.lesion.detector import make_detector
from thirdaxis.nets.lesion.settings import DetectorSettings
from thirdaxis.tasks.detection.data import Slices
from thirdaxis.tasks.detection.finder import Finder
from thirdaxis.tasks.detection.plan import DetectPlan
from thirdaxis.tasks.detection.settings import DetectSettings
from thirdaxis.tasks.detection.slab import Looking


@cache
def finder(
    fusion: str,
    depth: int = 3,
    interval: float | str = 2.0,
    backbone: str = "timm:test_resnet",
    context: int = 0,
) -> Finder:
    """A detector with random weights that tells its best five boxes of every slice."""
    torch.manual_seed(0)
    told = DetectorSettings(
        backbone=backbone,
        fusion=fusion,
        depth=depth,
        context=context,
        masks=depth == 5,
        width=16,
        hidden=16,
        mask_width=8,
        sizes=(16, 24),
        proposals_after=(50, 20),
        most=5,
    )
    settings = DetectSettings(
        data="none",
        fusion=fusion,
        depth=depth,
        context=context,
        interval=interval,
        size=64,
        masks=depth == 5,
    )
    net = make_detector(told).eval()
    return Finder(net, settings, DetectPlan.of(settings), torch.device("cpu"))


def scan(slices: int = 7, spacing: float = 2.0) -> Volume:
    """Noise on a turned grid: slices upwards, rows to the back, columns to the left."""
    affine = torch.zeros(4, 4, dtype=torch.float64)
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = spacing, -1, -1, 1
    random = torch.Generator().manual_seed(slices)
    return Volume(torch.randn(1, slices, 40, 60, generator=random) * 400, affine)


def by_training(found: Finder, volume: Volume, key: int) -> dict[str, torch.Tensor]:
    """What the network says of a slice that is fed to it as in training."""

    def read(one: KeySlice, depth: int, interval: float | None) -> np.ndarray:
        series = volume.array[0].numpy()
        offsets, weights = slice_weights(depth, one.spacing[0], interval)
        there = range(len(series))
        return stack_slices(lambda n: series[n], there.__contains__, key, offsets, weights)

    one = KeySlice("a/0", "a", torch.zeros(0, 4), volume.shape[1:], volume.spacing)
    sample = Slices((one,), read, found.plan).sample(0)
    with torch.no_grad():
        return found.net(sample["image"][None], sample["thickness"][None])[0]


@pytest.mark.parametrize(
    ("fusion", "spacing", "depth", "backbone", "context"),
    [
        ("acs", 2.0, 3, "timm:test_resnet", 0),
        ("acs", 0.8, 3, "timm:test_resnet", 2),
        ("a3d", 0.8, 3, "timm:test_resnet", 0),
        ("alignshift", 5.0, 3, "torchvision:resnet18", 0),
        ("acs", 3.0, 5, "densenet121", 0),  # with masks; its stem comes before the first fusion
    ],
)
def test_windows_are_what_training_sees(fusion, spacing, depth, backbone, context):
    # Of slices of 5 mm taken as they are, AlignShift has to know how far apart they lie.
    interval = "native" if fusion == "alignshift" else 2.0
    found, volume = finder(fusion, depth, interval, backbone, context), scan(5, spacing)
    if backbone == "densenet121":
        assert found.net.backbone.ahead > 0
    told = []
    boxes = found(volume, Looking(batch=2), lambda done, total: told.append((done, total)))
    assert told == [(number, 5) for number in range(1, 6)]
    scale, ends = 64 / 60, np.array([0, 0, 1, 1])
    for key in (0, 2, 4):
        answer = by_training(found, volume, key)
        here = boxes.slices == key
        assert len(answer["scores"]) == here.sum() > 0
        assert boxes.scores[here] == pytest.approx(answer["scores"].numpy(), abs=1e-5)
        expected = (answer["boxes"].numpy() + ends) / scale - ends
        expected = np.clip(expected, 0, [59, 39, 59, 39])
        assert boxes.boxes[here] == pytest.approx(expected, abs=1e-2)
        if depth == 5:
            assert boxes.diameters is not None
            drawn = answer["masks"].numpy().any((1, 2))
            assert ((boxes.diameters[here] > 0).all(1) == drawn).all()


@pytest.mark.parametrize(("fusion", "interval"), [("slicewise", "native"), ("slicewise", 4.0)])
def test_slabs_of_single_slices_are_windows(fusion, interval):
    """Where nothing looks beyond its slice but the reductions, both ways say the same."""
    found, volume = finder(fusion, 3, interval), scan(9)
    windows = found(volume, Looking())
    slabs = found(volume, Looking("slab", slab=4, context=0, batch=3))
    if interval == "native":
        assert (slabs.slices == windows.slices).all()
        assert slabs.scores == pytest.approx(windows.scores, abs=1e-6)
        assert slabs.boxes == pytest.approx(windows.boxes, abs=1e-3)
        return
    # Every other slice lies on the grid; the ones between take the answer of the next one.
    for key in range(0, 9, 2):
        own = windows.scores[windows.slices == key]
        for user in {key, max(key - 1, 0)}:
            assert slabs.scores[slabs.slices == user] == pytest.approx(own, abs=1e-6)


@pytest.mark.parametrize("fusion", ["acs", "tsm", "alignshift"])
def test_a_slab_for_each_slice_without_context_is_its_window(fusion):
    """So that what slabs change is what lies beyond a window, and nothing else."""
    found, volume = finder(fusion, 3, "native"), scan(4, 5.0)
    windows = found(volume, Looking())
    slabs = found(volume, Looking("slab", slab=1, context=0))
    assert (slabs.slices == windows.slices).all()
    assert slabs.scores == pytest.approx(windows.scores, abs=1e-6)
    assert slabs.boxes == pytest.approx(windows.boxes, abs=1e-3)


@pytest.mark.parametrize("fusion", ["acs", "tsm", "alignshift", "i3d"])
def test_the_length_of_slabs_does_not_matter_with_enough_context(fusion):
    found, volume = finder(fusion), scan(14)
    whole = found(volume, Looking("slab", slab=99, context=0))
    parts = found(volume, Looking("slab", slab=4, context=9))
    assert (whole.slices == parts.slices).all()
    assert parts.scores == pytest.approx(whole.scores, abs=1e-5)
    assert parts.boxes == pytest.approx(whole.boxes, abs=1e-2)
    windows = found(volume, Looking())
    assert np.abs(windows.scores - whole.scores).max() > 1e-4  # else the two ways would be one


@pytest.mark.parametrize("fusion", ["acs", "tsm", "alignshift"])
def test_slabs_are_windows_of_a_detector_with_enough_context(fusion):
    found, volume = finder(fusion, 3, "native", context=12), scan(9, 5.0)
    windows = found(volume, Looking())
    slabs = found(volume, Looking("slab", slab=4, context=9))
    assert (slabs.slices == windows.slices).all()
    assert slabs.scores == pytest.approx(windows.scores, abs=1e-5)
    assert slabs.boxes == pytest.approx(windows.boxes, abs=1e-2)


@pytest.mark.parametrize("mode", ["windows", "slab"])
def test_one_slice_is_enough(mode):
    boxes = finder("acs")(scan(1), Looking(mode))
    assert set(boxes.slices.tolist()) == {0}


def test_what_cannot_run_on_slabs_is_refused():
    with pytest.raises(UsageError, match="made for exactly 3; take mode"):
        finder("a3d")(scan(), Looking("slab"))


def test_a_scan_of_several_channels_is_refused():
    volume = scan()
    with pytest.raises(InputError, match="2 channels"):
        finder("acs").turned(Volume(volume.array.repeat(2, 1, 1, 1), volume.affine))


@pytest.mark.parametrize("told", [{"mode": "slabs"}, {"batch": 0}, {"slab": 0}, {"context": -1}])
def test_impossible_ways_are_refused(told):
    with pytest.raises(UsageError):
        Looking(**told)
