import numpy as np
import pytest

from thirdaxis.data.lidc.crops import crop_affine, crop_image, crop_mask
from thirdaxis.data.lidc.nodules import Nodule

# Scans that run up and down, and one of a tilted gantry.
AFFINES = {
    "up": [[0, 0, -0.7], [0, -0.8, 0], [2.0, 0, 0]],
    "down": [[0, 0, -0.7], [0, -0.8, 0], [-2.0, 0, 0]],
    "tilted": [[0, 0, -0.7], [0.5, -0.8, 0], [2.0, 0, 0]],
}


def nodule(corner, mask):
    return Nodule((), corner, mask, {}, 3.0, 5.0, 0.0)


@pytest.mark.parametrize("name", AFFINES)
def test_a_crop_samples_the_patient_where_it_says(name):
    affine = np.eye(4)
    affine[:3, :3] = AFFINES[name]
    affine[:3, 3] = (40.0, 30.0, -100.0)
    shape = (60, 70, 80)
    places = np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
    slope = np.array([3.0, -2.0, 1.5])
    scan = (places @ slope).astype(np.float32)  # cubic splines keep a slope exactly
    corner, mask = (28, 33, 38), np.zeros((3, 5, 5), bool)
    mask[1, 2, 2] = mask[1, 1, 2] = mask[0, 2, 2] = True
    one = nodule(corner, mask)
    grid = crop_affine(one, affine, 20)
    centre = grid @ [10, 10, 10, 1]
    np.testing.assert_allclose(centre, affine @ [29, 35, 40, 1])
    np.testing.assert_allclose(grid[:3, :3], [[0, 0, -1], [0, -1, 0], [1, 0, 0]])
    cropped = np.moveaxis(np.indices((20, 20, 20)), 0, -1) @ grid[:3, :3].T + grid[:3, 3]
    np.testing.assert_allclose(crop_image(scan, affine, grid, 20), cropped @ slope, atol=0.51)


def test_beyond_the_scan_its_border_goes_on_and_hounsfield_units_are_cut():
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    scan = np.full((6, 6, 6), 3000.0, np.float32)
    scan[:, :, :3] = -3000  # towards the feet: the scan's last axis runs up
    grid = crop_affine(nodule((2, 2, 2), np.ones((1, 1, 1), bool)), affine, 40)
    crop = crop_image(scan, affine, grid, 40)
    assert crop.shape == (40, 40, 40) and set(np.unique(crop)) == {-1024, 400}
    np.testing.assert_array_equal(crop, np.broadcast_to(crop[:, :1, :1], crop.shape))


def test_a_mask_is_closed_and_a_nodule_of_one_thin_slice_is_kept():
    affine = np.eye(4)
    affine[:3, :3] = AFFINES["up"]
    affine[:3, :3] *= 0.3
    one = nodule((10, 11, 12), np.ones((1, 9, 9), bool))
    grid = crop_affine(one, affine, 12)
    mask = crop_mask(one, affine, grid, 12)
    assert mask.dtype == np.uint8 and mask[6].any() and not mask[5].any() and not mask[7].any()
    hollow = np.ones((7, 7, 7), bool)
    hollow[3, 3, 3] = False
    hole = nodule((5, 5, 5), hollow)
    straight = np.array([[0, 0, -1, 0], [0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])
    found = crop_mask(hole, straight, crop_affine(hole, straight, 16), 16)
    assert found.sum() == 343
