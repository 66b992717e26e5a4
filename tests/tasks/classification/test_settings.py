import pytest

from thirdaxis.errors import UsageError
from thirdaxis.tasks.classification.settings import ClassifySettings
from thirdaxis.tasks.settings_files import default_text, make_settings

TABLE = {"task": "classify", "data": "table.csv"}


def test_columns_and_labels_are_read_as_a_file_or_a_command_line_tells_them():
    told = {"centre_columns": "x, y,z", "drop": [3], "classes": {1: 0, 2.0: 0, 4: "high"}}
    settings = make_settings(TABLE | told | {"around": "centre", "size": "8x8x8"}, "test")
    assert isinstance(settings, ClassifySettings)
    assert settings.columns().centre == ("x", "y", "z") and settings.size == (8, 8, 8)
    assert settings.drop == ("3",)
    assert settings.classes == {"1": "0", "2": "0", "4": "high"}
    assert make_settings(settings.plain(), "again") == settings


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"around": "mask", "size": [8, 8, 8]}, "needs mask_column"),
        ({"around": "centre", "size": [8, 8, 8]}, "needs centre_columns"),
        ({"around": "middle"}, "needs a size"),
        ({"intensity": "window"}, "go together"),
        ({"intensity": "window", "window": [400, -1000]}, "lower end first"),
        ({"kind": "labels"}, "several label_columns"),
        ({"label_columns": "a,b"}, "one label column"),
        ({"kind": "labels", "label_columns": "a,b", "balance": "sampler"}, "drawn evenly"),
        ({"patience": 3, "selection": 0}, "needs samples to choose by"),
        ({"data": "adrenalmnist3d.npz", "kind": "grade"}, "of kind 'classes'"),
        ({"lable_columns": "a"}, "did you mean 'label_columns'"),
    ],
)
def test_what_does_not_go_together_is_refused(told, message):
    with pytest.raises(UsageError, match=message):
        make_settings(TABLE | told, "test")


def test_boxes_are_shifted_as_the_augmentation_says():
    def shift(**told: object) -> int:
        return ClassifySettings(data="t.csv", **told).shift()

    middle = {"around": "middle", "size": (8, 8, 8)}
    assert shift(augment="lidc", **middle) == 5 and shift(**middle) == 2
    assert shift() == shift(augment="none", **middle) == 0
    assert shift(jitter=3) == 3 == shift(augment="lidc", jitter=3, **middle)


def test_the_full_default_is_printed():
    text = default_text("classify")
    assert "\nselection: 0.15\n" in text and "# data:  (has to be told)" in text
