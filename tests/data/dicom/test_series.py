import shutil

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from thirdaxis.data.dicom.series import find_series, read_dicom
from thirdaxis.data.volume import read_volume
from thirdaxis.errors import InputError

TURN = Rotation.from_euler("xyz", [0.4, -0.3, 0.2]).as_matrix()
ORIGIN = np.array([-31.5, 12.25, 70.0])
SPACING = (0.75, 0.5, 4.0)


def place(x, y, z):
    """LPS millimetres of a voxel, written out from the DICOM attributes."""
    return ORIGIN + TURN @ (np.array(SPACING) * [x, y, z])


def write_slice(path, pixels, z, uid="1.2.3.4", description="first", position=None, turn=TURN):
    """A CT slice (rows, columns) of stored int16, HU = stored - 1024."""
    image = sitk.GetImageFromArray(pixels[None].astype(np.int16))
    image.SetSpacing(SPACING)
    position = place(0, 0, z) if position is None else position
    tags = {
        "0008|0060": "CT",
        "0008|103e": description,
        "0020|000e": uid,
        "0020|000d": "1.2.3",
        "0008|0018": f"{uid}.{z + 1}",
        "0020|0013": str(100 - z),
        "0020|0032": "\\".join(f"{v:.8f}" for v in position),
        "0020|0037": "\\".join(f"{v:.8f}" for v in turn[:, :2].T.ravel()),
        "0028|1052": "-1024",
        "0028|1053": "1",
    }
    for key, value in tags.items():
        image.SetMetaData(key, value)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    writer.SetFileName(str(path))
    writer.Execute(image)


@pytest.fixture
def pixels():
    """Five slices of 4 rows and 6 columns, in HU."""
    return np.random.default_rng(0).integers(-1000, 1000, size=(5, 4, 6))


@pytest.fixture
def folder(tmp_path, pixels):
    # File names run against the slices, so that only the positions tell the order.
    for z, one in enumerate(pixels):
        write_slice(tmp_path / f"{9 - z}.dcm", one, z)
    return tmp_path


def test_an_oblique_series_lies_where_its_attributes_say(folder, pixels):
    volume = read_volume(folder)
    assert volume.array.shape == (1, 5, 4, 6)
    found = volume.affine.numpy() @ [0, 0, 0, 1]
    first = int(np.allclose(found[:3] * [-1, -1, 1], place(0, 0, 4), atol=1e-3)) * 4
    for d, h, w in np.ndindex(5, 4, 6):
        z = abs(first - d)
        assert volume.array[0, d, h, w] == pixels[z, h, w]
        expected = place(w, h, z) * [-1, -1, 1]
        np.testing.assert_allclose((volume.affine.numpy() @ [d, h, w, 1])[:3], expected, atol=1e-3)
    assert volume.spacing == pytest.approx((4.0, 0.5, 0.75), abs=1e-4)


def test_other_files_and_folders_are_passed_over(folder, capfd):
    expected = read_volume(folder)
    (folder / "notes.txt").write_text("not a scan")
    (folder / "DICOMDIR.bak").write_bytes(b"\0" * 1000)
    (folder / "sub").mkdir()
    found = read_volume(folder)
    assert found.array.equal(expected.array) and found.affine.equal(expected.affine)
    assert capfd.readouterr() == ("", "")


def test_two_series_are_named_and_one_can_be_chosen(folder, pixels):
    for z, one in enumerate(pixels[:3]):
        write_slice(folder / f"b{z}.dcm", one + 1, z, uid="1.2.3.5", description="second")
    with pytest.raises(InputError) as caught:
        read_volume(folder)
    text = str(caught.value)
    for part in ("1.2.3.4 (first, 5 files)", "1.2.3.5 (second, 3 files)", "folder", "series="):
        assert part in text
    assert "\n" not in text
    assert read_volume(folder, series="1.2.3.5").array.shape == (1, 3, 4, 6)
    assert read_volume(folder, series="1.2.3.4").array.shape == (1, 5, 4, 6)
    with pytest.raises(InputError, match=r"no series '1\.2'.*1\.2\.3\.4"):
        read_volume(folder, series="1.2")


@pytest.mark.parametrize("name", [None, "readme.txt"])
def test_a_folder_without_dicom_is_an_error(tmp_path, name, capfd):
    if name:
        (tmp_path / name).write_text("hello")
    with pytest.raises(InputError, match="no DICOM files"):
        read_volume(tmp_path)
    assert capfd.readouterr() == ("", "")


