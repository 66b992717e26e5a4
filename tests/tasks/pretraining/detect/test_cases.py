import json

import pytest

from thirdaxis.errors import InputError, UsageError
from thirdaxis.tasks.pretraining.detect.cases import (
    part,
    plan_of,
    read_photographs,
    split_photographs,
)
from thirdaxis.tasks.settings_files import make_settings


@pytest.fixture
def told(coco, small_pretraining):
    def settings(**values):
        return make_settings({**small_pretraining, "data": str(coco), **values}, "test")

    return settings


def read(settings):
    lines = []
    sets = read_photographs(settings, lines.append)
    return sets, lines


def test_the_layout_of_coco_is_found_and_its_parts_kept(told):
    settings = told()
    sets, lines = read(settings)
    training, held = split_photographs(sets, settings)
    assert lines == []
    # The last picture has nothing but a crowd, which cannot be learnt.
    assert training == [f"{number:03d}.png" for number in range(7)]
    assert held == ["000.png", "001.png", "002.png"]
    plan = plan_of(sets, training, held, settings)
    assert (plan.names, plan.ids) == (("red", "blue"), (5, 9))
    assert (plan.pictures, plan.held_out) == (7, 3)
    assert plan.boxes == sum(len(one.boxes) for one in part(sets[0], training).pictures) == 11


def test_folds_are_held_out_of_one_set_and_smaller_fractions_lie_in_larger_ones(told):
    named = {"annotations": "annotations/instances_train2017.json", "folds": 4}
    held, smaller = set(), set()
    for fold in range(4):
        settings = told(**named, fold=fold)
        sets, _ = read(settings)
        assert sets[0] is sets[1]
        training, kept = split_photographs(sets, settings)
        assert not set(training) & set(kept)
        held |= set(kept)
    assert len(held) == 8
    for fraction in (0.3, 0.6, 1.0):
        settings = told(**named, fraction=fraction)
        training, _ = split_photographs(read(settings)[0], settings)
        assert smaller < set(training)
        smaller = set(training)


def test_files_and_folders_are_named(told, coco, make_coco, tmp_path):
    root = make_coco(tmp_path / "own", {"train2017": 6, "val2017": 3})
    (root / "annotations" / "instances_train2017.json").rename(root / "boxes.json")
    (root / "annotations" / "instances_val2017.json").rename(root / "instances_val2017.json")
    (root / "train2017").rename(root / "images")
    names = {"annotations": "boxes.json", "validation": "instances_val2017.json"}
    with pytest.raises(InputError, match=r"boxes.json: its name does not tell .* setting pictures"):
        read(told(data=str(root), **names))
    sets, _ = read(told(data=str(root), **names, pictures="images"))
    assert [len(one.pictures) for one in sets] == [6, 3]
    assert sets[0].folder == root / "images" and sets[1].folder == root / "val2017"


def rewritten(root, name, change):
    file = root / "annotations" / f"instances_{name}.json"
    told = json.loads(file.read_text(encoding="utf-8"))
    change(told)
    file.write_text(json.dumps(told), encoding="utf-8")


def test_what_is_left_out_is_said(told, make_coco, tmp_path):
    root = make_coco(tmp_path / "own")
    rewritten(root, "train2017", lambda t: t["annotations"][0].update(bbox=[900, 0, 5, 5]))
    _, lines = read(told(data=str(root), faulty=0.2))
    assert len(lines) == 1 and "1 pictures and boxes cannot be used and are left out" in lines[0]
    with pytest.raises(InputError, match=r"boxes: 1 of 12 cannot be used"):
        read(told(data=str(root)))


def test_categories_have_to_be_the_same_in_both_parts(told, make_coco, tmp_path):
    root = make_coco(tmp_path / "own")

    def shift(told):
        told["categories"][0]["id"] = 10
        for one in told["annotations"]:
            one["category_id"] += one["category_id"] == 9

    rewritten(root, "val2017", shift)
    with pytest.raises(InputError, match="category 10 'blue' where .* has 9 'blue'"):
        read(told(data=str(root)))


def test_pictures_may_not_be_learnt_and_held_out(told, make_coco, tmp_path):
    root = make_coco(tmp_path / "own")
    names = {"validation": "annotations/instances_train2017.json"}
    with pytest.raises(InputError, match="8 of its pictures are learnt from too, the first '000"):
        read(told(data=str(root), **names))


@pytest.mark.parametrize("name", ["train2017", "val2017"])
def test_a_part_without_a_box_is_refused(told, make_coco, tmp_path, name):
    root = make_coco(tmp_path / "own")
    rewritten(root, name, lambda t: [one.update(iscrowd=1) for one in t["annotations"]])
    settings = told(data=str(root))
    with pytest.raises(InputError, match="no picture to learn from has|held-out pictures has a"):
        split_photographs(read(settings)[0], settings)


def test_pictures_that_are_gone_and_absent_folders_are_told(told, coco, tmp_path):
    sets, _ = read(told())
    with pytest.raises(InputError, match="has no picture '9.png', which the run's split names"):
        part(sets[0], ["9.png"])
    with pytest.raises(InputError, match="no such folder; expected one that holds annotations/ins"):
        read(told(data=str(tmp_path / "none")))
    with pytest.raises(InputError, match="instances_train2017.json: no such file of annotations"):
        read(told(data=str(coco / "train2017")))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"network": "torchvision:resnet18"}, "is none published in 3D; take resnet3d:18-gn"),
        ({"transform": "none"}, "leave out transform and depth_stride"),
        ({"depth_stride": True}, "leave out transform and depth_stride"),
        ({"fusion": "acs"}, "leave out fusion, overrides"),
        ({"validation_pictures": "val"}, "goes with validation, the JSON"),
        ({"scales": [16]}, "scales are at least 32 pixels, got 16"),
        ({"most": 200}, "setting 'most'"),
        ({"cache": "x"}, "cache has no use here"),
        ({"scale": 32}, "unknown setting 'scale'; did you mean 'scales'"),
    ],
)
def test_settings_that_make_no_sense_are_one_line(told, values, said):
    with pytest.raises(UsageError, match=said) as fault:
        told(**values)
    assert "\n" not in str(fault.value)


def test_the_defaults_are_those_of_the_paper():
    settings = make_settings({"task": "pretrain-detect", "data": "coco"}, "test")
    assert settings.scales == (384, 448, 512, 576, 640) and settings.flip
    assert (settings.epochs, settings.batch, settings.learning_rate) == (72, 2, 0.02)
    assert [round(settings.epochs * share) for share in settings.milestones] == [48, 66]
    assert settings.network.endswith("-gn") and settings.fusion == "i3d"
