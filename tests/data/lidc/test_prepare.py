import csv
import json
import shutil

import nibabel
import numpy as np
import pytest

from thirdaxis.data.lidc.prepare import COLUMNS, prepare_lidc
from thirdaxis.data.volume import read_labels, read_volume, same_grid
from thirdaxis.errors import InputError, UsageError

SERIES = "1.3.6.1.4.1.14519.5.2.1.6279.6001.10001"
RATINGS = [[5, 4, 4, 5], [2, 1, None, 2]]


@pytest.fixture(scope="module")
def patient(tmp_path_factory, make_lidc):
    return make_lidc(tmp_path_factory.mktemp("lidc"), SERIES, "LIDC-IDRI-0001", RATINGS)


@pytest.fixture(scope="module")
def root(patient):
    return patient.folder.parents[2]


@pytest.fixture(scope="module")
def out(tmp_path_factory, root):
    place = tmp_path_factory.mktemp("prepared")
    told = prepare_lidc(root, place, side=58)
    assert (told.nodules, told.small, told.non_nodules, told.without_mask) == (2, 1, 1, 0)
    assert (told.made, told.kept, told.without_images, told.faults) == (1, 0, 0, [])
    return place


def table(out):
    with (out / "labels.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def agreed(patient, number):
    """Voxels at least half of a nodule's readers call nodule, by the balls they drew."""
    readers = [r for r, malignancy in enumerate(RATINGS[number]) if malignancy is not None]
    votes = sum(patient.reading(reader, number).astype(int) for reader in readers)
    return votes >= len(readers) / 2


def test_the_table_says_what_the_readers_said(out, patient, shared_data):
    rows = table(out)
    with (shared_data / "lidc_nodules" / "labels.csv").open(encoding="utf-8", newline="") as file:
        assert tuple(next(csv.reader(file))) == COLUMNS == tuple(rows[0])
    voxel = np.prod(patient.spacing)
    for number, row in enumerate(rows):
        assert row["file"] == f"LIDC-IDRI-0001_10001_{number + 1}.nii.gz"
        assert row["patient_id"] == "LIDC-IDRI-0001" and row["nodule_id"] == str(number + 1)
        assert (row["texture"], row["calcification"]) == ("5", "6")
        assert row["spiculation"] == str(1 + number)
        assert float(row["volume_mm3"]) == pytest.approx(
            agreed(patient, number).sum() * voxel, abs=0.1
        )
    assert [row["malignancy"] for row in rows] == ["4", "2"]  # of 4 and 5 the lower; 2, 1, 2
    assert [row["diagnosis"] for row in rows] == ["1", "0"]
    assert float(rows[0]["diameter_mm"]) == pytest.approx(14.0, abs=0.75)
    assert float(rows[1]["diameter_mm"]) == pytest.approx(2 * (5 - 0.2 / 3), abs=0.75)


def test_the_crops_show_the_balls_where_they_are(out, patient):
    for number, row in enumerate(table(out)):
        image, mask = (
            read_volume(out / "images" / row["file"]),
            read_labels(out / "masks" / row["file"]),
        )
        assert same_grid(image, mask) and image.shape == (58, 58, 58)
        assert image.spacing == pytest.approx((1.0, 1.0, 1.0))
        stored = np.asarray(nibabel.load(out / "images" / row["file"]).dataobj)
        assert stored.dtype == np.int16 and stored.min() >= -1024 and stored.max() <= 400
        centre, radius = patient.balls[number]
        z, y, x = np.array(centre) + patient.origin[::-1]  # LPS mm
        grid = np.moveaxis(np.indices(image.shape), 0, -1).reshape(-1, 3)
        places = grid @ image.affine[:3, :3].numpy().T + image.affine[:3, 3].numpy()
        far = np.linalg.norm(places - [-x, -y, z], axis=1)
        hu, inside = image.array.reshape(-1).numpy(), mask.array.reshape(-1).numpy() == 1
        # Cubic splines overshoot near the ball's edge.
        np.testing.assert_allclose(hu[far < radius - 3], 60, atol=60)
        np.testing.assert_allclose(hu[(far > radius + 3) & (far < radius + 12)], -850, atol=40)
        truth = far < radius + (0.2, -0.2)[number]
        if number == 1:
            truth &= far > patient.hole[1]
        dice = 2 * (inside & truth).sum() / (inside.sum() + truth.sum())
        assert dice > 0.9
        assert np.linalg.norm((places[inside].mean(0)) - [-x, -y, z]) < 0.5


def test_the_median_may_be_asked_for(tmp_path, make_lidc):
    make_lidc(tmp_path / "in", SERIES, "P", [[1, 1, 4, 5], [1, 3, 3, 3]])
    prepare_lidc(tmp_path / "in", tmp_path / "mode", side=58)
    prepare_lidc(tmp_path / "in", tmp_path / "median", side=58, rule="median")
    assert [row["diagnosis"] for row in table(tmp_path / "mode")] == ["0", "0"]
    ratings = [[row["malignancy"] for row in table(tmp_path / rule)] for rule in ("mode", "median")]
    assert ratings == [["1", "3"], ["1", "3"]]
    make_lidc(tmp_path / "other", SERIES, "P", [[1, 1, 2, 3], [2, 3, 4, 4]])
    prepare_lidc(tmp_path / "other", tmp_path / "median2", side=58, rule="median")
    assert [row["malignancy"] for row in table(tmp_path / "median2")] == ["1", "3"]
    # Above 3 in the mean, 3.25, though the lower middle is 3.
    assert [row["diagnosis"] for row in table(tmp_path / "median2")] == ["0", "1"]


def test_finished_series_are_left_alone_and_one_bad_series_stops_no_other(
    tmp_path, make_lidc, patient, root
):
    shutil.copytree(root, tmp_path / "in")
    bad = make_lidc(tmp_path / "in", f"{SERIES}.2", "LIDC-IDRI-0002", RATINGS)
    kept = (bad.folder / "1-040.dcm").read_bytes()
    (bad.folder / "1-040.dcm").unlink()
    lost = make_lidc(tmp_path / "in", f"{SERIES}.3", "LIDC-IDRI-0003", RATINGS)
    shutil.rmtree(lost.folder)
    lost.folder.mkdir()
    (lost.folder / "1.xml").write_text("<LidcReadMessage>", encoding="utf-8")
    told = prepare_lidc(tmp_path / "in", tmp_path / "out", side=58)
    assert (told.nodules, told.made, told.kept) == (2, 1, 0)
    assert len(told.faults) == 2
    assert "1.xml: damaged or unsafe XML" in told.faults[0]
    assert "a slice is missing between 1-041.dcm and 1-039.dcm" in told.faults[1]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "images").iterdir()}
    (lost.folder / "1.xml").unlink()
    (bad.folder / "1-040.dcm").write_bytes(kept)
    told = prepare_lidc(tmp_path / "in", tmp_path / "out", side=58)
    assert (told.nodules, told.made, told.kept, told.faults) == (4, 1, 1, [])
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert len(table(tmp_path / "out")) == 4
    told = prepare_lidc(tmp_path / "in", tmp_path / "out", side=60)
    assert (told.made, told.kept) == (2, 0)
    record = json.loads((tmp_path / "out" / "series" / f"{SERIES}.json").read_text())
    assert record["settings"] == {"side": 60, "rule": "mode"}
    assert list((tmp_path / "out").rglob(".*")) == []


