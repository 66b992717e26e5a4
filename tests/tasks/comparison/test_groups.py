from pathlib import Path

import pytest

from thirdaxis.tasks.comparison.finished import Finished, flat
from thirdaxis.tasks.comparison.groups import grouped, value_of


def run(folder="run", **settings):
    return Finished(Path(folder), {"task": "segment", "data": "d", **settings}, {"dice": 1.0})


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        *(("random-0", "random"), ("acs_seed3", "acs"), ("acs-0.25-1", "acs-0.25")),
        *(("resnet18", "resnet18"), ("12", "12"), ("seed 4", "seed 4")),
    ],
)
def test_a_folders_name_loses_the_number_of_the_repeat(folder, name):
    assert value_of(run(folder), "name") == name or (folder, name) == ("seed 4", "seed 4")


def test_values_that_do_not_speak_for_themselves_stand_behind_their_name():
    told = {"fusion": "acs", "weights": None, "depth_stride": True, "fraction": 0.2}
    told |= {"patch": [8, 16, 16], "freeze": [], "overrides": {"a": "i3d"}}
    (group,) = grouped([run(**told)], list(told))
    assert group.label == (
        "acs, weights none, depth_stride true, fraction 0.2, patch 8,16,16, freeze none, "
        'overrides {"a": "i3d"}'
    )
    assert grouped([run()], [])[0].label == "all runs"


def labels(*weights):
    return [group.label for group in grouped([run(weights=one) for one in weights], ["weights"])]


def test_files_are_called_by_as_much_of_their_path_as_tells_them_apart():
    assert labels("/a/one.pth", "/b/two.safetensors", None) == ["one", "two", "weights none"]
    files = [f"/runs/{name}/best.pth" for name in ("3d", "2d")]
    assert labels(*files) == ["3d/best", "2d/best"]
    assert labels("/a/b/best.pth", "/c/b/best.pth") == ["a/b/best", "c/b/best"]
    assert labels("/a/best.pth", "/a/best.pt") == ["/a/best.pth", "/a/best.pt"]
    assert labels("library", "/x/library") == ["library", "x/library"]


def test_the_mean_over_labels_comes_first_under_its_own_names():
    told = {"steps": 3, "scores": {"a": {"dice": 0.1}, "mean": {"dice": 0.5, "hd": None}}}
    found = flat(told | {"pictures": {"best": "x"}, "seconds": 2.5, "note": "text", "over": True})
    assert list(found) == ["dice", "hd", "a.dice", "steps", "seconds"]
    assert found["dice"] == 0.5 and found["hd"] != found["hd"] and found["seconds"] == 2.5
