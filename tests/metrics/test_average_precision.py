import builtins
import math

import numpy as np
import pytest
import torch

from thirdaxis.errors import InputError
from thirdaxis.metrics.average_precision import (
    average_precision,
    average_precision_of_classes,
)

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


def by_hand(found, truth):
    """Mean average precision as the challenge describes it, written out anew: class -> AP."""
    answer = {}
    classes = sorted(
        {
            c
            for _, labels, crowds in truth.values()
            for c, d in zip(labels, crowds, strict=True)
            if not d
        }
    )
    for one in classes:
        scores = []
        for overlap in np.linspace(0.5, 0.95, 10):
            hits, wanted = [], 0
            for name, (boxes, labels, crowds) in truth.items():
                single = [
                    b for b, c, d in zip(boxes, labels, crowds, strict=True) if c == one and not d
                ]
                many = [b for b, c, d in zip(boxes, labels, crowds, strict=True) if c == one and d]
                wanted += len(single)
                free = set(range(len(single)))
                told = zip(*found.get(name, ((), (), ())), strict=True)
                for box_, score, _ in sorted((t for t in told if t[2] == one), key=lambda t: -t[1]):
                    near = [(shared(box_, single[i]), i) for i in free]
                    near = [n for n in near if n[0] >= overlap - 1e-10]
                    if near:
                        free.discard(max(near)[1])
                        hits.append((score, True))
                    elif not any(shared(box_, crowd, alone=True) >= overlap for crowd in many):
                        hits.append((score, False))
            right = np.array([hit for _, hit in sorted(hits, key=lambda h: -h[0])], float)
            recall = right.cumsum() / wanted
            precision = right.cumsum() / np.arange(1, len(right) + 1)
            levels = torch.linspace(0, 1, 101).tolist()  # in single precision, as torchmetrics asks
            at = [max(precision[recall >= level], default=0.0) for level in levels]
            scores.append(np.mean(at))
        answer[one] = float(np.mean(scores))
    return answer


def shared(one, other, alone=False):
    """Overlap over union, or over the first box alone."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(width, 0) * max(height, 0)
    area, theirs = ((b[2] - b[0]) * (b[3] - b[1]) for b in (one, other))
    return common / (area if alone else area + theirs - common)


@pytest.mark.parametrize("seed", range(4))
def test_classes_and_crowds_are_counted_as_by_hand(seed):
    random = np.random.default_rng(seed)
    truth, found = {}, {}
    for name in "abcdef":
        corners = random.uniform(0, 60, (5, 2))
        boxes = np.concatenate([corners, corners + random.uniform(10, 40, (5, 2))], 1)
        labels = random.integers(1, 4, 5)
        truth[name] = boxes.tolist(), labels.tolist(), (random.random(5) < 0.3).tolist()
        near = np.concatenate([boxes, boxes]) + random.normal(0, 1.5, (10, 4))
        swapped = np.where(random.random(10) < 0.2, random.integers(1, 4, 10), np.tile(labels, 2))
        found[name] = near.tolist(), random.permutation(10) / 10 + ord(name) / 1e4, swapped.tolist()
    expected = by_hand(found, truth)
    numbers, classes = average_precision_of_classes(found, truth)
    assert {c: ap for c, ap in classes.items() if ap == ap} == pytest.approx(expected, abs=1e-5)
    assert numbers["ap"] == pytest.approx(np.mean(list(expected.values())), abs=1e-5)
    alone = {name: (boxes, labels, [False] * 5) for name, (boxes, labels, _) in truth.items()}
    assert average_precision_of_classes(found, alone)[0]["ap"] != pytest.approx(numbers["ap"])


def test_a_right_box_of_the_wrong_class_is_no_hit():
    truth = {"a": ([box(0, 0)], [1], [False]), "b": ([box(3, 3)], [2], [False])}
    found = {"a": ([box(0, 0)], [0.9], [2]), "b": ([box(3, 3)], [0.8], [2])}
    numbers, classes = average_precision_of_classes(found, truth)
    assert classes == pytest.approx({1: 0, 2: 0.5}) and numbers["ap"] == pytest.approx(0.25)
