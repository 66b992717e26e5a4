import csv
import json

import nibabel
import numpy as np
import pytest
from PIL import Image

from thirdaxis.data.lesions.deeplesion import read_deeplesion
from thirdaxis.data.phantoms.sets import COLUMNS, phantom_note, write_phantoms
from thirdaxis.errors import InputError, UsageError

SERIES = 14


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("phantoms") / "deep" / "set"
    assert write_phantoms(place, SERIES, size=64, seed=3) == len(rows_of(place / "DL_info.csv"))
    return place


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def numbers(cell):
    return [float(value) for value in cell.split(",")]


def test_the_table_has_the_official_columns(shared_data):
    table = shared_data / "deeplesion" / "DL_info_test_split.csv"
    assert tuple(rows_of(table)[0]) == COLUMNS


def test_each_lesion_lies_on_a_stored_slice_of_16_bits(folder):
    rows = rows_of(folder / "DL_info.csv")
    series = {row["File_name"].rpartition("_")[0] for row in rows}
    assert tuple(rows[0]) == COLUMNS and len(series) == SERIES
    assert {path.name for path in (folder / "Images_png").iterdir()} == series
    for row in rows:
        name, _, key = row["File_name"].removesuffix(".png").rpartition("_")
        first, last = map(int, numbers(row["Slice_range"]))
        thickness = numbers(row["Spacing_mm_px_"])[2]
        stored = sorted(path.name for path in (folder / "Images_png" / name).iterdir())
        assert stored == [f"{number:03d}.png" for number in range(first, last + 1)]
        assert int(key) == int(row["Key_slice_index"]) == (first + last) / 2
        assert (last - int(key)) * thickness == 15 and thickness in (1, 5)
        patient, study, number = name.split("_")
        assert [int(row[c]) for c in ("Patient_index", "Study_index", "Series_ID")] == [
            *map(int, (patient, study, number))
        ]
    picture = Image.open(folder / "Images_png" / name / f"{key}.png")
    values = np.asarray(picture).astype(int) - 32768
    assert picture.mode.startswith("I;16") and values.shape == (64, 64)
    assert -960 < np.median(values) < -740


def test_lesions_are_bright_and_boxed_by_their_diameters_and_a_margin(folder):
    for row in rows_of(folder / "DL_info.csv"):
        ends = np.reshape(numbers(row["Measurement_coordinates"]), (4, 2))
        box = numbers(row["Bounding_boxes"])
        margin = 5 * 64 / 512
        assert box == pytest.approx([*ends.min(0) - margin, *ends.max(0) + margin], abs=1e-3)
        assert min(box) >= 1 and max(box) <= 64
        lengths = np.linalg.norm(ends[1::2] - ends[::2], axis=1)
        assert lengths == pytest.approx(numbers(row["Lesion_diameters_Pixel_"]), abs=1e-3)
        assert lengths[0] >= lengths[1] > 1
        name, _, key = row["File_name"].removesuffix(".png").rpartition("_")
        picture = Image.open(folder / "Images_png" / name / f"{key}.png")
        values = np.asarray(picture).astype(int) - 32768
        x, y = (round(value) - 1 for value in ends.mean(axis=0))  # counted from 1
        assert values[y, x] > -700
        where = numbers(row["Normalized_lesion_location"])
        assert where == pytest.approx([x / 64, y / 64, 0.5], abs=0.03)


def test_patients_are_in_one_part_and_parts_have_thin_and_thick_series(folder):
    rows = rows_of(folder / "DL_info.csv")
    parts, series = {}, {}
    for row in rows:
        parts.setdefault(row["Patient_index"], set()).add(row["Train_Val_Test"])
        key = row["Train_Val_Test"], row["File_name"].rpartition("_")[0]
        series[key] = numbers(row["Spacing_mm_px_"])[2]
    assert all(len(some) == 1 for some in parts.values())
    found = [next(iter(some)) for some in parts.values()]
    shares = [found.count(part) / len(found) for part in "123"]
    assert shares == pytest.approx([0.7, 0.15, 0.15], abs=0.08)
    thick = [[t for (part, _), t in series.items() if part == which] for which in "123"]
    for some in thick:
        assert abs(some.count(1.0) - some.count(5.0)) <= 1


def test_the_reader_of_deeplesion_reads_it(folder):
    lesions = read_deeplesion(folder)
    rows = rows_of(folder / "DL_info.csv")
    assert len(lesions.slices) == SERIES
    assert sum(len(one.boxes) for one in lesions.slices) == len(rows)
    assert {one.split for one in lesions.slices} == {"train", "val", "test"}
    for one in (next(o for o in lesions.slices if o.spacing[0] == t) for t in (1, 5)):
        series, key = one.name.split("/")
        stored = [
            np.asarray(Image.open(folder / "Images_png" / series / f"{int(key) + step:03d}.png"))
            for step in (-1, 0, 1, 2)
        ]
        below, middle, above, next_one = (picture.astype(float) - 32768 for picture in stored)
        # 2 mm off the key slice: two slices of 1 mm, or two fifths of the way to the next of 5 mm.
        wanted = next_one if one.spacing[0] == 1 else 0.6 * middle + 0.4 * above
        read = lesions.read(one, 3, 2.0)
        np.testing.assert_allclose(read[1:], [middle, wanted], atol=0.01)
        if one.spacing[0] == 5:
            np.testing.assert_allclose(lesions.read(one, 3, None), [below, middle, above])
        assert one.spacing[1:] == (1, 1) and one.size == (64, 64)


