import numpy as np
import pytest

from thirdaxis.errors import InputError
from thirdaxis.metrics.froc import froc
from thirdaxis.metrics.froc_paired import froc_difference


def detections(seed: int, quality: float, images: int = 14):
    """Boxes on images of seven patients, each lesion found with this probability."""
    random = np.random.default_rng(seed)
    truth, found, patients = {}, {}, {}
    for number in range(images):
        low = np.array([[5.0, 5], [40, 40]])[: 1 + number % 2]
        truth[f"{number}"] = np.concatenate([low, low + 9], 1)
        patients[f"{number}"] = number // 2
        hit = truth[f"{number}"][random.random(len(low)) < quality]
        false = np.array([[70.0, 70, 79, 79]] * random.integers(0, 3)).reshape(-1, 4)
        boxes = np.concatenate([hit, false])
        found[f"{number}"] = (boxes, random.uniform(0.01, 1, len(boxes)))
    return truth, found, patients


def test_the_interval_is_that_of_froc_on_drawn_images():
    truth, first, patients = detections(1, 0.8)
    _, second, _ = detections(2, 0.5)
    told = froc_difference(froc(first, truth), froc(second, truth), patients, draws=40, seed=3)
    random = np.random.default_rng(3)
    apart = []
    for _ in range(40):
        chosen = [name for p in random.integers(7, size=7) for name in truth if patients[name] == p]
        copies = [(f"{n}-{name}", name) for n, name in enumerate(chosen)]
        means = [
            froc(
                {new: found[old] for new, old in copies}, {new: truth[old] for new, old in copies}
            ).mean
            for found in (first, second)
        ]
        apart.append(means[0] - means[1])
    assert (told.low, told.high) == pytest.approx(tuple(np.percentile(apart, (2.5, 97.5))))
    other = 2 * min(np.mean(np.array(apart) <= 0), np.mean(np.array(apart) >= 0))
    assert told.p == pytest.approx(min(1, max(other, 1 / 40)))
    assert told.mean == pytest.approx(froc(first, truth).mean - froc(second, truth).mean)
    assert told.patients == 7 and told.low < told.mean < told.high


def test_the_same_detections_do_not_differ():
    truth, found, patients = detections(1, 0.7)
    told = froc_difference(froc(found, truth), froc(found, truth), patients, draws=20)
    assert (told.mean, told.low, told.high, told.p) == (0, 0, 0, 1)


def test_a_clear_difference_is_told_so():
    truth, good, patients = detections(1, 1.0)
    _, bad, _ = detections(2, 0.2)
    told = froc_difference(froc(good, truth), froc(bad, truth), patients, draws=100)
    assert told.low > 0 and told.p == pytest.approx(0.01)


def test_other_images_or_lost_patients_are_refused():
    truth, found, patients = detections(1, 0.7)
    less = {name: boxes for name, boxes in truth.items() if name != "3"}
    other = froc({name: found[name] for name in less}, less)
    with pytest.raises(InputError, match="same images"):
        froc_difference(froc(found, truth), other, patients)
    del patients["3"]
    with pytest.raises(InputError, match="'3'"):
        froc_difference(froc(found, truth), froc(found, truth), patients)
