import csv
import json
import math
import shutil

import nibabel
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from thirdaxis.errors import InputError
from thirdaxis.tasks.segment import evaluate

AFFINE = np.diag([-2.0, 1.0, 3.0, 1.0])


def save(folder, name, array, affine=AFFINE):
    folder.mkdir(exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array.astype(np.uint8), affine), folder / f"{name}.nii.gz")


@pytest.fixture
def maps(tmp_path):
    """Two cases; label 2 is in the truth of `b` alone, label 3 nowhere in `a`."""
    truth_a, found_a, truth_b, found_b = (np.zeros((8, 8, 6)) for _ in range(4))
    truth_a[1:5, 1:5, 1:5], found_a[2:6, 1:5, 1:5] = 1, 1
    truth_b[1:3, 1:3, 1:3], found_b[1:3, 1:3, 1:3] = 1, 1
    truth_b[5:7, 5:7, 3:5] = 2
    truth_b[5:7, 1:3, 3:5], found_b[5:7, 1:3, 3:5] = 3, 3
    for name, truth, found in (("a", truth_a, found_a), ("b", truth_b, found_b)):
        save(tmp_path / "truth", name, truth)
        save(tmp_path / "found", name, found)
    return tmp_path / "found", tmp_path / "truth"


def test_scores_against_written_out_values(maps):
    scores = evaluate(*maps)
    a, b = scores.rows
    assert a.dice[1] == pytest.approx(2 * 48 / 128)
    assert math.isnan(a.dice[2]) and math.isnan(a.dice[3])
    assert b.dice == {1: 1.0, 2: 0.0, 3: 1.0}
    assert scores.global_dice[1] == pytest.approx(2 * (48 + 8) / (128 + 16))
    assert b.hd95_mm[2] == math.inf and b.hd95_mm[3] == 0
    # A box moved by one voxel of 2 mm along x: distances between its surfaces, in mm.
    solid = np.argwhere(np.ones((4, 4, 4)))
    skin = solid[((solid == 0) | (solid == 3)).any(1)] * (2.0, 1.0, 3.0)
    away = cdist(skin, np.add(skin, (2.0, 0, 0)))
    expected = max(np.percentile(away.min(0), 95), np.percentile(away.min(1), 95))
    assert a.hd95_mm[1] == pytest.approx(expected)
    table = scores.summary()
    assert table["1"]["dice_mean"] == pytest.approx((0.75 + 1) / 2)
    assert table["2"]["dice_mean"] == 0 and table["2"]["hd95_infinite"] == 1
    assert table["mean"]["dice_mean"] == pytest.approx((0.875 + 0 + 1) / 3)


def test_csv_and_json_say_the_same(maps, tmp_path):
    scores = evaluate(*maps, tmp_path / "out" / "deep")
    with (tmp_path / "out" / "deep" / "scores.csv").open() as stream:
        rows = {row["case"]: row for row in csv.DictReader(stream)}
    told = json.loads((tmp_path / "out" / "deep" / "scores.json").read_text(encoding="utf-8"))
    assert float(rows["a"]["dice 1"]) == scores.rows[0].dice[1] == told["cases"][0]["dice"]["1"]
    assert rows["b"]["hd95_mm 2"] == "inf" == told["cases"][1]["hd95_mm"]["2"]
    assert not (maps[0] / "scores.csv").exists()


def test_names_of_labels_come_from_the_data_set(phantom_run, tmp_path):
    data = phantom_run.parent / "data"
    shutil.copytree(data / "labelsTr", tmp_path / "found")
    for against in (data, data / "labelsTr"):
        scores = evaluate(tmp_path / "found", against)
        assert scores.labels == {1: "bright", 2: "dark"}
        assert scores.summary()["mean"]["dice_mean"] == 1
    (tmp_path / "found" / "phantom_000.nii.gz").unlink()
    assert evaluate(tmp_path / "found", data).unpredicted == 1


def test_against_a_run_every_held_out_case_counts(phantom_run, tmp_path):
    names = json.loads((phantom_run / "split.json").read_text(encoding="utf-8"))["validation"]
    for name in names:
        source = phantom_run / "validation" / f"{name}.nii.gz"
        (tmp_path / "found").mkdir(exist_ok=True)
        shutil.copy(source, tmp_path / "found")
    assert [row.name for row in evaluate(tmp_path / "found", phantom_run).rows] == names
    (tmp_path / "found" / f"{names[0]}.nii.gz").unlink()
    with pytest.raises(InputError, match="1 of the 2 held-out cases have no prediction"):
        evaluate(tmp_path / "found", phantom_run)


def test_what_cannot_be_scored_is_one_line(maps, tmp_path):
    found, truth = maps
    save(found, "stranger", np.ones((8, 8, 6)))
    with pytest.raises(InputError, match=r"stranger.*has no label map of this name"):
        evaluate(found, truth)
    (found / "stranger.nii.gz").unlink()
    save(found, "a", np.ones((8, 8, 6)), np.diag([-2.0, 1.0, 2.0, 1.0]))
    with pytest.raises(InputError, match="not on the grid"):
        evaluate(found, truth)
    save(found, "a", np.full((8, 8, 6), 7))
    with pytest.raises(InputError, match="has the label 7, the data set has 0 and 1, 2, 3"):
        evaluate(found, truth)
    with pytest.raises(InputError, match="no such folder"):
        evaluate(tmp_path / "none", truth)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no label maps"):
        evaluate(tmp_path / "empty", truth)
    save(tmp_path / "void", "a", np.zeros((8, 8, 6)))
    with pytest.raises(InputError, match="background alone"):
        evaluate(tmp_path / "void", tmp_path / "void")
    assert not (found / "scores.csv").exists()