def test_things_are_told_with_the_lesions_among_them(folder):
    things = rows_of(folder / "things.csv")
    rows = rows_of(folder / "DL_info.csv")
    nodules = [one for one in things if one["kind"] == "nodule"]
    shared = ("File_name", "Measurement_coordinates", "Bounding_boxes")
    assert [[one[c] for c in shared] for one in nodules] == [
        [row[c] for c in shared] for row in rows
    ]
    assert len(things) - len(nodules) >= 6 * SERIES
    share = np.mean([one["covered"] == "1" for one in nodules])
    assert 0.2 < share < 0.8
    assert {one["covered"] for one in things if one["kind"] == "vessel"} == {"0"}


def test_one_seed_is_one_set(folder, tmp_path):
    for seed, same in ((3, True), (4, False)):
        write_phantoms(tmp_path / str(seed), SERIES, size=64, seed=seed)
        tables = [(place / "DL_info.csv").read_bytes() for place in (folder, tmp_path / str(seed))]
        assert (tables[0] == tables[1]) == same
    pictures = sorted(path.relative_to(folder) for path in folder.rglob("*.png"))
    assert all((folder / p).read_bytes() == (tmp_path / "3" / p).read_bytes() for p in pictures)


def test_a_set_says_what_it_is(folder, tmp_path):
    assert phantom_note(folder).startswith("Synthetic: ")
    assert phantom_note(folder) in (folder / "README.txt").read_text(encoding="utf-8")
    assert json.loads((folder / "phantoms.json").read_text(encoding="utf-8"))["seed"] == 3
    assert phantom_note(tmp_path) is None
    (tmp_path / "phantoms.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="phantoms.json: not what"):
        phantom_note(tmp_path)


def test_bad_words_and_full_folders_are_told_and_nothing_is_left(folder, tmp_path, monkeypatch):
    for words, told in (
        ({"series": 5}, "series=5"),
        ({"series": 6, "size": 100}, "size=100"),
        ({"series": 6, "size": 32}, "size=32"),
        ({"series": 6, "seed": -1}, "seed=-1"),
        ({"series": 6, "covered": 1.5}, "covered=1.5"),
    ):
        with pytest.raises(UsageError, match=told):
            write_phantoms(tmp_path / "out", **words)
    with pytest.raises(InputError, match="exists already"):
        write_phantoms(folder, 6)
    with pytest.raises(InputError, match=r"labels\.csv: no such table"):
        write_phantoms(tmp_path / "out", 6, nodules=tmp_path)

    def stops(every):
        yield every[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_phantoms(tmp_path / "out", 6, size=64, watch=stops)
    assert not [*tmp_path.iterdir()]


def nodule_folder(root, patients, half=3.0, slices=1.0):
    """Bright balls in crops, as `thirdaxis prepare lidc` leaves them."""
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    lines = ["file,patient_id"]
    affine = np.diag([0.7, 0.7, slices, 1.0])
    for number in range(patients):
        places = np.moveaxis(np.indices((40, 40, 20)), 0, -1) * np.diag(affine)[:3]
        inside = np.linalg.norm(places - places[20, 20, 10], axis=-1) < half
        scan = np.where(inside, 100 + number, -850).astype(np.int16)
        for folder, array in (("images", scan), ("masks", inside.astype(np.uint8))):
            nibabel.Nifti1Image(array, affine).to_filename(root / folder / f"{number}.nii.gz")
        lines.append(f"{number}.nii.gz,patient-{number}")
    (root / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


def test_real_nodules_make_a_semi_synthetic_set(tmp_path):
    out = tmp_path / "out"
    write_phantoms(out, 6, size=64, nodules=nodule_folder(tmp_path / "in", 3))
    assert phantom_note(out).startswith("Semi-synthetic: real lung nodules")
    assert "Semi-synthetic" in (out / "README.txt").read_text(encoding="utf-8")
    for thing in rows_of(out / "things.csv"):
        # Pixels and voxels are of 1 and 0.7 mm.
        assert numbers(thing["Lesion_diameters_Pixel_"])[0] == pytest.approx(6, abs=1.2)
        assert 500 < float(thing["contrast_hu"]) <= 953


def test_nodules_that_do_not_suit_are_told(tmp_path):
    with pytest.raises(InputError, match="2 patients cannot be dealt out to 3"):
        write_phantoms(tmp_path / "out", 6, nodules=nodule_folder(tmp_path / "two", 2))
    with pytest.raises(InputError, match="4 to 10 mm large"):
        write_phantoms(tmp_path / "out", 6, nodules=nodule_folder(tmp_path / "large", 3, 7.0))
    with pytest.raises(InputError, match="slices of 2 mm at most"):
        write_phantoms(tmp_path / "out", 6, nodules=nodule_folder(tmp_path / "coarse", 3, 3.0, 2.5))
    assert not (tmp_path / "out").exists()


def test_nodules_of_a_patient_are_in_one_part(shared_data):
    from thirdaxis.data.phantoms.nodules import by_patient, read_nodules

    samples = read_nodules(shared_data / "lidc_nodules")
    parts = by_patient(samples, (0.7, 0.15, 0.15), np.random.default_rng(0))
    patients = [{sample.patient for sample in part.samples} for part in parts]
    assert not (patients[0] & patients[1] or patients[0] & patients[2] or patients[1] & patients[2])
    total = sum(map(len, patients))
    assert total == len({sample.patient for sample in samples})
    assert [len(some) / total for some in patients] == pytest.approx([0.7, 0.15, 0.15], abs=0.01)
    assert sum(len(part.samples) for part in parts) == len(samples)
