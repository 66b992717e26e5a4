import math

import numpy as np
import pytest
import torch

from thirdaxis.data.lesions.key_slice import KeySlice
from thirdaxis.data.lesions.rle import encoded
from thirdaxis.tasks.detection.data import DetectData, HeldSlices, Slices, TrainingSlices, together
from thirdaxis.tasks.detection.module import on_slice
from thirdaxis.tasks.detection.plan import DetectPlan, detect_plan_from
from thirdaxis.tasks.settings_files import make_settings


def told(**values):
    return make_settings({"task": "detect", "data": "d", "size": 64, **values}, "test")


def slice_of(number, boxes=((8.0, 6.0, 19.0, 15.0),), spacing=5.0, size=(48, 64)):
    marks = torch.tensor(boxes).reshape(-1, 4)
    return KeySlice(f"s/{number}", f"p{number}", marks, size, (spacing, 0.8, 0.8))


def read(one, depth, interval):
    """HU that tell the slice, the interval that was asked for, and the place in the stack."""
    asked = 0 if interval is None else interval
    place = np.arange(depth, dtype=np.float32)[:, None, None] * 100
    return np.broadcast_to(place + 10 * asked + int(one.name[2:]), (depth, *one.size)).copy()


def slices(*every, masks=None, **values):
    plan = DetectPlan.of(told(masks=masks is not None, **values))
    return Slices(every, read, plan, masks or {})


@pytest.mark.parametrize(
    ("fusion", "spacing", "asked", "thickness"),
    [
        ("tsm", 5.0, 2.0, 2.0),
        ("tsm", 1.0, 2.0, 2.0),
        ("alignshift", 5.0, None, 5.0),
        ("alignshift", 2.0, None, 2.0),
        ("alignshift", 1.0, 2.0, 2.0),
        ("alignshift", math.nan, 2.0, math.nan),
        ("tsm", math.nan, 2.0, math.nan),
    ],
)
def test_what_is_read_and_what_the_operator_is_told(fusion, spacing, asked, thickness):
    window = (0.0, 2550.0)
    found = slices(slice_of(3, spacing=spacing), fusion=fusion, window=window, grey=(-50, 205))
    sample = found.sample(0)
    wanted = [(100 * place + 10 * (asked or 0) + 3) / 10 - 50 for place in range(3)]
    assert sample["image"][0, :, 0, 0].tolist() == pytest.approx(wanted)
    assert float(sample["thickness"]) == pytest.approx(thickness, nan_ok=True)


def test_an_interval_may_be_told():
    assert DetectPlan.of(told(interval=2.5)).neighbours(5.0) == (2.5, 2.5)
    assert DetectPlan.of(told(interval="native")).neighbours(3.0) == (None, 3.0)
    assert DetectPlan.of(told(fusion="alignshift", interval=2.5)).neighbours(5.0) == (2.5, 2.5)


@pytest.mark.parametrize("interval", [2.5, "native"])
def test_a_plan_is_read_back(interval):
    plan = DetectPlan.of(told(interval=interval, depth=7), slices=4, lesions=6)
    assert detect_plan_from(plan.plain()) == plan and plan.side == 64
    assert DetectPlan.of(told(size=50)).side == 64


def test_windows_are_cut_and_scaled():
    plan = DetectPlan.of(told())
    grey = plan.grey_of(torch.tensor([-3000.0, -1024, 513, 2050, 9000]))
    assert grey.tolist() == pytest.approx([-50, -50, 77.5, 205, 205])


