import numpy as np
import pytest
import torch
from torch import nn

from thirdaxis.data.grid import onto
from thirdaxis.data.volume import Volume
from thirdaxis.errors import InputError, UsageError
from thirdaxis.tasks.segmentation.plan import Plan
from thirdaxis.tasks.segmentation.preprocess import preprocessing
from thirdaxis.tasks.segmentation.segmenter import Inference, Segmenter
from thirdaxis.tasks.segmentation.windows import logits_of
from thirdaxis.tasks.settings_files import make_settings

LABELS = {0: "background", 1: "warm", 2: "bright"}


class Levels(nn.Module):
    """Three classes by intensity."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor([-9.0, 0.0, 9.0]).reshape(1, 3, 1, 1, 1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return (image - 0.5) * self.slope + torch.tensor([0.0, 1.0, 0.0]).reshape(1, 3, 1, 1, 1)


def segmenter(net: nn.Module | None = None, **told) -> Segmenter:
    values = {"data": "d", "intensity": "window", "window": (0, 100), "overlap": 0.5, **told}
    spacing = told.get("spacing")
    plan = Plan(LABELS, ("CT",), spacing, 1.0, (6, 7, 8))
    settings = make_settings(values, "test")
    return Segmenter(net or Levels(), settings, plan, torch.device("cpu"))


def scan(seed: int = 0, shape=(17, 15, 19)) -> Volume:
    """Smooth noise on a sheared, flipped and permuted grid."""
    random = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 1, 5, 5, 5, generator=random) * 100
    array = nn.functional.interpolate(coarse, shape, mode="trilinear")[0]
    affine = torch.eye(4, dtype=torch.float64)
    affine[:3, :3] = torch.tensor([[0.1, -0.9, 0], [0, 0.1, 1.3], [-2.1, 0, 0.1]])
    return Volume(array, affine)


@pytest.mark.parametrize("spacing", [None, (1.0, 1.0, 1.0), (3.0, 2.0, 2.2), (0.7, 1.0, 1.9)])
def test_slab_by_slab_gives_what_the_whole_gives_at_once(spacing):
    """The whole: all windows blended, then each class moved onto the scan, then the likeliest."""
    own, volume = segmenter(spacing=spacing), scan()
    seen = preprocessing(own.settings, own.plan).image(volume)
    logits = logits_of(own.net, seen.array, own.plan.patch, 0.5)
    whole = onto(Volume(logits.softmax(0), seen.affine), volume, "bilinear").array
    kept = np.zeros((3, *own.turned(volume).shape), np.float32)

    def keep(value, start, rows):
        kept[value, start : start + len(rows)] = rows

    labels = own(volume, keep=keep)
    assert labels.shape == volume.shape and labels.dtype == torch.int16
    assert set(labels.unique().tolist()) == {0, 1, 2}
    clear = whole.topk(2, 0).values.diff(dim=0)[0].abs() > 1e-4
    assert clear.float().mean() > 0.99
    assert torch.equal(labels[clear], whole.argmax(0)[clear].short())
    moved = onto(Volume(torch.from_numpy(kept), own.turned(volume).affine), volume).array
    torch.testing.assert_close(moved, whole, atol=1e-4, rtol=0)


class Leaning(nn.Module):
    """A network that is not symmetric: it adds a ramp along the width of its window."""

    def __init__(self) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.zeros(()))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        ramp = torch.linspace(-4, 4, image.shape[4]).expand_as(image)
        return torch.cat([self.level + 0 * image, ramp, -30 + 0 * image], 1)


def test_flips_take_the_sides_out_of_the_answer():
    volume = Volume(torch.zeros(1, 6, 7, 8), torch.eye(4, dtype=torch.float64)[[2, 1, 0, 3]])
    plain = segmenter(Leaning())(volume)
    assert set(plain.unique().tolist()) == {0, 1}  # one side each
    turned = segmenter(Leaning())(volume, Inference(flips=("width",)))
    assert torch.equal(turned, turned.flip(2))
    assert not torch.equal(plain, plain.flip(2))
    other = segmenter(Leaning())(volume, Inference(flips=("depth", "height")))
    assert torch.equal(other, plain)


class Watching(nn.Module):
    """Remembers in which type its convolution answered, and how many windows it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(1, 3, 1)
        self.seen: list[tuple[torch.dtype, int]] = []

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        out = self.conv(image)
        self.seen.append((out.dtype, len(image)))
        return out


def test_precision_and_overlap_are_taken():
    def windows(how):
        net = Watching()
        segmenter(net)(scan(), how)
        return {kind for kind, _ in net.seen}, sum(count for _, count in net.seen)

    assert windows(None)[0] == windows(Inference(precision="32"))[0] == {torch.float32}
    assert windows(Inference(precision="bf16"))[0] == {torch.bfloat16}
    assert windows(Inference(overlap=0.0))[1] < windows(None)[1] < windows(Inference(0.75))[1]


def test_the_largest_component_of_a_label_is_kept():
    volume = Volume(torch.zeros(1, 12, 12, 12), torch.eye(4, dtype=torch.float64)[[2, 1, 0, 3]])
    volume.array[0, 1:5, 1:5, 1:5] = 100
    volume.array[0, 8:10, 8:10, 8:10] = 100
    volume.array[0, 8:10, 1:3, 1:3] = 55
    both = segmenter()(volume)
    assert (both == 2).sum() == 64 + 8 and (both == 1).sum() > 0
    one = segmenter()(volume, Inference(largest=("bright",)))
    assert (one == 2).sum() == 64 and torch.equal(one == 1, both == 1)
    as_told = segmenter(largest_component=True)(volume)
    assert (as_told == 2).sum() == 64
    assert torch.equal(segmenter(largest_component=True)(volume, Inference(largest=())), both)
    with pytest.raises(UsageError, match="no label 'brihgt'; did you mean 'bright'"):
        segmenter()(volume, Inference(largest=("brihgt",)))


def test_wrong_words_are_refused_before_anything_runs():
    with pytest.raises(UsageError, match="overlap is a share from 0 to below 1, not 1"):
        Inference(overlap=1)
    with pytest.raises(UsageError, match="precision is '32' or 'bf16', not '16'"):
        Inference(precision="16")
    with pytest.raises(UsageError, match="no axis 'z' to flip"):
        Inference(flips=("z",))
    two = Volume(torch.zeros(2, 3, 3, 3), torch.eye(4, dtype=torch.float64))
    with pytest.raises(InputError, match="has 2 channels, the network was trained on 1"):
        segmenter()(two)


def test_windows_are_told_as_they_are_done():
    seen = []
    segmenter()(scan(), told=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert seen[-1][0] == seen[-1][1] > 4
