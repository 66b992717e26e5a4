import pickle
from itertools import permutations

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thirdaxis.data.lesions.axial import AxialGrid, VolumeSlices
from thirdaxis.data.lesions.key_slice import KeySlice
from thirdaxis.errors import InputError

SHAPE = (9, 8, 7)  # x, y, z
SPACING = np.array([0.5, 0.75, 3.0])


def turned_file(path, array, order, flips):
    """Writes an RAS array with its axes in another order and direction; gives the affine."""
    affine = np.diag([*SPACING, 1.0])
    affine[:3, 3] = (-20, 30, 100)
    ornt = np.array([[order.index(axis), -1 if flips[axis] else 1] for axis in range(3)], float)
    image = nibabel.Nifti1Image(array, affine).as_reoriented(ornt)
    nibabel.save(image, path)
    return np.asarray(image.dataobj), image.affine


@st.composite
def boxes(draw):
    ends = [sorted(draw(st.lists(st.integers(0, n - 1), min_size=2, max_size=2))) for n in SHAPE]
    return np.array(ends).T


@given(
    box=boxes(),
    order=st.sampled_from(list(permutations(range(3)))),
    flips=st.tuples(*[st.booleans()] * 3),
)
def test_a_box_is_found_again_whatever_way_the_file_runs(tmp_path_factory, box, order, flips):
    path = tmp_path_factory.getbasetemp() / "turned.nii"
    array = np.zeros(SHAPE, np.int16)
    array[tuple(slice(low, high + 1) for low, high in box.T)] = 1
    stored, affine = turned_file(path, array, order, flips)
    inside = np.argwhere(stored)
    low, high = inside.min(axis=0), inside.max(axis=0)
    grid = AxialGrid.of(path)
    assert grid.shape == SHAPE[::-1]
    np.testing.assert_allclose(grid.spacing, SPACING[::-1])
    # Seen as radiologists do: columns run to the patient's left, rows to the back, slices up.
    (x1, y1, z1), (x2, y2, z2) = box
    expected = (
        [z1, SHAPE[1] - 1 - y2, SHAPE[0] - 1 - x2],
        [z2, SHAPE[1] - 1 - y1, SHAPE[0] - 1 - x1],
    )
    np.testing.assert_allclose(grid.extent(low, high, mm=False), expected)
    ends = nibabel.affines.apply_affine(affine, [low, high])
    np.testing.assert_allclose(
        grid.extent(ends.min(axis=0), ends.max(axis=0), mm=True), expected, atol=1e-5
    )
    # And the slices that are read show it there, out of the file or out of the whole scan.
    packed = path.with_suffix(".nii.gz")
    nibabel.save(nibabel.Nifti1Image(stored, affine), packed)
    for scan in (path, packed):
        key = KeySlice(f"a/{z1:03d}", "a", None, grid.shape[1:], grid.spacing)
        stack = VolumeSlices({"a": scan})(key, 3, None)
        shown = np.argwhere(stack[1])
        found = [shown.min(axis=0), shown.max(axis=0)]
        np.testing.assert_array_equal(found, np.array(expected)[:, 1:])
        assert stack[2].any() == (z2 > z1 or z1 == SHAPE[2] - 1)


def test_a_box_in_mm_on_an_oblique_scan_is_held_whole(tmp_path):
    angle = 0.2
    affine = np.eye(4)
    affine[:3, :3] = [
        [np.cos(angle), -np.sin(angle), 0],
        [np.sin(angle), np.cos(angle), 0],
        [0, 0, 2],
    ]
    nibabel.save(nibabel.Nifti1Image(np.zeros((30, 30, 5), np.int16), affine), tmp_path / "a.nii")
    low, high = AxialGrid.of(tmp_path / "a.nii").extent((0, 10, 2), (5, 14, 4), mm=True)
    np.testing.assert_allclose([low[0], high[0]], [1, 2])
    wide = 5 * np.cos(angle) + 4 * np.sin(angle)
    tall = 5 * np.sin(angle) + 4 * np.cos(angle)
    np.testing.assert_allclose(high[1:] - low[1:], [tall, wide], atol=1e-5)


