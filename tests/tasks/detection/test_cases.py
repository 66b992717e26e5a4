from dataclasses import replace

import numpy as np
import pytest
import torch

from thirdaxis.data.lesions.key_slice import KeySlice, LesionSet
from thirdaxis.errors import InputError, UsageError
from thirdaxis.tasks.detection.cases import named, read_lesions, slices_of, split_slices
from thirdaxis.tasks.detection.plan import DetectPlan
from thirdaxis.tasks.settings_files import make_settings

BOX = torch.tensor([[5.0, 5, 15, 15]])


def settings(**values):
    return make_settings({"task": "detect", "data": "d", "size": 32, **values}, "test")


def lesions(*parts, boxes=BOX, patients=None):
    slices = tuple(
        KeySlice(
            f"s/{number}",
            f"p{number if patients is None else patients[number]}",
            boxes,
            (32, 32),
            (2.0, 1.0, 1.0),
            split=part,
        )
        for number, part in enumerate(parts)
    )
    return LesionSet(slices, lambda one, depth, mm: np.zeros((depth, 32, 32), np.float32), "here")


def test_official_parts_are_taken_as_they_are():
    found = lesions("train", "test", "val", "train")
    assert split_slices(found, settings()) == {
        "training": ["s/0", "s/3"],
        "validation": ["s/2"],
        "test": ["s/1"],
    }
    fewer = split_slices(found, settings(fraction=0.5))
    assert len(fewer["training"]) == 1 and fewer["validation"] == ["s/2"]


def test_without_a_validation_part_some_training_patients_choose():
    parts = split_slices(lesions(*["train"] * 8, "test"), settings(selection=0.25))
    assert len(parts["validation"]) == 2 and len(parts["training"]) == 6
    assert not set(parts["validation"]) & set(parts["training"])
    assert split_slices(lesions("train", "test"), settings(selection=0))["validation"] == []


@pytest.mark.parametrize("official", [True, False])
def test_folds_keep_patients_whole(official):
    part = None if official else "train"
    found = lesions(*[part] * 12, patients=[number // 2 for number in range(12)])
    told = settings(official=official, folds=3, selection=0.3)
    parts = split_slices(found, told)
    of = {one.name: one.patient for one in found.slices}
    patients = [{of[name] for name in names} for names in parts.values()]
    assert sum(map(len, patients)) == len(set.union(*patients)) == 6
    assert len(parts["test"]) == 4 and parts["validation"]
    others = split_slices(found, settings(official=official, folds=3, fold=1, selection=0.3))
    assert not set(parts["test"]) & set(others["test"])


@pytest.mark.parametrize(
    ("found", "values", "error", "said"),
    [
        (lesions("train", "val"), {}, InputError, r"no test slices \(training 1, validation 1, te"),
        (lesions("test", "val"), {}, InputError, "no training slices"),
        (lesions("train", None, "test"), {}, InputError, "'s/1' is in no official part"),
        (
            lesions("train", "test", patients=[1, 1]),
            {},
            InputError,
            "patient 'p1' is in both training and test",
        ),
        (
            lesions("train", "val", "test", boxes=torch.zeros(0, 4)),
            {},
            InputError,
            "here: none of the 1 training slices has a lesion; look at the boxes",
        ),
        (lesions(None, None), {}, UsageError, "5 folds need as many patients, there are 2"),
    ],
)
def test_splits_that_cannot_be(found, values, error, said):
    with pytest.raises(error, match=said):
        split_slices(found, settings(**values))


def test_a_test_part_without_a_lesion_is_told():
    found = lesions("train", "test")
    bare = replace(found.slices[1], boxes=torch.zeros(0, 4))
    with pytest.raises(InputError, match="none of the 1 test slices has a lesion"):
        split_slices(replace(found, slices=(found.slices[0], bare)), settings(selection=0))


def test_names_that_are_gone_are_told():
    found = lesions("train", "test")
    assert [one.name for one in named(found, ["s/1", "s/0"])] == ["s/1", "s/0"]
    with pytest.raises(InputError, match="here: has no key slice 's/9', which the run's split"):
        named(found, ["s/0", "s/9"])


def test_outlines_are_kept_where_the_settings_say(tmp_path):
    drawn = np.zeros((1, 32, 32), bool)
    drawn[0, 5:16, 5:16] = True
    found = replace(lesions("train", "test"), masks=lambda one: drawn)
    told = settings(cache=str(tmp_path / "kept"))
    plan = DetectPlan.of(told)
    part = slices_of(found, ["s/0"], told, plan, drawn=True)
    assert part.sample(0)["target"]["masks"].sum() == 121
    assert (tmp_path / "kept" / "outlines.json").is_file()
    gone = replace(found, masks=lambda one: 1 / 0)
    assert slices_of(gone, ["s/0"], told, plan, drawn=True).masks == part.masks
    assert slices_of(gone, ["s/1"], told, plan).masks == {}


def test_data_that_are_no_lesions_are_told(tmp_path, make_deeplesion):
    with pytest.raises(InputError, match="has no DL_info.csv; give a folder of DeepLesion, or"):
        read_lesions(settings(data=str(tmp_path)), print)
    with pytest.raises(InputError, match="no such folder"):
        read_lesions(settings(data=str(tmp_path / "none")), print)
    with pytest.raises(InputError, match="no such table of boxes"):
        read_lesions(settings(data=str(tmp_path), boxes="boxes.csv"), print)


def test_faulty_rows_stop_a_run_unless_they_are_to_be_left_out(tmp_path, make_deeplesion):
    data = make_deeplesion(tmp_path / "data", (1, 2, 3))
    (data / "Images_png" / "000002_01_01" / "012.png").unlink()
    with pytest.raises(InputError, match="line 3: no image"):
        read_lesions(settings(data=str(data)), print)
    said = []
    found = read_lesions(settings(data=str(data), leave_out_faulty=True), said.append)
    assert len(found.slices) == 2
    assert len(said) == 1 and said[0].startswith("1 faulty lesions were left out, the first: ")
