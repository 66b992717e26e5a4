import gzip
import resource

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from scipy.spatial.transform import Rotation

from thirdaxis.data.volume import Volume, read_labels, read_volume, same_grid, write_labels
from thirdaxis.errors import InputError

RAS = np.diag([0.7, 0.8, 2.5, 1.0])
LPS = np.diag([-1.0, -1.0, 3.0, 1.0])
PERMUTED = np.array([[0, 0, 3.0, -4], [-1.5, 0, 0, 20], [0, 0.5, 0, 7], [0, 0, 0, 1]])
OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = Rotation.from_euler("xyz", [0.3, -0.2, 0.4]).as_matrix() * [0.7, 0.9, 5.0]
OBLIQUE[:3, 3] = [-91.25, 33.5, 12.125]
SHEARED = RAS.copy()
SHEARED[0, 2] = 0.6
AFFINES = {"ras": RAS, "lps": LPS, "permuted": PERMUTED, "oblique": OBLIQUE, "sheared": SHEARED}
UNSHEARED = ["ras", "lps", "permuted", "oblique"]


@pytest.fixture
def counted():
    """A (5, 4, 3) array, x first, of different values."""
    return np.arange(60, dtype=np.float32).reshape(5, 4, 3)


def save_nifti(path, array, affine):
    nib.Nifti1Image(array, affine).to_filename(path)
    return path


