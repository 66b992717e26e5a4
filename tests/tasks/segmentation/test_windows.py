import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from monai.inferers.utils import sliding_window_inference
from torch import nn

from thirdaxis.errors import UsageError
from thirdaxis.tasks.segmentation.windows import logit_slabs, logits_of


class Scaled(nn.Module):
    """Logits of each voxel from that voxel alone, so that blending cannot change them."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([1.0, -2.0, 0.5]))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image * self.scale.reshape(1, 3, 1, 1, 1)


class Placed(nn.Module):
    """Logits that depend on the place in the window, so that a wrong weight or place shows."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([1.0, 3.0]))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        d, h, w = image.shape[2:]
        ramp = torch.arange(d * h * w, dtype=image.dtype).reshape(d, h, w) / (d * h * w)
        return torch.cat([image * self.scale[0] + ramp, image.cumsum(4) - self.scale[1] * ramp], 1)


@pytest.mark.parametrize("shape", [(8, 8, 8), (13, 9, 21), (3, 20, 5), (1, 1, 1)])
@pytest.mark.parametrize("overlap", [0.0, 0.5])
def test_windows_blend_to_the_voxelwise_answer(shape, overlap):
    image = torch.randn(1, *shape)
    logits = logits_of(Scaled(), image, (8, 8, 8), overlap)
    expected = torch.stack([image[0], -2 * image[0], 0.5 * image[0]])
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)
    assert not logits.requires_grad


sizes = some.tuples(*(some.integers(1, 15) for _ in range(3)))
patches = some.tuples(*(some.integers(1, 9) for _ in range(3)))


@settings(max_examples=40)
@given(sizes, patches, some.sampled_from([0.0, 0.25, 0.5, 0.7, 0.9]), some.integers(1, 5))
def test_the_answer_is_that_of_monai(size, patch, overlap, windows):
    image = torch.randn(1, *size, generator=torch.Generator().manual_seed(sum(size)))
    net = Placed()
    with torch.no_grad():
        expected = sliding_window_inference(
            image[None], patch, windows, net, overlap=overlap, mode="gaussian"
        )
    found = logits_of(net, image, patch, overlap, windows)
    torch.testing.assert_close(found, expected[0], rtol=1e-4, atol=1e-4)


class Mixed(nn.Module):
    """Sums over neighbouring slices, with nothing beyond a window's ends."""

    def __init__(self, rim: int) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.arange(1.0, 2 * rim + 2).reshape(1, 1, -1, 1, 1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return nn.functional.conv3d(image, self.kernel, padding=(len(self.kernel[0, 0]) // 2, 0, 0))


@settings(max_examples=40)
@given(sizes, patches, some.sampled_from([0.0, 0.25, 0.7]), some.integers(1, 2))
def test_no_answer_of_a_rim_counts(size, patch, overlap, rim):
    """Every slice has neighbours; at the ends of the volume its last slices stand in."""
    patch = (patch[0] + 2 * rim, *patch[1:])
    image = torch.randn(1, *size, generator=torch.Generator().manual_seed(sum(size)))
    net = Mixed(rim)
    ends = [image[:, :1]] * rim, [image[:, -1:]] * rim
    whole = torch.cat([*ends[0], image, *ends[1]], 1)
    expected = nn.functional.conv3d(whole[None], net.kernel)[0]
    slabs = list(logit_slabs(net, image, patch, overlap, rim=rim))
    torch.testing.assert_close(torch.cat(slabs, 1), expected.detach(), rtol=1e-4, atol=1e-4)
    assert all(slab.shape[1] for slab in slabs)


def test_windows_that_are_all_rim_are_refused():
    with pytest.raises(UsageError, match="windows of 2 slices have none inside a rim of 1"):
        logits_of(Mixed(1), torch.zeros(1, 4, 4, 4), (2, 4, 4), 0.0, rim=1)


def test_slabs_come_as_soon_as_no_window_touches_them():
    seen = []
    slabs = logit_slabs(
        Placed(), torch.randn(1, 20, 6, 9), (8, 4, 4), 0.5, told=lambda *done: seen.append(done)
    )
    depths, done = [], []
    for slab in slabs:
        depths.append(slab.shape[1])
        done.append(seen[-1][0])
    assert depths == [4, 4, 4, 8]  # windows begin at 0, 4, 8 and 12
    # Each depth has 2 x 4 windows: one depth's slab comes before the next depth is begun.
    assert done == [8, 16, 24, 32]
    assert seen[-1] == (32, 32)


@pytest.mark.parametrize(
    "flips", [("depth",), ("width", "height"), ("depth", "height", "width", "depth")]
)
def test_flips_average_the_probabilities_of_all_combinations(flips):
    image, net = torch.randn(1, 4, 5, 6), Placed()
    axes = {"depth": 2, "height": 3, "width": 4}
    chosen = [axes[name] for name in set(flips)]
    each = []
    for size in range(len(chosen) + 1):
        for turn in itertools.combinations(chosen, size):
            with torch.no_grad():
                each.append(net(image[None].flip(turn)).softmax(1).flip(turn))
    assert len(each) == 2 ** len(chosen)
    (found,) = logit_slabs(net, image, (4, 5, 6), 0.5, flips=flips)
    torch.testing.assert_close(found.softmax(0), torch.stack(each).mean(0)[0])


def test_an_unknown_axis_is_named():
    with pytest.raises(UsageError, match="no axis 'hight' to flip; did you mean 'height'"):
        next(logit_slabs(Placed(), torch.zeros(1, 4, 4, 4), (4, 4, 4), 0.5, flips=("hight",)))


def test_overlap_along_each_axis_is_that_of_monai():
    image = torch.randn(1, 12, 9, 10)
    overlap = (0.625, 0.0, 0.5)
    expected = sliding_window_inference(
        image[None], (8, 4, 4), 3, Placed(), overlap=overlap, mode="gaussian"
    )
    torch.testing.assert_close(logits_of(Placed(), image, (8, 4, 4), overlap), expected[0])
    other = logits_of(Placed(), image, (8, 4, 4), 0.5)
    assert not torch.allclose(other, expected[0])
