import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics import compute_hausdorff_distance

from thirdaxis.errors import InputError
from thirdaxis.metrics.hausdorff import hd95


def skin(mask):
    """Voxels of a mask with one of six neighbours outside, in loops; coordinates in voxels."""
    padded = np.pad(mask, 1)
    found = []
    for d, h, w in np.argwhere(mask):
        block = padded[d : d + 3, h : h + 3, w : w + 3]
        faces = (block[0, 1, 1], block[2, 1, 1], block[1, 0, 1])
        faces += (block[1, 2, 1], block[1, 1, 0], block[1, 1, 2])
        if not all(faces):
            found.append((d, h, w))
    return np.array(found)


def brute_force(a, b, spacing):
    if not a.any() and not b.any():
        return math.nan
    if not a.any() or not b.any():
        return math.inf
    gaps = (skin(a)[:, None] - skin(b)[None]) * np.array(spacing)
    distances = np.sqrt((gaps**2).sum(-1))
    return max(np.percentile(distances.min(1), 95), np.percentile(distances.min(0), 95))


@settings(deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 6)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 6)] * 3),
    seed=st.integers(0, 10_000),
    density=st.floats(0, 1),
)
def test_agrees_with_all_pairs_of_surface_voxels(shape, spacing, seed, density):
    rng = np.random.default_rng(seed)
    prediction = (rng.random(shape) < density).astype(np.int64) * rng.integers(1, 3, shape)
    truth = (rng.random(shape) < density).astype(np.int64) * rng.integers(1, 3, shape)
    scores = hd95(torch.from_numpy(prediction), torch.from_numpy(truth), spacing, [1, 2])
    for value, score in scores.items():
        expected = brute_force(prediction == value, truth == value, spacing)
        assert score == pytest.approx(expected, nan_ok=True)


def cube(start, size=8, edge=3):
    labels = torch.zeros(size, size, size, dtype=torch.int16)
    d, h, w = start
    labels[d : d + edge, h : h + edge, w : w + edge] = 1
    return labels


@pytest.mark.parametrize("axis", range(3))
def test_a_moved_cube_is_off_by_the_move_in_mm(axis):
    spacing = (5.0, 0.7, 1.5)
    moved = [2, 2, 2]
    moved[axis] += 3
    assert hd95(cube((2, 2, 2)), cube(moved), spacing, [1])[1] == pytest.approx(3 * spacing[axis])


def test_equal_maps_are_at_zero():
    assert hd95(cube((1, 2, 3)), cube((1, 2, 3)), (1, 1, 1), [1]) == {1: 0.0}


def test_empty_masks_are_written_out():
    nothing = torch.zeros(8, 8, 8, dtype=torch.int16)
    assert math.isnan(hd95(nothing, nothing, (1, 1, 1), [1])[1])
    assert hd95(cube((1, 1, 1)), nothing, (1, 1, 1), [1])[1] == math.inf
    assert hd95(nothing, cube((1, 1, 1)), (1, 1, 1), [1])[1] == math.inf


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_monai_on_blobs(seed):
    rng = np.random.default_rng(seed)
    index = np.indices((12, 14, 10)).reshape(3, -1).T
    masks = []
    for _ in range(2):
        gap = (index - rng.uniform(4, 7, 3)) / rng.uniform(2, 4, 3)
        masks.append(torch.from_numpy(((gap**2).sum(1) < 1).reshape(12, 14, 10)))
    spacing = (2.5, 0.8, 1.1)
    expected = compute_hausdorff_distance(
        masks[0][None, None].float(),
        masks[1][None, None].float(),
        include_background=True,
        percentile=95,
        spacing=spacing,
    )
    score = hd95(masks[0].int(), masks[1].int(), spacing, [1])[1]
    assert score == pytest.approx(float(expected), abs=1e-4)


@pytest.mark.parametrize(
    ("prediction", "truth", "spacing"),
    [
        (torch.zeros(2, 2, 2), torch.zeros(2, 2, 3), (1, 1, 1)),
        (torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 2, 2), (1, 1, 1)),
        (torch.zeros(2, 2, 2), torch.zeros(2, 2, 2), (1, 1)),
    ],
)
def test_other_shapes_are_refused(prediction, truth, spacing):
    with pytest.raises(InputError, match=r"two \(D, H, W\) label maps"):
        hd95(prediction, truth, spacing, [1])
