import builtins
import math

import pytest

from thirdaxis.errors import InputError
from thirdaxis.metrics.average_precision import average_precision

pytest.importorskip("pycocotools", reason="needs the extra `detect`")


def box(x, y, side=20):
    return [x, y, x + side, y + side]


def test_perfect_detections_have_one_and_none_have_zero():
    truth = {"a": [box(0, 0), box(50, 0)], "b": [box(3, 3)], "c": []}
    found = {name: (boxes, [0.9] * len(boxes)) for name, boxes in truth.items()}
    assert average_precision(found, truth) == pytest.approx({"ap": 1, "ap50": 1, "ap75": 1})
    assert average_precision({}, truth) == pytest.approx({"ap": 0, "ap50": 0, "ap75": 0})


def test_a_shifted_box_counts_as_far_as_its_overlap_reaches():
    # 20 x 20, moved by 4: overlap 16 / 24 = 0.667, a fit at 0.5, 0.55, 0.6 and 0.65 of ten.
    found = {"a": ([box(4, 0)], [0.5])}
    numbers = average_precision(found, {"a": [box(0, 0)]})
    assert numbers == pytest.approx({"ap": 0.4, "ap50": 1, "ap75": 0})


def test_an_alarm_above_the_hit_halves_precision():
    found = {"a": ([box(0, 0), box(60, 60)], [0.5, 0.9])}
    assert average_precision(found, {"a": [box(0, 0)]})["ap50"] == pytest.approx(0.5)


def test_without_lesions_it_is_unknown():
    assert all(math.isnan(value) for value in average_precision({}, {"a": []}).values())


def test_what_cannot_be_matched_is_told():
    with pytest.raises(InputError, match="'b', which is no image"):
        average_precision({"b": ([], [])}, {"a": []})
    with pytest.raises(InputError, match="at least one image"):
        average_precision({}, {})


def test_a_missing_package_is_named(monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **more):
        if name == "pycocotools":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match="pycocotools") as fault:
        average_precision({}, {"a": []})
    assert fault.value.name == "pycocotools"
