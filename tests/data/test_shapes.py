import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from thirdaxis.data.shapes import (
    CLASSES_2D,
    CLASSES_3D,
    CubesAndBalls,
    Shapes2D,
    Shapes3D,
    ball,
    circle,
    cone,
    cube,
    cylinder,
    pyramid,
    quarter_turns,
    random_shape_2d,
    random_shape_3d,
    square,
)
from thirdaxis.errors import UsageError

sizes = st.integers(5, 24)


def _written_out(shape, inside):
    """The mask voxel by voxel in plain Python, from a rule on integer indices."""
    mask = np.zeros(shape, dtype=bool)
    for index in itertools.product(*(range(n) for n in shape)):
        mask[index] = inside(*index)
    return mask


def _far2(size, *index):
    """Four times the squared distance from the middle, in whole numbers."""
    return sum((2 * i - (size - 1)) ** 2 for i in index)


@settings(max_examples=15, deadline=None)
@given(sizes)
def test_round_and_square_shapes(d):
    assert np.array_equal(circle(d), _written_out((d, d), lambda i, j: _far2(d, i, j) <= d * d))
    assert np.array_equal(
        ball(d), _written_out((d, d, d), lambda i, j, k: _far2(d, i, j, k) <= d * d)
    )
    assert square(d).shape == (d, d) and square(d).all()
    assert cube(d).shape == (d, d, d) and cube(d).all()


@settings(max_examples=15, deadline=None)
@given(sizes, sizes)
def test_shapes_along_the_last_axis(a, h):
    def in_cylinder(i, j, k):
        return _far2(a, i, j) <= a * a

    def in_cone(i, j, k):  # diameter in layer k: a·k / (h − 1), compared without division
        return _far2(a, i, j) * (h - 1) ** 2 <= (a * k) ** 2

    def in_pyramid(i, j, k):
        return max(abs(2 * i - a + 1), abs(2 * j - a + 1)) * (h - 1) <= a * k

    shape = (a, a, h)
    assert np.array_equal(cylinder(a, h), _written_out(shape, in_cylinder))
    # Ties between the two sides are exact in whole numbers and rounded in floats: a voxel on the
    # surface may fall on either side, none elsewhere may.
    for mask, rule, size in (
        (cone(a, h), in_cone, lambda i, j, k: _far2(a, i, j) * (h - 1) ** 2 - (a * k) ** 2),
        (
            pyramid(a, h),
            in_pyramid,
            lambda i, j, k: max(abs(2 * i - a + 1), abs(2 * j - a + 1)) * (h - 1) - a * k,
        ),
    ):
        wrong = np.argwhere(mask != _written_out(shape, rule))
        assert all(size(*index) == 0 for index in wrong.tolist())


def test_a_cone_fills_about_a_third_of_its_cylinder_and_half_its_pyramid_times_pi():
    assert cone(24, 24).sum() / cylinder(24, 24).sum() == pytest.approx(1 / 3, abs=0.03)
    assert cone(24, 24).sum() / pyramid(24, 24).sum() == pytest.approx(math.pi / 4, abs=0.04)


def test_quarter_turns_point_a_cone_six_ways():
    ways = set()
    for turns in itertools.product(range(4), repeat=3):
        mask = quarter_turns(cone(5, 9), turns)
        assert mask.sum() == cone(5, 9).sum()
        axis = mask.shape.index(9)
        layers = mask.sum(axis=tuple(i for i in range(3) if i != axis))
        ways.add((axis, bool(layers[0] < layers[-1])))
    assert len(ways) == 6


def test_only_cones_and_pyramids_are_turned_and_sizes_span_the_range():
    rng = np.random.default_rng(0)
    seen = {name: set() for name in CLASSES_3D[:-1]}
    for _ in range(3000):
        label, mask = random_shape_3d(rng)
        seen[CLASSES_3D[label]].add(mask.shape)
    assert all(len(set(shape)) == 1 for name in ("cube", "ball") for shape in seen[name])
    assert all(shape[0] == shape[1] for shape in seen["cylinder"])
    for name in ("cone", "pyramid"):
        assert any(shape[0] != shape[1] for shape in seen[name])
    for shapes in seen.values():
        assert {n for shape in shapes for n in shape} == set(range(5, 25))
    flat = {random_shape_2d(rng)[1].shape for _ in range(500)}
    assert flat == {(n, n) for n in range(5, 25)}


@pytest.mark.parametrize(
    ("draw", "count"), [(random_shape_2d, len(CLASSES_2D) - 1), (random_shape_3d, 5)]
)
def test_classes_are_drawn_evenly(draw, count):
    rng = np.random.default_rng(1)
    n = 4000
    labels = np.bincount([draw(rng)[0] for _ in range(n)], minlength=count)
    assert labels.shape == (count,)
    spread = 4.5 * math.sqrt(n / count * (1 - 1 / count))
    assert np.abs(labels - n / count).max() < spread


@pytest.mark.parametrize(
    ("make", "rank", "objects"), [(Shapes2D, 2, 3), (Shapes3D, 3, 4), (CubesAndBalls, 3, 4)]
)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**64), index=st.integers(0, 50))
def test_items(make, rank, objects, seed, index):
    image, labels = make(51, seed)[index]
    classes = make.classes
    background = len(classes) - 1
    assert image.shape == (1, *(48,) * rank) and image.dtype == torch.float32
    assert labels.shape == (48,) * rank and labels.dtype == torch.int64
    assert labels.min() >= 0 and labels.max() == background

    cells = [
        labels[tuple(slice(24 * c, 24 * c + 24) for c in corner)]
        for corner in itertools.product((0, 1), repeat=rank)
    ]
    filled = [cell for cell in cells if (cell != background).any()]
    assert len(filled) == objects
    assert all(len(cell[cell != background].unique()) == 1 for cell in filled)

    again = make(index + 1, seed)[index]
    assert torch.equal(again[0], image) and torch.equal(again[1], labels)
    assert not torch.equal(make(51, seed + 1)[index][0], image)
    assert not torch.equal(make(52, seed)[index + 1][0], image)

    noise = (image[0] - (labels != background).float()) / 0.5
    n = noise.numel()
    assert abs(noise.mean()) < 6 / math.sqrt(n)
    assert abs(noise.std() - 1) < 6 / math.sqrt(2 * n)


def test_neighbouring_seeds_and_indices_do_not_collide():
    pairs = [(0, 1), (1, 0), (1, 1), (2**32 + 1, 0), (2**32, 1)]
    images = [Shapes2D(2, seed)[index][0] for seed, index in pairs]
    assert not any(torch.equal(a, b) for a, b in itertools.combinations(images, 2))


def test_positions_reach_every_place_in_a_cell():
    """Small squares are found with every offset from 0 to 24 − d on both axes."""
    offsets = set()
    data = Shapes2D(1500, 3)
    for i in range(len(data)):
        cell = data[i][1][:24, :24] != 2
        rows, columns = cell.any(1).nonzero(), cell.any(0).nonzero()
        if len(rows) == 5:
            offsets |= {(0, int(rows[0])), (1, int(columns[0]))}
    assert offsets == {(axis, start) for axis in (0, 1) for start in range(20)}


def test_iteration_ends_and_bad_arguments_are_refused():
    assert len(list(Shapes2D(3, 0))) == 3
    with pytest.raises(UsageError, match="n=0"):
        Shapes2D(0, 0)
    with pytest.raises(UsageError, match="seed=-1"):
        Shapes3D(1, -1)
