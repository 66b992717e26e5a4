import math
import pickle

import numpy as np
import pytest
import torch

from thirdaxis.data.lesions.ct_png import write_ct_png
from thirdaxis.data.lesions.deeplesion import key_slices, read_deeplesion
from thirdaxis.data.lesions.deeplesion_table import read_lesion_table
from thirdaxis.errors import InputError, UsageError

HEADER = (
    "File_name,Measurement_coordinates,Bounding_boxes,Coarse_lesion_type,Possibly_noisy,"
    "Spacing_mm_px_,Image_size,Train_Val_Test"
)
RECIST = "10, 11, 20, 21, 12, 20, 18, 12"


def row(
    file, box="5, 6, 25, 26", noisy=0, spacing="0.5, 0.25, 5", size="40, 32", split=1, recist=RECIST
):
    return f'{file},"{recist}","{box}",3,{noisy},"{spacing}","{size}",{split}'


def hu_of(number):
    """A slice whose HU tell its number, and rows and columns apart."""
    rows, columns = np.mgrid[:32, :40]
    return (100 * number + rows - columns).astype(np.int16)


@pytest.fixture
def make(tmp_path):
    def written(rows, series=("000001_01_01",), numbers=range(5, 16), place="Images_png"):
        (tmp_path / "DL_info.csv").write_text("\n".join([HEADER, *rows, ""]), encoding="utf-8")
        for name in series:
            (tmp_path / place / name).mkdir(parents=True)
            for number in numbers:
                write_ct_png(tmp_path / place / name / f"{number:03d}.png", hu_of(number))
        return tmp_path

    return written


ROWS = [
    row("000001_01_01_010.png"),
    row("000002_03_04_009.png", split=2, spacing="0.5, 0.25, NaN"),
    row("000001_01_01_010.png", box="1, 1, 9, 8"),
    row("000001_01_01_011.png", noisy=1),
    row("000001_01_01_012.png", split=1, spacing="0.5, 0.25, 0", box="-3, 2, 44.5, 20"),
]
SERIES = ("000001_01_01", "000002_03_04")


def test_lesions_of_a_slice_are_grouped_and_counted_from_0(make):
    found = read_deeplesion(make(ROWS, SERIES))
    names = [one.name for one in found.slices]
    assert names == ["000001_01_01/010", "000002_03_04/009", "000001_01_01/012"]
    one = found.slices[0]
    torch.testing.assert_close(one.boxes, torch.tensor([[4.0, 5, 24, 25], [0, 0, 8, 7]]))
    assert one.recists is not None and one.recists[0].tolist() == [9, 10, 19, 20, 11, 19, 17, 11]
    assert one.patient == "000001" and one.size == (32, 40) and one.split == "train"
    assert one.kinds is not None and one.kinds.tolist() == [3, 3]
    assert one.spacing == (5.0, 0.25, 0.5)
    torch.testing.assert_close(
        one.diameters()[0], torch.tensor([math.hypot(5.0, 2.5), math.hypot(3.0, 2.0)])
    )
    assert math.isnan(found.slices[1].spacing[0]) and math.isnan(found.slices[2].spacing[0])
    assert found.slices[2].boxes.tolist() == [[0, 1, 39, 19]]  # cut at the image
    assert one.boxes.untyped_storage().nbytes() == 2 * 4 * 4  # not the whole table's


def test_a_split_is_read_alone(make):
    folder = make(ROWS, SERIES)
    assert [one.name for one in read_deeplesion(folder, "val").slices] == ["000002_03_04/009"]
    with pytest.raises(InputError, match="no lesion of the split 'test'"):
        read_deeplesion(folder, "test")
    with pytest.raises(UsageError, match="unknown split 'trian'; did you mean 'train'"):
        read_deeplesion(folder, "trian")