def test_marks_that_cannot_be_placed_are_named(tmp_path, root, patient):
    def spoiled(name, old, new):
        shutil.copytree(root, tmp_path / name)
        (path,) = (tmp_path / name).rglob("*.xml")
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")
        return prepare_lidc(tmp_path / name, tmp_path / f"{name}-out", side=58)

    uid = f"{patient.uid(10)}</imageSOP_UID>"
    told = spoiled("strange slice", uid, "1.2.3</imageSOP_UID>")
    assert len(told.faults) == 1 and "slice 1.2.3, not in the series" in told.faults[0]
    told = spoiled("outside", "<xCoord>20</xCoord>", "<xCoord>64</xCoord>")
    assert "leaves the 72 x 64 pixels" in told.faults[0]
    told = spoiled("by height", uid, "</imageSOP_UID>")
    assert told.faults == [] and told.nodules == 2
    told = spoiled("other series", SERIES, "1.2.3")
    assert "no XML file names this series" in told.faults[0] and told.without_images == 1
    for one in tmp_path.iterdir():
        images = list((one / "images").glob("*")) if "out" in one.name else []
        assert len(images) == (2 if one.name == "by height-out" else 0)


def test_two_files_that_disagree_about_a_series_are_named(tmp_path, root):
    shutil.copytree(root, tmp_path / "in")
    (path,) = (tmp_path / "in").rglob("*.xml")
    shutil.copy(path, tmp_path / "in" / "again.xml")
    assert prepare_lidc(tmp_path / "in", tmp_path / "out", side=58).faults == []
    text = path.read_text(encoding="utf-8").replace("<malignancy>5", "<malignancy>4")
    (tmp_path / "in" / "again.xml").write_text(text, encoding="utf-8")
    (fault,) = prepare_lidc(tmp_path / "in", tmp_path / "out2", side=58).faults
    assert "says other than" in fault and "again.xml" in fault


def test_unfit_folders_and_settings_are_named(tmp_path, root):
    with pytest.raises(UsageError, match="58 voxels a side or more, not 48"):
        prepare_lidc(root, tmp_path / "out", side=48)
    with pytest.raises(UsageError, match="did you mean 'median'"):
        prepare_lidc(root, tmp_path / "out", rule="medain")
    with pytest.raises(InputError, match="no such folder"):
        prepare_lidc(tmp_path / "none", tmp_path / "out")
    with pytest.raises(InputError, match="no readable XML file of LIDC-IDRI"):
        prepare_lidc(tmp_path, tmp_path / "out")
    (path,) = root.rglob("*.xml")
    (tmp_path / "xml").mkdir()
    shutil.copy(path, tmp_path / "xml")
    with pytest.raises(InputError, match="no CT series"):
        prepare_lidc(tmp_path / "xml", tmp_path / "out")
    assert not (tmp_path / "out").exists()
