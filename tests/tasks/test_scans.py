import shutil

import nibabel
import numpy as np
import pytest

from thirdaxis.errors import InputError, UsageError
from thirdaxis.tasks.scans import find_scans


def touch(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        nibabel.save(nibabel.Nifti1Image(np.zeros((2, 2, 2)), np.eye(4)), folder / "a.nii")
        shutil.move(folder / "a.nii", folder / name)


def test_a_file_is_one_scan_named_without_its_ending(tmp_path):
    touch(tmp_path, "head.v2_0000.nii.gz")
    (scan,) = find_scans(tmp_path / "head.v2_0000.nii.gz")
    assert (scan.name, scan.images, scan.label) == (
        "head.v2",
        (tmp_path / "head.v2_0000.nii.gz",),
        None,
    )


def test_a_folder_of_files_in_order_without_hidden_ones(tmp_path):
    touch(tmp_path, "b.nii.gz", "a.mha", "._a.mha", "c_001.nrrd")
    (tmp_path / "notes.pdf").touch()
    assert [scan.name for scan in find_scans(tmp_path)] == ["a", "b", "c_001"]


def test_channels_are_grouped_as_nnunet_names_them(tmp_path):
    touch(tmp_path, "x_0000.nii.gz", "x_0001.nii.gz", "y_0000.nii.gz", "y_0001.nii.gz")
    scans = find_scans(tmp_path, channels=2)
    assert [scan.name for scan in scans] == ["x", "y"]
    assert [path.name for path in scans[0].images] == ["x_0000.nii.gz", "x_0001.nii.gz"]
    (tmp_path / "y_0000.nii.gz").unlink()  # told when the scan is read, as one of many
    assert [len(scan.images) for scan in find_scans(tmp_path, channels=2)] == [2, 1]
    touch(tmp_path, "x_0002.nii.gz")
    with pytest.raises(InputError, match="'x' has 3 files, expected one for each of 2 channels"):
        find_scans(tmp_path, channels=2)


def test_two_scans_of_one_name_are_refused(tmp_path):
    touch(tmp_path, "a.mha", "b.mha")
    shutil.copy(tmp_path / "a.mha", tmp_path / "a_0000.mha")
    with pytest.raises(InputError, match="'a' has 2 files"):
        find_scans(tmp_path)


def test_series_folders_at_any_depth(tmp_path, shared_data):
    series = shared_data / "dicom" / "mr_hippocampus_crop"
    assert [(scan.name, scan.images) for scan in find_scans(series)] == [(series.name, (series,))]
    shutil.copytree(series, tmp_path / "patient" / "first")
    shutil.copytree(series, tmp_path / "patient" / "second")
    names = [scan.name for scan in find_scans(tmp_path)]
    assert names == ["patient-first", "patient-second"]
    touch(tmp_path, "patient-first.nii.gz")
    with pytest.raises(UsageError, match="both be written as patient-first"):
        find_scans(tmp_path)


def test_nothing_to_segment_is_said(tmp_path):
    with pytest.raises(InputError, match="no scans"):
        find_scans(tmp_path)
    with pytest.raises(InputError, match="no such file or folder"):
        find_scans(tmp_path / "none")
