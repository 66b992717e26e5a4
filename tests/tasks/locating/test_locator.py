"""A network that answers with its input finds a bright voxel where it lies in the patient."""

import numpy as np
import pytest
import torch
from torch import nn

from thirdaxis.data.lesions.axial import AxialGrid
from thirdaxis.data.lesions.points import point_rows
from thirdaxis.data.volume import Volume
from thirdaxis.errors import InputError
from thirdaxis.tasks.locating.locator import Locator
from thirdaxis.tasks.locating.plan import plan_of
from thirdaxis.tasks.settings_files import make_settings

AFFINE = torch.tensor(
    [[0.0, 0.0, -0.8, 40.0], [0.0, -1.2, 0.0, 8.0], [2.5, 0.0, 0.0, -90.0], [0, 0, 0, 1]],
    dtype=torch.float64,
)


def locator(**told):
    settings = make_settings(
        {
            **{"task": "locate", "data": "d", "boxes": "b.csv", "patch": [8, 16, 16]},
            **{"intensity": "window", "window": [0, 1000], "suppress": [5, 5, 5], "least": 0.3},
            **told,
        },
        "test",
    )
    return Locator(nn.Identity(), settings, plan_of(settings, 1), torch.device("cpu"))


def turned(order, flips):
    """The same grid with the file's axes otherwise."""
    step = torch.zeros(4, 4, dtype=torch.float64)
    step[3, 3] = 1
    for new, (axis, flip) in enumerate(zip(order, flips, strict=True)):
        step[axis, new] = -1 if flip else 1
    return AFFINE @ step


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
@pytest.mark.parametrize("flips", [(False,) * 3, (True, False, True)])
@pytest.mark.parametrize("spacing", [None, (2.5, 0.6, 0.8), (5.0, 2.4, 1.6)])
def test_the_point_lies_where_the_voxel_does(order, flips, spacing):
    shape, place = (12, 18, 22), (4, 11, 5)
    array = torch.zeros(1, *shape)
    near = tuple(slice(p - 1, p + 2) for p in place)
    array[(0, *near)] = 400.0
    array[(0, *place)] = 1000.0
    affine = turned(order, flips)
    scan = Volume(array, affine)
    model = locator(spacing=spacing, least=0.2)
    heat = model.heat(scan)
    found = model.points(heat)
    (row,) = point_rows("a", found, AxialGrid.at(shape, affine))
    true = (affine @ torch.tensor([*place, 1], dtype=torch.float64)).numpy()[:3]
    apart = np.abs(np.array([row[f"{axis}_mm"] for axis in "xyz"]) - true)
    coarse = spacing is not None and spacing[0] > 2.5
    if coarse:  # within a voxel of what the network saw
        assert (apart <= [1.6, 2.4, 5.0]).all()
    else:
        assert apart.max() < 1e-3
        assert [row[axis] for axis in "xyz"] == [place[2], place[1], place[0]]
    assert heat.affine.shape == (4, 4)
    low, high = found.boxes[0, :3], found.boxes[0, 3:]
    assert (low < found.places[0]).all() and (high > found.places[0]).all()


def test_one_slice_and_volumes_smaller_than_a_window():
    array = torch.zeros(1, 1, 9, 10)
    array[0, 0, 4, 7] = 1000.0
    model = locator()
    found = model.points(model.heat(Volume(array, AFFINE)))
    # The file's rows run to the back and its columns to the left, as in the turned volume.
    assert found.places.tolist() == [[0, 4, 7]]


def test_points_within_the_window_in_millimetres_are_one():
    array = torch.zeros(1, 3, 9, 30)
    array[0, 1, 4, 5], array[0, 1, 4, 8], array[0, 1, 4, 20] = 1000.0, 900.0, 800.0
    for size, count in ((5.0, 2), (4.0, 3)):  # 2.5 mm and 2 mm around; the voxels are 2.4 mm apart
        model = locator(suppress=[5, size, size])
        assert len(model.points(model.heat(Volume(array, AFFINE))).scores) == count


def test_another_number_of_channels_is_told():
    with pytest.raises(InputError, match="the scan: has 2 channels, expected 1"):
        locator().heat(Volume(torch.zeros(2, 4, 5, 6), AFFINE))
