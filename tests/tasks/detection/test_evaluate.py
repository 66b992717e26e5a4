import csv
import json
import math

import numpy as np
import pytest
import torch

from thirdaxis.data.lesions.detections import write_detections
from thirdaxis.data.lesions.key_slice import KeySlice
from thirdaxis.errors import InputError, UsageError
from thirdaxis.metrics.froc import froc
from thirdaxis.tasks.detection.evaluate import score, size_mm, write_scores
from thirdaxis.tasks.detection.found import read_found
from thirdaxis.tasks.detection.truth import Truth, find_truth

FOUR = torch.tensor([[10.0, 10, 19, 19]]), torch.tensor([[50.0, 40, 79, 69]])


@pytest.fixture
def truth() -> Truth:
    """Twelve images of six patients, thin and thick, a small or a large lesion or none on each."""
    slices = tuple(
        KeySlice(
            f"s{number}/010",
            f"p{number // 2}",
            torch.zeros(0, 4) if number == 11 else FOUR[number % 2],
            (96, 96),
            ((1.0, 5.0, 3.0)[number % 3], 0.8, 0.8),
        )
        for number in range(12)
    )
    return Truth(slices, None, "made up")


@pytest.fixture
def found(truth):
    """Lesions of even images, weaker ones of every third, and a false alarm here and there."""
    told = {}
    for number, one in enumerate(truth.slices):
        boxes = [one.boxes] if number % 2 == 0 or number % 3 == 0 else []
        scores = [0.9 if number % 2 == 0 else 0.4] * (len(one.boxes) if boxes else 0)
        false = number in (1, 4, 5)
        boxes.append(torch.tensor([[0.0, 70, 9, 79]] * false).reshape(-1, 4))
        told[one.name] = (torch.cat(boxes), torch.tensor(scores + [0.1 * number] * false))
    return told


def test_groups_are_parts_of_the_whole(truth, found):
    scores = score(truth, found, draws=20)
    wanted = {one.name: one.boxes for one in truth.slices}
    every = froc(found, wanted)
    groups = {group.name: group.froc for group in scores.groups}
    assert groups["all"].mean == every.mean and groups["all"].lesions == 11
    for name, holds in {
        "thin, up to 2 mm": lambda mm: mm == 1,
        "thick, over 2 mm": lambda mm: mm > 2,
        "thick, 5 mm": lambda mm: mm == 5,
    }.items():
        chosen = [one.name for one in truth.slices if holds(one.spacing[0])]
        alone = froc({n: found[n] for n in chosen}, {n: wanted[n] for n in chosen})
        assert groups[name].mean == pytest.approx(alone.mean)
        assert groups[name].images == len(chosen)
    small, large = groups["lesions below 10 mm"], groups["lesions of 10 to 30 mm"]
    assert (small.lesions, large.lesions) == (6, 5)
    assert small.sensitivity_at((16.0,))[0] == 1
    assert large.sensitivity_at((16.0,))[0] == pytest.approx(2 / 5)
    assert set(scores.precision) == {"ap", "ap50", "ap75"}


def test_images_are_judged_at_the_rate_and_the_worst_come_first(truth, found):
    scores = score(truth, found, rate=1 / 12, draws=5)
    # One false alarm is allowed: the strongest, of 0.5, stays; lesions of 0.4 are lost with 0.4.
    assert 0.4 < scores.threshold <= 0.5
    rows = {row.name: row for row in scores.images}
    assert rows["s5/010"].alarms == 1 and rows["s5/010"].worst == pytest.approx(0.5)
    assert rows["s1/010"].alarms == 0 and math.isnan(rows["s1/010"].worst)
    assert scores.images[0].name == "s5/010"
    missed = {row.name for row in scores.images if row.missed}
    assert missed == {f"s{number}/010" for number in (1, 3, 5, 7, 9)}
    assert score(truth, found, rate=50, draws=5).threshold == 0


def test_sizes_are_diameters_or_else_sides():
    recist = torch.tensor([[0.0, 0, 3, 4, 0, 0, 1, 0]])
    told = KeySlice("a/1", "a", FOUR[0], (96, 96), (1.0, 2.0, 2.0), recist)
    assert size_mm(told) == pytest.approx([10.0])
    bare = KeySlice("a/1", "a", torch.tensor([[0.0, 0, 4, 9]]), (96, 96), (1.0, 2.0, 3.0))
    assert size_mm(bare) == pytest.approx([20.0])
    assert size_mm(KeySlice("a/1", "a", torch.zeros(0, 4), (96, 96), (1.0,) * 3)).shape == (0,)


