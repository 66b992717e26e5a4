import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, RandFlipd

from thirdaxis.data.grid import onto, to_grid
from thirdaxis.data.grid_transform import ToGridd
from thirdaxis.data.volume import Volume

OBLIQUE = np.array(
    [[-0.8, 0.3, 0.0, 5.0], [0.4, 1.1, 0.2, -9.0], [0.0, 0.1, 2.5, 30.0], [0, 0, 0, 1]]
)


@pytest.fixture
def scan():
    array = torch.randn(2, 9, 14, 12, generator=torch.manual_seed(0))
    return Volume(array, torch.from_numpy(OBLIQUE))


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 0.7, 1.9)])
def test_there_and_back_is_what_the_grid_does(scan, spacing):
    change = Compose(
        [RandFlipd("image", prob=1.0, spatial_axis=1), ToGridd("image", "SPL", spacing)]
    )
    image = MetaTensor(scan.array, affine=scan.affine, meta={"name": "scan"})
    moved = change({"image": image, "other": 3})
    flipped = change.transforms[0]({"image": image})["image"]
    before = Volume(flipped.as_tensor(), flipped.affine)
    expected = to_grid(before, "SPL", spacing, mode="bilinear")
    assert torch.equal(moved["image"].as_tensor(), expected.array) and moved["other"] == 3
    assert torch.equal(moved["image"].affine, expected.affine)
    assert moved["image"].meta["name"] == "scan"
    assert torch.equal(image.affine, scan.affine)  # what was given stays as it was
    back = change.inverse(moved)["image"]
    torch.testing.assert_close(back.affine, scan.affine)
    turned_back = onto(expected, before, mode="bilinear").array.flip(2)
    assert torch.equal(back.as_tensor(), turned_back)
    assert back.applied_operations == []