def save_itk(path, array_xyz, affine):
    """An ITK file with the same voxels at the same places as a NIfTI of this RAS affine."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(array_xyz.T))
    lps = np.diag([-1, -1, 1, 1]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    sitk.WriteImage(image, str(path))
    return path


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_each_nifti_voxel_keeps_value_and_place(tmp_path, counted, affine, ending):
    volume = read_volume(save_nifti(tmp_path / f"a{ending}", counted, affine))
    assert volume.array.shape == (1, 3, 4, 5)
    assert volume.array.dtype == torch.float32 and volume.affine.dtype == torch.float64
    for x, y, z in np.ndindex(counted.shape):
        assert volume.array[0, z, y, x] == counted[x, y, z]
        place = volume.affine.numpy() @ [z, y, x, 1]
        np.testing.assert_allclose(place, affine @ [x, y, z, 1], atol=1e-4)


@pytest.mark.parametrize("affine", [AFFINES[name] for name in UNSHEARED], ids=UNSHEARED)
@pytest.mark.parametrize("ending", [".mha", ".mhd", ".nrrd", ".nhdr"])
def test_itk_formats_agree_with_nifti(tmp_path, counted, affine, ending):
    nifti = read_volume(save_nifti(tmp_path / "a.nii.gz", counted, affine))
    other = read_volume(save_itk(tmp_path / f"a{ending}", counted, affine))
    assert torch.equal(nifti.array, other.array)
    torch.testing.assert_close(nifti.affine, other.affine, atol=1e-4, rtol=0)


def test_spacing_follows_the_array_axes(tmp_path, counted):
    volume = read_volume(save_nifti(tmp_path / "a.nii", counted, OBLIQUE))
    assert volume.spacing == pytest.approx((5.0, 0.9, 0.7), abs=1e-5)


def test_scale_factors_are_applied(tmp_path):
    image = nib.Nifti1Image(np.full((2, 2, 2), 7, np.int16), np.eye(4))
    image.header.set_slope_inter(2.0, -1024.0)
    image.to_filename(tmp_path / "ct.nii")
    # nibabel stores the scaled values rescaled, so write the raw ones by hand.
    raw = bytearray((tmp_path / "ct.nii").read_bytes())
    raw[-16:] = np.full(8, 7, "<i2").tobytes()
    raw[112:120] = np.array([2.0, -1024.0], "<f4").tobytes()
    (tmp_path / "ct.nii").write_bytes(raw)
    assert read_volume(tmp_path / "ct.nii").array.unique().tolist() == [-1010.0]


def test_a_big_endian_file_reads_the_same(tmp_path, counted):
    header = nib.Nifti1Header(endianness=">")
    nib.Nifti1Image(counted, RAS, header).to_filename(tmp_path / "a.nii")
    assert torch.equal(read_volume(tmp_path / "a.nii").array[0], torch.from_numpy(counted.T.copy()))


def test_the_fourth_axis_becomes_channels(tmp_path):
    array = np.random.default_rng(0).normal(size=(5, 4, 3, 2)).astype(np.float32)
    four = read_volume(save_nifti(tmp_path / "four.nii.gz", array, RAS))
    five = read_volume(save_nifti(tmp_path / "five.nii.gz", array[:, :, :, None], RAS))
    itk = sitk.GetImageFromArray(array.transpose(2, 1, 0, 3).copy(), isVector=True)
    sitk.WriteImage(itk, str(tmp_path / "vector.nrrd"))
    vector = read_volume(tmp_path / "vector.nrrd")
    for volume in (four, five, vector):
        assert volume.array.shape == (2, 3, 4, 5)
        np.testing.assert_array_equal(volume.array.numpy(), array.transpose(3, 2, 1, 0))


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
def test_label_maps_return_to_the_grid_they_came_from(tmp_path, counted, affine):
    scan = save_nifti(tmp_path / "scan.nii.gz", counted, affine)
    volume = read_volume(scan)
    write_labels(tmp_path / "out.nii.gz", volume.array[0].to(torch.int64), volume.affine)
    source, written = nib.load(scan), nib.load(tmp_path / "out.nii.gz")
    assert written.shape == source.shape
    np.testing.assert_allclose(written.affine, source.affine, atol=1e-6)
    np.testing.assert_array_equal(np.asanyarray(written.dataobj), counted)
    assert written.get_data_dtype() == np.uint8
    assert int(written.header["sform_code"]) == 1
    upright = affine is not SHEARED
    assert int(written.header["qform_code"]) == int(upright)
    if upright:
        np.testing.assert_allclose(written.header.get_qform(), source.affine, atol=1e-4)
    again = read_labels(tmp_path / "out.nii.gz")
    assert same_grid(again, volume) and again.array.dtype == torch.int16
    assert list(tmp_path.glob(".*")) == []


@pytest.mark.parametrize(
    ("top", "dtype"), [(1, np.uint8), (255, np.uint8), (256, np.uint16), (65536, np.uint32)]
)
def test_label_maps_take_the_smallest_type(tmp_path, top, dtype):
    labels = torch.zeros(2, 2, 2, dtype=torch.int64)
    labels[0, 0, 0] = top
    write_labels(tmp_path / "a.nii.gz", labels, torch.eye(4))
    image = nib.load(tmp_path / "a.nii.gz")
    assert image.get_data_dtype() == dtype
    assert np.asanyarray(image.dataobj).max() == top
    assert read_labels(tmp_path / "a.nii.gz").array.max() == top


@pytest.mark.parametrize(
    ("labels", "name", "message"),
    [
        (torch.zeros(1, 2, 2, 2, dtype=torch.int64), "a.nii.gz", r"\(D, H, W\)"),
        (torch.zeros(2, 2, 2), "a.nii.gz", "whole numbers"),
        (torch.full((2, 2, 2), -1), "a.nii.gz", "from -1 to -1"),
        (torch.zeros(2, 2, 2, dtype=torch.int64), "a.png", "'.png'"),
    ],
)
def test_unfit_labels_are_not_written(tmp_path, labels, name, message):
    with pytest.raises(InputError, match=message):
        write_labels(tmp_path / name, labels, torch.eye(4))
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_place_leaves_nothing(tmp_path, monkeypatch):
    labels = torch.zeros(2, 2, 2, dtype=torch.int64)
    with pytest.raises(OSError):
        write_labels(tmp_path / "nowhere" / "a.nii.gz", labels, torch.eye(4))

    def full(image, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(nib.Nifti1Image, "to_filename", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_labels(tmp_path / "a.nii.gz", labels, torch.eye(4))
    assert caught.value.filename == str(tmp_path / "a.nii.gz")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_grow_leaves_the_old_one(tmp_path):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(b"old")
    labels = torch.randint(0, 255, (40, 40, 40), generator=torch.Generator().manual_seed(0))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(OSError, match=r"a\.nii\.gz"):
            write_labels(path, labels, torch.eye(4))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == [path] and path.read_bytes() == b"old"


@pytest.mark.parametrize("ending", [".mhd", ".nhdr"])
@pytest.mark.parametrize("fault", ["missing", "short"])
def test_the_raw_file_beside_a_header_is_checked(tmp_path, counted, ending, fault):
    path = save_itk(tmp_path / f"a{ending}", counted, RAS)
    (raw,) = [file for file in tmp_path.iterdir() if file != path]
    if fault == "missing":
        raw.unlink()
    else:
        raw.write_bytes(raw.read_bytes()[:-50])
    with pytest.raises(InputError) as caught:
        read_volume(path)
    one_line_naming(caught, path)


def test_rounded_labels_are_whole_and_fractions_are_not(tmp_path):
    array = np.array([0, 0.9999, 2, 3], np.float32).reshape(2, 2, 1)
    labels = read_labels(save_nifti(tmp_path / "a.nii", array, RAS))
    assert labels.array.flatten().tolist() == [0, 2, 1, 3]
    array[0, 0, 0] = 0.5
    with pytest.raises(InputError, match=r"b\.nii: .*whole numbers, this file holds 0\.5"):
        read_labels(save_nifti(tmp_path / "b.nii", array, RAS))
    two = np.zeros((2, 2, 2, 2), np.uint8)
    with pytest.raises(InputError, match=r"c\.nii: a label map has one channel, this file has 2"):
        read_labels(save_nifti(tmp_path / "c.nii", two, RAS))


def one_line_naming(caught, path):
    text = str(caught.value)
    assert str(path) in text and "\n" not in text and len(text) < 500


@pytest.mark.parametrize("kept", [0, 100, 340, 400, -1])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".mha", ".nrrd"])
def test_truncated_files_are_named(tmp_path, ending, kept):
    array = np.random.default_rng(0).normal(size=(9, 8, 7)).astype(np.float32)
    path = tmp_path / f"a{ending}"
    save = save_nifti if "nii" in ending else save_itk
    whole = save(path, array, RAS).read_bytes()
    path.write_bytes(whole[: len(whole) // 2 if kept == -1 else kept])
    with pytest.raises(InputError) as caught:
        read_volume(path)
    one_line_naming(caught, path)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".nhdr", ".dcm"])
@pytest.mark.parametrize(
    "content",
    [b"", b"hello world\n" * 100, gzip.compress(b"\0" * 500, mtime=0)],
    ids=["empty", "text", "gzip"],
)
def test_files_of_something_else_are_named(tmp_path, ending, content):
    path = tmp_path / f"a{ending}"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_volume(path)
    one_line_naming(caught, path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="no such file") as caught:
        read_volume(tmp_path / "a.nii.gz")
    one_line_naming(caught, tmp_path / "a.nii.gz")


@pytest.mark.parametrize(("name", "guess"), [("a.ni", "'.nii'"), ("a.nrd", "'.nrrd'")])
def test_an_unknown_ending_gets_a_guess(tmp_path, name, guess):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(InputError, match=f"did you mean {guess}") as caught:
        read_volume(tmp_path / name)
    one_line_naming(caught, tmp_path / name)


@pytest.mark.parametrize("name", ["a.png", "a", "a.tar.gz"])
def test_other_endings_list_what_is_known(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(InputError, match=r"\.nii\.gz.*DICOM"):
        read_volume(tmp_path / name)


def test_two_axes_are_too_few(tmp_path):
    flat = np.zeros((5, 4), np.float32)
    with pytest.raises(InputError, match=r"expected 3 axes.*\(5, 4\)"):
        read_volume(save_nifti(tmp_path / "a.nii", flat, RAS))
    sitk.WriteImage(sitk.GetImageFromArray(flat.T.copy()), str(tmp_path / "a.mha"))
    with pytest.raises(InputError, match=r"expected 3 axes.*\(5, 4\)"):
        read_volume(tmp_path / "a.mha")


def test_colour_and_complex_voxels_are_refused(tmp_path):
    with pytest.raises(InputError, match="complex"):
        read_volume(save_nifti(tmp_path / "a.nii", np.zeros((2, 2, 2), np.complex64), RAS))
    colour = np.zeros((2, 2, 2), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    with pytest.raises(InputError, match="one number a voxel"):
        read_volume(save_nifti(tmp_path / "b.nii", colour, RAS))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_counted(tmp_path, counted, value):
    counted[1, 2, 0] = value
    with pytest.raises(InputError, match=r"a\.nii: 1 of 60 values"):
        read_volume(save_nifti(tmp_path / "a.nii", counted, RAS))
    with pytest.raises(InputError, match="whole numbers"):
        read_labels(tmp_path / "a.nii")


@pytest.mark.parametrize("column", [np.zeros(3), [0.7, 0, 0], [np.nan, 0, 1]])
def test_a_flat_affine_is_refused(tmp_path, counted, column):
    affine = RAS.copy()
    affine[:3, 2] = column
    image = nib.Nifti1Image(counted, RAS)
    image.header["sform_code"] = 1
    for row, name in enumerate(("srow_x", "srow_y", "srow_z")):
        image.header[name] = affine[row]
    path = tmp_path / "a.nii"
    image.to_filename(path)
    raw = bytearray(path.read_bytes())
    raw[280:328] = affine[:3].astype("<f4").tobytes()
    path.write_bytes(raw)
    with pytest.raises(InputError, match="cannot be inverted"):
        read_volume(path)


def test_same_grid_compares_corners_in_voxels():
    def volume(move=0.0, stretch=0.0, shape=(1, 4, 5, 6)):
        affine = torch.diag(torch.tensor([2.0, 0.5 + stretch, 1.0, 1.0]).double())
        affine[0, 3] = move
        return Volume(torch.zeros(shape), affine)

    assert same_grid(volume(), volume())
    assert same_grid(volume(), volume(move=0.02))
    assert same_grid(volume(), volume(shape=(3, 4, 5, 6)))
    assert not same_grid(volume(), volume(move=0.03))
    assert not same_grid(volume(), volume(stretch=0.01))
    assert not same_grid(volume(), volume(shape=(1, 4, 6, 5)))


def test_a_volume_has_four_axes():
    with pytest.raises(InputError, match=r"\(C, D, H, W\)"):
        Volume(torch.zeros(4, 5, 6), torch.eye(4))
    with pytest.raises(InputError, match=r"\(4, 4\)"):
        Volume(torch.zeros(1, 4, 5, 6), torch.eye(3))


def test_the_hippocampus_set_reads_as_it_is(shared_data):
    root = shared_data / "msd_hippocampus"
    path = sorted((root / "imagesTr").glob("[!.]*.nii.gz"))[0]
    volume, source = read_volume(path), nib.load(path)
    np.testing.assert_array_equal(volume.array[0].numpy().T, source.get_fdata(dtype=np.float32))
    assert volume.spacing == pytest.approx((1.0, 1.0, 1.0))
    assert same_grid(volume, read_labels(root / "labelsTr" / path.name))
