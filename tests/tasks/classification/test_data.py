import numpy as np
import pytest
import torch

from thirdaxis.data.intensity import ZScore
from thirdaxis.tasks.classification.crops import Crops
from thirdaxis.tasks.classification.data import (
    HeldBoxes,
    LightChanges,
    TrainingBoxes,
    quarter_turns,
    unchanged,
)


def make_crops(samples: int = 6, margin: int = 1) -> Crops:
    side = 4 + 2 * margin
    boxes = tuple(
        torch.arange(side**3).reshape(1, side, side, side) + 1000.0 * number
        for number in range(samples)
    )
    names = tuple(f"s{number}" for number in range(samples))
    return Crops(names, boxes, margin, (1.5,) * samples, ZScore())


def test_a_box_is_cut_at_its_shift():
    crops = make_crops()
    assert crops.shape == (1, 4, 4, 4)
    assert torch.equal(crops.image(2), crops.boxes[2][:, 1:5, 1:5, 1:5])
    assert torch.equal(crops.image(2, (-1, 0, 1)), crops.boxes[2][:, 0:4, 1:5, 2:6])


def test_items_are_functions_of_seed_and_number():
    truth = torch.tensor([0, 1, 0, 1, 0, 0])
    changes = LightChanges("SPL")
    one, same = (TrainingBoxes(make_crops(), truth, changes, seed=3) for _ in range(2))
    other = TrainingBoxes(make_crops(), truth, changes, seed=4)
    forwards = [one[item]["image"] for item in range(12)]
    backwards = [same[item]["image"] for item in reversed(range(12))][::-1]
    assert all(torch.equal(a, b) for a, b in zip(forwards, backwards, strict=True))
    assert any(not torch.equal(image, other[n]["image"]) for n, image in enumerate(forwards))
    assert [one.sample_of(item) for item in range(12)] != sorted(
        one.sample_of(n) for n in range(12)
    )


def test_each_pass_sees_each_sample_once():
    boxes = TrainingBoxes(make_crops(), torch.arange(6), unchanged, seed=0)
    for around in range(3):
        seen = [boxes[6 * around + item]["truth"] for item in range(6)]
        assert sorted(int(number) for number in seen) == list(range(6))


def test_the_even_sampler_draws_rare_classes_as_often():
    truth = torch.tensor([0, 0, 0, 0, 0, 1])
    boxes = TrainingBoxes(make_crops(), truth, unchanged, seed=0, even=True)
    drawn = [int(truth[boxes.sample_of(item)]) for item in range(400)]
    assert 160 < sum(drawn) < 240
    assert {boxes.sample_of(item) for item in range(400)} == set(range(6))


def test_shifts_stay_in_the_margin_and_reach_its_ends():
    boxes = TrainingBoxes(make_crops(1), torch.zeros(1), unchanged, seed=0)
    corners = {
        tuple(np.unravel_index(int(boxes[n]["image"][0, 0, 0, 0]), (6, 6, 6))) for n in range(300)
    }
    assert corners == {(d, h, w) for d in range(3) for h in range(3) for w in range(3)}


def test_quarter_turns_are_exact_and_many():
    image = torch.randn(1, 3, 3, 3)
    seen = {tuple(quarter_turns(image, seed).flatten().tolist()) for seed in range(3000)}
    # The 48 symmetries of a cube: 24 turns, each also mirrored.
    assert len(seen) == 48
    assert all(sorted(one) == sorted(image.flatten().tolist()) for one in seen)


def test_light_changes_flip_left_and_right_alone():
    image = torch.zeros(1, 8, 8, 8)
    image[0, 0, 0, 0] = 50
    changes = LightChanges("RPS")
    changes.changes.transforms = changes.changes.transforms[:1]
    seen = {tuple(torch.nonzero(changes(image, seed))[0].tolist()) for seed in range(20)}
    assert seen == {(0, 0, 0, 0), (0, 7, 0, 0)}


def test_bytes_become_network_numbers_when_they_are_taken():
    whole = torch.randint(256, (1, 5, 5, 5), dtype=torch.uint8)
    crops = Crops(("a",), (whole,), 0, (1.0,), lambda image: image / 255)
    torch.testing.assert_close(crops.image(0), whole.float() / 255)


@pytest.mark.parametrize("world", [1, 2, 4])
def test_devices_judge_every_sample(world):
    crops = make_crops(5)
    shares = [HeldBoxes(crops, torch.arange(5), rank, world) for rank in range(world)]
    assert len({len(share) for share in shares}) == 1
    seen = {share[index]["number"] for share in shares for index in range(len(share))}
    assert seen == set(range(5))
    row = shares[0][0]
    assert torch.equal(row["image"], crops.image(0)) and row["thickness"] == 1.5