def test_stacks_are_interpolated_to_the_interval(make):
    found = read_deeplesion(make(ROWS, SERIES))
    stack = found.read(found.slices[0], 5, 2.0)
    assert stack.dtype == np.float32 and stack.shape == (5, 32, 40)
    # Slices of 5 mm: 2 mm are 0.4 slices.
    for place, level in enumerate(stack):
        np.testing.assert_allclose(level, hu_of(10) + 40.0 * (place - 2), atol=1e-3)
    native = found.read(found.slices[0], 3, None)
    np.testing.assert_array_equal(native, [hu_of(9), hu_of(10), hu_of(11)])
    np.testing.assert_array_equal(found.read(found.slices[0], 1, 2.0), [hu_of(10)])


def test_legacy_interpolates_as_the_first_codes(make):
    found = read_deeplesion(make(ROWS, SERIES), legacy=True)
    stack = found.read(found.slices[0], 7, 2.0)
    shifts = [-1.4, -0.4, -0.4, 0, 0.4, 0.4, 1.4]
    for level, shift in zip(stack, shifts, strict=True):
        np.testing.assert_allclose(level, hu_of(10) + 100.0 * shift, atol=1e-3)


def test_an_unknown_interval_repeats_the_key_slice_and_missing_slices_have_a_stand_in(make):
    found = read_deeplesion(make(ROWS, SERIES))
    np.testing.assert_array_equal(found.read(found.slices[1], 3, 2.0), [hu_of(9)] * 3)
    far = found.read(found.slices[0], 9, 10.0)  # slices 2, 4, 6 … 18, of which 5 to 15 are there
    numbers = [5, 5, 6, 8, 10, 12, 14, 15, 15]
    np.testing.assert_array_equal(far, [hu_of(number) for number in numbers])


@pytest.mark.parametrize(
    "place", ["Images_png/Images_png", "Images_png_01/Images_png", "Images_png_07"]
)
def test_archives_unpacked_in_each_others_folders_are_found(place, make):
    folder = make(ROWS, SERIES[:1], place=place)
    second = folder / "Images_png_56" / "Images_png" / SERIES[1]
    second.mkdir(parents=True)
    write_ct_png(second / "009.png", hu_of(9))
    found = read_deeplesion(folder)
    assert len(found.slices) == 3
    for one, number in zip(found.slices, (10, 9, 12), strict=True):
        np.testing.assert_array_equal(found.read(one, 1, None)[0], hu_of(number))


def test_a_worker_gets_the_reader_without_its_memory(make):
    found = read_deeplesion(make(ROWS, SERIES), kept=2)
    before = found.read(found.slices[0], 3, None)
    copy = pickle.loads(pickle.dumps(found))
    assert len(found.read._memory) == 2 and not copy.read._memory
    np.testing.assert_array_equal(copy.read(copy.slices[0], 3, None), before)
    for path in sorted((found.read.series["000001_01_01"]).glob("01[01].png")):
        path.unlink()
    found.read(found.slices[0], 1, None)  # from memory
    with pytest.raises(InputError, match="no such slice"):
        pickle.loads(pickle.dumps(copy)).read(copy.slices[0], 1, None)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (row("000001_01_01_010.png", box="9, 6, 3, 26"), r"line 4: the box is inverted or of zero"),
        (row("000001_01_01_010.png", box="41, 6, 49, 26"), "line 4: the box .* lies outside its"),
        (row("000001_01_01_010.png"), "line 4: the same lesion as in line 2; keep one"),
        (row("000001_01_01_099.png"), r"line 4: no image .*Images_png/000001_01_01/099\.png"),
        (row("000009_01_01_010.png"), r"line 4: no image .*000009_01_01/010\.png"),
    ],
)
def test_a_faulty_row_is_refused_or_left_out_and_told(bad, message, make):
    folder = make([*ROWS[:2], bad, *ROWS[2:]], SERIES)
    with pytest.raises(InputError, match=message) as told:
        read_deeplesion(folder)
    assert "\n" not in str(told.value)
    faults: list[str] = []
    assert len(read_deeplesion(folder, faults=faults).slices) == 3
    assert faults == [str(told.value)]


def test_several_faulty_rows_are_counted(make):
    folder = make([*ROWS, *[row(f"000001_01_01_09{digit}.png") for digit in range(4)]], SERIES)
    with pytest.raises(InputError, match=r"line 7: .*090\.png.* \(3 more rows have faults\)"):
        read_deeplesion(folder)