def test_a_tilted_gantry_keeps_its_shear(tmp_path, pixels):
    drift = np.array([0.3, -1.2, 0.4])
    for z, one in enumerate(pixels):
        write_slice(tmp_path / f"{z}.dcm", one, z, position=place(0, 0, z) + drift * z)
    volume = read_volume(tmp_path)
    for d in range(5):
        z = d if volume.array[0, 0].numpy()[0, 0] == pixels[0, 0, 0] else 4 - d
        np.testing.assert_array_equal(volume.array[0, d].numpy(), pixels[z])
        expected = (place(5, 3, z) + drift * z) * [-1, -1, 1]
        np.testing.assert_allclose((volume.affine.numpy() @ [d, 3, 5, 1])[:3], expected, atol=1e-3)


def test_each_slice_has_its_own_slope(folder, pixels):
    expected = read_volume(folder).array
    path = folder / "7.dcm"  # slice z = 2
    tag = b"\x28\x00\x53\x10\x02\x00\x00\x00"  # RescaleSlope of two characters
    data = path.read_bytes()
    assert tag + b"1 " in data
    path.write_bytes(data.replace(tag + b"1 ", tag + b".5"))
    found = read_volume(folder).array
    expected[0, 2] = (expected[0, 2] + 1024) / 2 - 1024
    assert (expected[0, 2] % 1).any()
    assert found.equal(expected)


def test_a_missing_slice_is_noticed(folder):
    (folder / "7.dcm").unlink()
    with pytest.raises(InputError, match=r"missing between 8.dcm and 6.dcm .*gaps of 4 to 8 mm"):
        read_volume(folder)


def test_doubled_slices_are_noticed(folder, pixels):
    write_slice(folder / "again.dcm", pixels[2] + 1, 2)
    with pytest.raises(InputError, match="doubled"):
        read_volume(folder)


def test_planes_that_are_not_parallel_are_noticed(folder, pixels):
    write_slice(folder / "4.dcm", pixels[0], 5, turn=np.eye(3))
    with pytest.raises(InputError, match=r"parallel|series"):
        read_volume(folder)


def test_a_truncated_slice_is_named(folder):
    path = folder / "7.dcm"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError) as caught:
        read_volume(folder)
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


def test_a_lone_slice_is_refused(folder, tmp_path):
    with pytest.raises(InputError, match="single DICOM slice"):
        read_volume(folder / "7.dcm")


def test_a_folder_of_one_slice_is_refused(tmp_path, pixels):
    write_slice(tmp_path / "a.dcm", pixels[0], 0)
    with pytest.raises(InputError, match="single DICOM slice"):
        read_volume(tmp_path)


def test_a_multi_frame_file_is_a_volume(tmp_path, pixels):
    image = sitk.GetImageFromArray(pixels.astype(np.uint16) % 256)
    sitk.WriteImage(image, str(tmp_path / "frames.dcm"))
    volume = read_volume(tmp_path / "frames.dcm")
    np.testing.assert_array_equal(volume.array[0].numpy(), pixels.astype(np.uint16) % 256)


@pytest.mark.parametrize("name", ["mr_hippocampus_crop", "mr_brain_flair_oblique"])
def test_real_series_lie_where_their_attributes_say(shared_data, name):
    folder = shared_data / "dicom" / name
    volume = read_volume(folder)
    slices = []
    for path in folder.glob("*.dcm"):
        image = sitk.ReadImage(str(path))
        position, rows, step = (
            [float(v) for v in image.GetMetaData(tag).split("\\")]
            for tag in ("0020|0032", "0020|0037", "0028|0030")
        )
        slices.append((np.array(position), np.array(rows), step, sitk.GetArrayFromImage(image)[0]))
    normal = np.cross(slices[0][1][:3], slices[0][1][3:])
    slices.sort(key=lambda one: one[0] @ normal)
    assert volume.array.shape == (1, len(slices), *slices[0][3].shape)
    if (volume.affine[:3, 0].numpy() * [-1, -1, 1]) @ normal < 0:
        slices.reverse()
    for d, (position, axes, (row_step, column_step), pixels) in enumerate(slices):
        np.testing.assert_array_equal(volume.array[0, d].numpy(), pixels)
        for h, w in [(0, 0), (3, 30), (17, 2)]:
            lps = position + axes[:3] * column_step * w + axes[3:] * row_step * h
            found = (volume.affine.numpy() @ [d, h, w, 1])[:3]
            np.testing.assert_allclose(found, lps * [-1, -1, 1], atol=0.02)


def test_two_real_series_in_one_folder_are_refused(shared_data, tmp_path):
    for name in ("mr_hippocampus_crop", "mr_brain_flair_oblique"):
        for path in (shared_data / "dicom" / name).glob("*.dcm"):
            shutil.copy(path, tmp_path / f"{name}-{path.name}")
    assert len(find_series(tmp_path)) == 2
    with pytest.raises(InputError, match="2 DICOM series"):
        read_dicom(tmp_path)
