import json

import pytest
import yaml

from thirdaxis.errors import InputError, UsageError
from thirdaxis.tasks.kinds import KINDS
from thirdaxis.tasks.settings_files import (
    default_text,
    make_settings,
    merged,
    read_assignments,
    read_settings_file,
)


def test_settings_survive_yaml_and_json_unchanged():
    settings = make_settings({"data": "d", "spacing": (1.5, 1, 1), "patch": "8x16x24"}, "test")
    for text in (yaml.safe_dump(settings.plain()), json.dumps(settings.plain())):
        assert make_settings(yaml.safe_load(text), "again") == settings
    assert settings.patch == (8, 16, 24)
    assert settings.spacing == (1.5, 1.0, 1.0)


def test_settings_cannot_be_changed():
    settings = make_settings({"data": "d"}, "test")
    with pytest.raises(Exception, match="frozen"):
        settings.epochs = 3


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"fusoin": "acs"}, "unknown setting 'fusoin'; did you mean 'fusion'"),
        ({"epochs": 0}, "setting 'epochs': Input should be greater than or equal to 1 .got 0."),
        ({"patch": "8,8"}, "setting 'patch'"),
        ({"spacing": "fine"}, "setting 'spacing'"),
        ({"fold": 5}, "fold 5 does not exist with 5 folds"),
        ({"intensity": "window"}, "go together"),
        ({"window": (-100, 300)}, "go together"),
        ({"intensity": "window", "window": (300, -100)}, "lower end first"),
        ({"batch": 3, "devices": 2}, "batch 3 cannot be shared by 2 devices"),
        ({"precision": "8"}, "setting 'precision'"),
        ({"augment": "lidc", "patch": "8,8,16"}, "turns patches and needs a cube"),
        ({"augment": "lidc"}, "turns patches and needs a cube"),
        ({"overlap": [0.5, 1, 0]}, "setting 'overlap'"),
        ({"labels": {"liver": "all"}}, "setting 'labels'"),
        ({"labels": {"liver": 0}}, "setting 'labels'"),
        ({"spacing": "1,x,1"}, "setting 'spacing'"),
        ({"loss": "dicee"}, "setting 'loss'"),
        ({"class_weights": [-1, 1]}, "setting 'class_weights'"),
        ({"orientation": "up"}, "setting 'orientation'"),
    ],
)
def test_a_wrong_setting_is_one_clear_line(values, told):
    with pytest.raises(UsageError, match=told) as caught:
        make_settings({"data": "d", **values}, "settings.yaml")
    assert str(caught.value).startswith("settings.yaml: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("task", KINDS)
def test_the_printed_defaults_are_the_defaults(task):
    text, fields = default_text(task), KINDS[task].settings.model_fields
    assert all(f"{name}:" in text for name in fields)
    values = yaml.safe_load(text)
    told = {"task": task} | {name: "d" for name in ("data", "boxes") if name in fields}
    assert make_settings(values | told, "test") == make_settings(told, "test")


@pytest.mark.parametrize("task", KINDS)
def test_every_setting_is_explained(task):
    fields = KINDS[task].settings.model_fields
    assert [name for name, field in fields.items() if not field.description] == []


def test_an_unknown_task_is_told_with_the_nearest():
    with pytest.raises(UsageError, match="unknown task 'sgement'; did you mean 'segment'"):
        default_text("sgement")
    with pytest.raises(UsageError, match="did you mean 'segment'"):
        make_settings({"task": "segmnt"}, "test")


def test_tables_are_laid_over_each_other():
    below = {"overrides": {"a": "i3d", "b": "acs"}, "epochs": 3}
    above = read_assignments(["overrides.a=tsm", "overrides.c.fusion=p3d", "epochs=4"])
    assert merged(below, above) == {
        "overrides": {"a": "tsm", "b": "acs", "c": {"fusion": "p3d"}},
        "epochs": 4,
    }
    with pytest.raises(UsageError, match="'epochs' was given a value before"):
        read_assignments(["epochs=3", "epochs.a=4"])


def test_a_missing_data_folder_is_named():
    with pytest.raises(UsageError, match="setting 'data': Field required"):
        make_settings({}, "command line")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("s.yaml", "epochs: 3\npatch: [8, 8, 8]"),
        ("s.toml", "epochs = 3\npatch = [8, 8, 8]"),
        ("s.json", '{"epochs": 3, "patch": [8, 8, 8]}'),
    ],
)
def test_three_file_formats_say_the_same(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    assert read_settings_file(path) == {"epochs": 3, "patch": [8, 8, 8]}


def test_unreadable_settings_files(tmp_path):
    with pytest.raises(InputError, match="no such settings file"):
        read_settings_file(tmp_path / "none.yaml")
    with pytest.raises(UsageError, match=r"ends in \.yaml"):
        read_settings_file(tmp_path / "settings.ini")
    broken = tmp_path / "broken.yaml"
    broken.write_text("epochs: [3")
    with pytest.raises(InputError, match="not a valid yaml file") as caught:
        read_settings_file(broken)
    assert "\n" not in str(caught.value)
    broken.write_text("- 3")
    with pytest.raises(InputError, match="expected a table"):
        read_settings_file(broken)


def test_assignments_are_read_as_yaml():
    words = ["epochs=3", "weights=null", "patch=8,8,8", "overrides={layer1*: i3d}", "clip=1.5"]
    assert read_assignments(words) == {
        "epochs": 3,
        "weights": None,
        "patch": "8,8,8",
        "overrides": {"layer1*": "i3d"},
        "clip": 1.5,
    }
    with pytest.raises(UsageError, match="expected NAME=VALUE"):
        read_assignments(["epochs"])


def test_short_forms_of_labels_augmentation_and_spacing():
    told = {"data": "d", "labels": {"liver": 1, "all": [2, 3]}, "spacing": "1.5,own,own"}
    settings = make_settings(told | {"augment": False, "class_weights": "1,2,4"}, "test")
    assert settings.labels == {"liver": (1,), "all": (2, 3)}
    assert settings.spacing == (1.5, None, None)
    assert settings.augment == "none" and settings.class_weights == (1, 2, 4)
    assert make_settings(yaml.safe_load(yaml.safe_dump(settings.plain())), "again") == settings