def test_targets_are_what_was_marked_and_the_way_back_is_exact():
    mask = np.zeros((48, 64), np.uint8)
    mask[6:16, 8:20] = 1
    one = slice_of(1)
    found = slices(one, masks={one.name: [encoded(mask)]}, size=32)
    sample = found.sample(0)
    assert sample["image"].shape == (1, 3, 32, 32)
    target = sample["target"]
    assert target["boxes"].tolist() == [[4, 3, 9, 7]] and target["labels"].tolist() == [1]
    assert target["masks"].shape == (1, 32, 32) and target["masks"].sum() == 6 * 5
    assert all(type(value) is torch.Tensor for value in (*target.values(), sample["image"]))
    scored = {"boxes": target["boxes"], "scores": torch.tensor([0.5])}
    boxes, scores = on_slice(scored, one, found.plan)
    torch.testing.assert_close(boxes, one.boxes)
    assert scores.tolist() == [0.5]


def test_boxes_end_at_the_slice_and_none_lie_in_the_padding():
    one, plan = slice_of(1), DetectPlan.of(told())  # 48 × 64 pixels in 64 × 64
    seen = torch.tensor([[50.0, 40, 70, 60], [5, 50, 20, 63], [-3, -2, 9, 9]])
    boxes, scores = on_slice({"boxes": seen, "scores": torch.tensor([0.9, 0.8, 0.7])}, one, plan)
    assert boxes.tolist() == [[50, 40, 63, 47], [0, 0, 9, 9]]
    torch.testing.assert_close(scores, torch.tensor([0.9, 0.7]))


def test_slices_without_a_lesion_are_targets_too():
    masks = {"s/1": [encoded(np.ones((48, 64), np.uint8))], "s/2": []}
    found = slices(slice_of(1), slice_of(2, ()), masks=masks)
    batch = together([found.sample(0), found.sample(1, "deeplesion", 3)])
    assert batch["image"].shape == (2, 1, 3, 64, 64) and batch["thickness"].shape == (2,)
    empty = batch["targets"][1]
    assert empty["boxes"].shape == (0, 4) and empty["labels"].shape == (0,)
    assert empty["masks"].shape == (0, 64, 64) and empty["masks"].dtype == torch.uint8
    assert "masks" not in slices(slice_of(1)).sample(0)["target"]


def test_items_are_functions_of_their_number():
    found = slices(*(slice_of(number) for number in range(5)))
    samples, others = (TrainingSlices(found, told(seed=seed)) for seed in (0, 1))
    first, again = samples[7], TrainingSlices(found, told(seed=0))[7]
    assert torch.equal(first["image"], again["image"])
    assert torch.equal(first["target"]["boxes"], again["target"]["boxes"])
    images = [samples[item]["image"][0, 0].mean() for item in range(5)]
    assert len({round(float(image), 4) for image in images}) == 5  # each slice once
    assert any(
        not torch.equal(samples[n]["target"]["boxes"], others[n]["target"]["boxes"])
        for n in range(5)
    )


def test_sizes_are_drawn_for_each_step():
    found = slices(*(slice_of(number) for number in range(5)))
    drawn = TrainingSlices(found, told(scales=[32, 64, 96], batch=4, augment="none"))
    sides = [drawn[item]["image"].shape[-1] for item in range(48)]
    steps = [set(sides[start : start + 4]) for start in range(0, 48, 4)]
    assert all(len(step) == 1 for step in steps) and set.union(*steps) == {32, 64, 96}
    for item in range(0, 48, 4):
        sample = drawn[item]
        box = sample["target"]["boxes"][0] * 64 / sample["image"].shape[-1]
        assert box.tolist() == pytest.approx([8, 6, 19, 15], abs=1.5)
    assert found.sample(0)["image"].shape[-1] == 64  # what is judged has one size


def test_batches_of_a_run():
    found = slices(*(slice_of(number) for number in range(5)))
    data = DetectData(found, found, told(batch=2, masks=False, augment="none"))
    assert [len(batch["targets"]) for batch in data.train_dataloader()] == [2, 2, 2]
    held = [number for batch in data.val_dataloader() for number in batch["number"].tolist()]
    assert held == list(range(5))
    assert DetectData(found, None, told(batch=2)).val_dataloader() == []
    assert {one["number"] for rank in (0, 1) for one in HeldSlices(found, rank, 2)} == set(range(5))
