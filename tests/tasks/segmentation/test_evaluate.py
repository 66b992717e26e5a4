import csv
import json
import math
import shutil

import nibabel
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from thirdaxis.errors import InputError, UsageError
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
    with pytest.raises(
        InputError, match="has the label 7, the data set has 0 and 1, 2, 3; --labels"
    ):
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


def test_volumes_are_in_millilitres(maps):
    a, b = evaluate(*maps).rows
    voxel = 2 * 1 * 3 / 1000
    assert a.volumes_ml[1] == pytest.approx((64 * voxel, 64 * voxel))
    assert b.volumes_ml[2] == pytest.approx((0, 8 * voxel))
    assert b.score("volume_difference_ml", 2) == pytest.approx(-8 * voxel)
    assert b.score("volume_difference_percent", 2) == -100


def test_maps_of_other_tools_are_matched_and_their_values_named(tmp_path):
    truth, found = np.zeros((8, 8, 6)), np.zeros((8, 8, 6))
    truth[1:5, 1:5, 1:5], truth[2:4, 2:4, 2:4] = 1, 2
    found[1:5, 1:5, 1:5], found[2:4, 2:4, 2:4], found[7, 7, 5] = 40, 50, 99
    save(tmp_path / "truth", "case_7_0000", truth)
    save(tmp_path / "found", "case_7.seg", found)
    for beside in ("case_7.dcm", "case_7.npz", "case_7.png", "plans.json"):
        (tmp_path / "found" / beside).touch()
    (row,) = evaluate(
        tmp_path / "found",
        tmp_path / "truth",
        tmp_path / "out",
        labels="1+2=liver, 2=lesion",
        prediction_labels="50=lesion,40+50=liver",
    ).rows
    assert row.name == "case_7"
    assert row.dice == {1: 1.0, 2: 1.0}  # the liver holds its lesion; 99 is background
    swapped = evaluate(
        tmp_path / "found",
        tmp_path / "truth",
        tmp_path / "out",
        labels="1+2=liver,2=lesion",
        prediction_labels="50=liver,40+50=lesion",
    )
    assert swapped.rows[0].dice == pytest.approx({1: 2 * 8 / 72, 2: 2 * 8 / 72})
    assert swapped.labels == {1: "liver", 2: "lesion"}


@pytest.mark.parametrize(
    ("labels", "predicted", "line"),
    [
        ("1:liver", None, "labels '1:liver': expected VALUE=NAME"),
        ("one=liver", None, "expected VALUE=NAME"),
        ("1=", None, "expected VALUE=NAME"),
        ("0=air", None, "0 and below are background"),
        ("1=a,2=a", None, "'a' is there twice; join values as 1\\+2=a"),
        ("1=a,2=b", "1=a", "--prediction-labels names a, --labels names a, b"),
        (None, "1=a", "--prediction-labels goes with --labels"),
    ],
)
def test_labels_that_say_nothing_are_refused(maps, labels, predicted, line):
    with pytest.raises(UsageError, match=line):
        evaluate(*maps, labels=labels, prediction_labels=predicted)


def test_two_files_of_one_case_are_refused(maps):
    found, truth = maps
    save(found, "a_0000", np.ones((8, 8, 6)))
    with pytest.raises(InputError, match=r"a_0000.nii.gz: is of the case 'a', and so is a.nii.gz"):
        evaluate(found, truth)


def test_two_folders_of_predictions_are_compared_case_by_case(tmp_path):
    random = np.random.default_rng(0)
    for number in range(6):
        truth = np.zeros((8, 8, 6))
        truth[1:6, 1:6, 1:5] = 1
        good, bad = truth.copy(), truth.copy()
        good[random.integers(1, 3), 1, 1] = 0
        bad[1 : 2 + number % 2, 1:6, 1:5] = 0
        for folder, array in (("truth", truth), ("good", good), ("bad", bad)):
            save(tmp_path / folder, f"case_{number}", array)
    save(tmp_path / "bad", "case_6", truth)
    save(tmp_path / "truth", "case_6", truth)
    scores = evaluate(tmp_path / "good", tmp_path / "truth", other=tmp_path / "bad")
    found = scores.compared["1"]["dice"]
    ours = {row.name: row.dice[1] for row in scores.rows}
    theirs = {row.name: row.dice[1] for row in evaluate(tmp_path / "bad", tmp_path / "truth").rows}
    assert set(theirs) - set(ours) == {"case_6"} and found.cases == 6
    assert found.mean == pytest.approx(np.mean([ours[name] - theirs[name] for name in ours]))
    assert 0 < found.low <= found.mean <= found.high
    # All six are better, so both signs of six: the least p that six cases can give.
    assert found.p == pytest.approx(2 / 2**6)
    evaluate(tmp_path / "good", tmp_path / "truth", other=tmp_path / "bad")
    told = json.loads((tmp_path / "good" / "scores.json").read_text(encoding="utf-8"))
    assert told["compared_with_other"]["1"]["dice"]["p"] == pytest.approx(2 / 2**6)
    save(tmp_path / "alone", "case_6", truth)
    with pytest.raises(InputError, match="no case in common"):
        evaluate(tmp_path / "good", tmp_path / "truth", other=tmp_path / "alone")