def test_a_noisy_row_may_be_faulty(make):
    read_deeplesion(make([*ROWS, row("000001_01_01_099.png", box="9, 9, 1, 1", noisy=1)], SERIES))


def test_slices_of_another_size_or_8_bits_are_refused(make):
    from PIL import Image

    folder = make(ROWS, SERIES)
    place = folder / "Images_png" / "000001_01_01"
    write_ct_png(place / "009.png", np.zeros((32, 32)))
    Image.new("L", (40, 32)).save(place / "011.png")
    found = read_deeplesion(folder)
    with pytest.raises(InputError, match=r"009\.png: is 32 x 32 pixels, the table says 40 x 32"):
        found.read(found.slices[0], 3, None)
    with pytest.raises(InputError, match=r"011\.png: has 8 bits"):
        found.read(found.slices[2], 3, None)


def test_an_even_depth_is_refused(make):
    found = read_deeplesion(make(ROWS, SERIES))
    with pytest.raises(UsageError, match="odd number of slices"):
        found.read(found.slices[0], 4, 2.0)


def test_a_missing_folder_is_told(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        read_deeplesion(tmp_path / "none")


def test_the_published_test_rows_make_their_key_slices(shared_data):
    pandas = pytest.importorskip("pandas")
    path = shared_data / "deeplesion" / "DL_info_test_split.csv"
    table = read_lesion_table(path)
    found = key_slices(table.rows(~table.noisy))
    told = pandas.read_csv(path)
    told = told[told.Possibly_noisy == 0]
    assert len(found) == told.File_name.nunique() == 4817
    assert sum(len(one.boxes) for one in found) == len(told) == 4912
    assert len({one.patient for one in found}) == told.Patient_index.nunique()
    thickness = told.groupby("File_name").Spacing_mm_px_.first().str.split(",").str[2].astype(float)
    assert sum(one.spacing[0] <= 2 for one in found) == (thickness <= 2).sum() == 2415
    assert sum(one.spacing[0] == 5 for one in found) == (thickness == 5).sum() == 2386
    assert [one.size for one in found if one.size != (512, 512)] == [(768, 768)]
    assert found[0].name == "000001_01_01/109" and found[0].split == "test"
    assert all((one.boxes[:, 2:] > one.boxes[:, :2]).all() for one in found)
    assert max(one.boxes.max().item() - one.size[1] + 1 for one in found) == 0  # one was cut
    diameters = torch.cat([one.diameters() for one in found])
    pixels = told.Lesion_diameters_Pixel_.str.split(",", expand=True).astype(float).to_numpy()
    spacing = told.Spacing_mm_px_.str.split(",").str[0].astype(float).to_numpy()[:, None]
    order = {name: place for place, name in enumerate(dict.fromkeys(told.File_name))}
    rows = np.argsort([order[name] for name in told.File_name], kind="stable")
    np.testing.assert_allclose(diameters, (pixels * spacing)[rows], rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("split", [None, "test"])
def test_the_published_test_rows_are_read_beside_images(split, shared_data, tmp_path):
    source = shared_data / "deeplesion" / "DL_info_test_split.csv"
    lines = source.read_text(encoding="utf-8").splitlines()[:41]
    (tmp_path / "DL_info.csv").write_text("\n".join(lines), encoding="utf-8")
    for line in lines[1:]:
        series, _, number = line.split(".png")[0].rpartition("_")
        folder = tmp_path / "Images_png" / series
        folder.mkdir(parents=True, exist_ok=True)
        side = 768 if '"768, 768"' in line else 512
        write_ct_png(folder / f"{number}.png", np.full((side, side), int(number)))
    found = read_deeplesion(tmp_path, split)
    assert sum(len(one.boxes) for one in found.slices) == 40
    for one in found.slices[::10]:
        np.testing.assert_allclose(found.read(one, 3, 2.0), int(one.name[-3:]), rtol=1e-6)