def test_files_hold_groups_images_and_the_difference(truth, found, tmp_path):
    worse = {name: (boxes, scores * 0.5) for name, (boxes, scores) in found.items()}
    worse["s0/010"] = (torch.zeros(0, 4), torch.zeros(0))
    scores = score(truth, found, worse, draws=20)
    write_scores(scores, tmp_path / "new")
    told = json.loads((tmp_path / "new" / "scores.json").read_text(encoding="utf-8"))
    rival = froc(worse, {one.name: one.boxes for one in truth.slices}).mean
    assert told["difference"]["mean"] == pytest.approx(scores.groups[0].froc.mean - rival)
    assert told["difference"]["mean"] > 0 and told["difference"]["patients"] == 6
    assert len(told["images"]) == 12 and told["rule"] == {"overlap": "iou", "fits": 0.5}
    with (tmp_path / "new" / "scores.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["group"] for row in rows] == [group.name for group in scores.groups]
    assert float(rows[0]["froc"]) == pytest.approx(scores.groups[0].froc.mean)


def test_overlap_over_the_found_box_is_another_rule(truth):
    inside = {"s1/010": (torch.tensor([[60.0, 50, 64, 54]]), torch.tensor([0.9]))}
    assert score(truth, inside, draws=5).groups[0].froc.alarms.tolist() == [pytest.approx(0.9)]
    assert not len(score(truth, inside, overlap="iobb", draws=5).groups[0].froc.alarms)


def test_images_without_an_entry_count_and_are_told(truth, found, tmp_path):
    del found["s2/010"]
    write_detections(tmp_path / "d.json", found)
    read, unmentioned, dropped = read_found(tmp_path / "d.json", truth)
    assert (unmentioned, dropped) == (1, 0) and set(read) == set(found)
    assert score(truth, read, draws=5).groups[0].froc.images == 12


BAD = {
    "unknown": ("zz/1", [1.0, 1, 5, 5], 0.5, "not in made up, the first is 'zz/1'"),
    "score": ("s0/010", [1.0, 1, 5, 5], 1.5, "score 1.5, expected 0 to 1"),
    "negative": ("s0/010", [1.0, 1, 5, 5], -0.5, "score -0.5, expected 0 to 1"),
    "outside": ("s0/010", [96.0, 1, 99, 5], 0.5, "lies outside its 96 × 96"),
}


@pytest.mark.parametrize("what", BAD)
def test_detections_that_do_not_fit_the_truth_are_refused(truth, tmp_path, what):
    name, box, value, message = BAD[what]
    one = (torch.tensor([box]), torch.tensor([value]))
    write_detections(tmp_path / "d.json", {name: one})
    with pytest.raises(InputError, match=message):
        read_found(tmp_path / "d.json", truth)


def test_a_score_of_nan_is_refused(truth, tmp_path):
    text = (
        '{"format": "thirdaxis-detections", "version": 1, "images": {"s0/010": '
        '{"boxes": [[1, 1, 5, 5]], "scores": [NaN]}}}'
    )
    (tmp_path / "d.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="not finite"):
        read_found(tmp_path / "d.json", truth)


def test_others_are_dropped_on_demand_unless_nothing_is_left(truth, found, tmp_path):
    extra = found | {"zz/1": found["s0/010"]}
    write_detections(tmp_path / "d.json", extra)
    read, _, dropped = read_found(tmp_path / "d.json", truth, others="drop")
    assert dropped == 1 and "zz/1" not in read
    write_detections(tmp_path / "d.json", {"zz/1": found["s0/010"]})
    with pytest.raises(InputError, match="1 of its 1 images"):
        read_found(tmp_path / "d.json", truth, others="drop")
    with pytest.raises(UsageError, match="did you mean 'drop'"):
        read_found(tmp_path / "d.json", truth, others="drops")


@pytest.mark.parametrize("told", [{"overlap": "dice"}, {"fits": 0}, {"rate": 0}, {"draws": 0}])
def test_impossible_rules_are_refused(truth, found, told):
    with pytest.raises(UsageError):
        score(truth, found, **told)


def test_a_folder_of_deeplesion_or_its_table_alone_is_the_truth(make_deeplesion, tmp_path):
    data = make_deeplesion(tmp_path / "data", (1, 2, 3, 3))
    told = find_truth(data)
    assert [one.split for one in told.slices] == ["test", "test"] and told.read is not None
    assert len(find_truth(data, "all").slices) == 4
    assert find_truth(data / "DL_info.csv").read is not None
    alone = tmp_path / "alone.csv"
    alone.write_bytes((data / "DL_info.csv").read_bytes())
    table = find_truth(alone, "all")
    assert table.read is None and len(table.slices) == 4
    assert torch.equal(table.slices[0].boxes, find_truth(data, "train").slices[0].boxes)
    with pytest.raises(UsageError, match="did you mean 'test'"):
        find_truth(data, "tests")
    with pytest.raises(InputError, match="neither a run folder"):
        find_truth(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        find_truth(tmp_path / "gone")


def test_a_truth_without_lesions_is_refused(make_deeplesion, tmp_path):
    data = make_deeplesion(tmp_path / "data", (1, 1))
    with pytest.raises(InputError, match="lesion"):
        find_truth(data, "test")
    alone = tmp_path / "alone.csv"
    alone.write_bytes((data / "DL_info.csv").read_bytes())
    with pytest.raises(InputError, match="none of its 0 slices has a lesion"):
        find_truth(alone, "test")


def test_the_published_rows_are_a_truth(shared_data):
    """Perfect detections on DeepLesion's own test rows; the table is there, the images are not."""
    tables = sorted((shared_data / "deeplesion").glob("*.csv"))
    if not tables:
        pytest.skip(f"no table of DeepLesion in {shared_data / 'deeplesion'}")
    every = find_truth(tables[0], "test")
    assert sum(len(one.boxes) for one in every.slices) > 4000
    truth = Truth(every.slices[::20], None, every.origin)
    found = {one.name: (one.boxes, np.ones(len(one.boxes))) for one in truth.slices}
    groups = score(truth, found, draws=2).groups
    assert all(group.froc.mean == 1 for group in groups)
    assert {"thin", "thick"} <= {group.name.split(",")[0] for group in groups}