@pytest.fixture
def ramp(tmp_path):
    """A scan of slices 3 mm apart, each 30 HU above the last."""
    array = np.zeros(SHAPE, np.int16) + 30 * np.arange(7, dtype=np.int16)
    turned_file(tmp_path / "a.nii.gz", array, (0, 1, 2), (False, False, False))
    return tmp_path / "a.nii.gz"


def test_stacks_are_interpolated_and_end_with_the_scan(ramp):
    reader = VolumeSlices({"a": ramp})
    key = KeySlice("a/005", "a", None, (8, 9), (3.0, 0.75, 0.5))
    found = reader(key, 5, 2.0)
    assert found.dtype == np.float32 and found.shape == (5, 8, 9)
    # 4 mm above slice 5 lies between slice 6, the last, and 7, for which it stands in.
    np.testing.assert_allclose(found[:, 0, 0], [110, 130, 150, 170, 180], atol=1e-4)
    np.testing.assert_array_equal(reader(key, 3, None)[:, 2, 3], [120, 150, 180])


def test_scans_are_kept_and_not_sent_to_workers(ramp):
    reader = VolumeSlices({"a": ramp, "b": ramp, "c": ramp}, kept=2)
    for name in "abc":
        reader(KeySlice(f"{name}/001", "a", None, (8, 9), (3.0, 0.75, 0.5)), 1, None)
    assert list(reader._memory) == ["b", "c"]
    assert reader._memory["c"].dtype == np.int16
    assert not pickle.loads(pickle.dumps(reader))._memory


def test_another_scan_than_was_told_is_refused(ramp):
    key = KeySlice("a/005", "a", None, (9, 8), (3.0, 0.75, 0.5))
    with pytest.raises(InputError, match=r"is \(7, 8, 9\) now, it was another scan"):
        VolumeSlices({"a": ramp})(key, 1, None)


def test_an_unpacked_scan_is_read_slice_by_slice(tmp_path):
    array = np.random.default_rng(0).normal(0, 100, SHAPE)
    image = nibabel.Nifti1Image(array, np.eye(4))
    image.set_data_dtype(np.int16)  # stored with a slope
    nibabel.save(image, tmp_path / "a.nii")
    reader, key = (
        VolumeSlices({"a": tmp_path / "a.nii"}),
        KeySlice("a/003", "a", None, (8, 9), (1,) * 3),
    )
    stack = reader(key, 3, 1.0)
    np.testing.assert_allclose(stack, array[::-1, ::-1, 2:5].transpose(2, 1, 0), atol=0.01)
    size = (tmp_path / "a.nii").stat().st_size
    with (tmp_path / "a.nii").open("r+b") as file:
        file.truncate(size - 8 * 9 * 2 * 4)  # the last four slices
    with pytest.raises(InputError, match=r"a\.nii: damaged NIfTI"):
        reader(key, 3, 1.0)
    array[0, 0, 4] = np.nan
    nibabel.save(nibabel.Nifti1Image(array.astype(np.float32), np.eye(4)), tmp_path / "b.nii")
    key = KeySlice("b/003", "b", None, (8, 9), (1.0, 1, 1))
    with pytest.raises(InputError, match=r"b\.nii: slice 4 has values that are NaN"):
        VolumeSlices({"b": tmp_path / "b.nii"})(key, 3, 1.0)


def test_a_scan_without_spacing_is_refused(tmp_path):
    image = nibabel.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4))
    nibabel.save(image, tmp_path / "a.nii")
    raw = bytearray((tmp_path / "a.nii").read_bytes())
    raw[280:328] = np.diag([1, 1, 0, 1])[:3].astype("<f4").tobytes()  # the rows of the affine
    (tmp_path / "a.nii").write_bytes(raw)
    with pytest.raises(InputError, match="its affine cannot be inverted"):
        AxialGrid.of(tmp_path / "a.nii")


def test_a_scan_of_several_channels_is_refused(tmp_path):
    image = nibabel.Nifti1Image(np.zeros((4, 4, 4, 2), np.int16), np.eye(4))
    nibabel.save(image, tmp_path / "a.nii")
    key = KeySlice("a/001", "a", None, (4, 4), (1.0, 1, 1))
    with pytest.raises(InputError, match="has 2 channels, a CT has one"):
        VolumeSlices({"a": tmp_path / "a.nii"})(key, 1, None)
