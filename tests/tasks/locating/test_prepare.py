"""Boxes go with their volumes from grid to grid."""

import nibabel
import numpy as np
import pytest

from thirdaxis.data.lesions.volumes import connected_boxes
from thirdaxis.tasks.engine import no_watch
from thirdaxis.tasks.locating.plan import plan_of
from thirdaxis.tasks.locating.prepare import boxed_volumes, prepare
from thirdaxis.tasks.settings_files import make_settings


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("spacing", [None, [1.0, "own", 0.6], [4.0, 3.0, 2.4]])
def test_a_box_lies_around_its_lesion_in_what_the_network_sees(tmp_path, spacing, cached):
    """Resampled by whole shares of the first spacing, the lesion's voxels tell where it went."""
    array = np.zeros((20, 18, 12), np.float32)
    array[4:12, 6:14, 2:6] = 1
    affine = np.diag([1.2, -1.5, 2.0, 1.0])
    affine[:3, 3] = 5, -7, 11
    nibabel.save(nibabel.Nifti1Image(array, affine), tmp_path / "a.nii.gz")
    (tmp_path / "boxes.csv").write_text(
        "file,x1,y1,z1,x2,y2,z2\na.nii.gz,3.5,5.5,1.5,11.5,13.5,5.5\n", encoding="utf-8"
    )
    told = {"task": "locate", "data": str(tmp_path), "boxes": "boxes.csv", "spacing": spacing}
    cache = {"cache": str(tmp_path / "cache")} if cached else {}
    settings = make_settings(
        {**told, **cache, "network": "unet", "intensity": "window", "window": [0, 1]}, "test"
    )
    volumes = boxed_volumes(settings)
    for _ in range(1 + cached):
        (seen,) = prepare(volumes, settings, plan_of(settings, 1), no_watch, "")
        drawn = connected_boxes((seen.image[0] > 0.49).numpy())
        np.testing.assert_allclose(seen.boxes, drawn, atol=0.51)
    sizes = (seen.boxes[0, 3:] - seen.boxes[0, :3]) * seen.spacing
    np.testing.assert_allclose(sizes, [8, 12, 9.6], rtol=1e-6)
