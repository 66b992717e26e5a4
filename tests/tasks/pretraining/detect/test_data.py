import json

import numpy as np
import pytest
import torch
from PIL import Image

from thirdaxis.data.photographs.decode import DamagedPicture
from thirdaxis.tasks.pretraining.detect.cases import read_photographs
from thirdaxis.tasks.pretraining.detect.data import (
    HeldPhotographs,
    Photographs,
    TrainingPhotographs,
    together,
)
from thirdaxis.tasks.settings_files import make_settings


@pytest.fixture
def settings(coco, small_pretraining):
    return make_settings({**small_pretraining, "data": str(coco)}, "test")


def part(settings, number=0):
    return read_photographs(settings, print)[number]


def seen(sample):
    """Which colour lies in each box, and how much of that colour lies outside all boxes."""
    _, slices, _, _ = sample["image"].shape
    assert slices == 3
    bright = sample["image"][0] > 0.5
    found, outside = [], bright.clone()
    for x1, y1, x2, y2 in sample["target"]["boxes"].round().int().tolist():
        inner = bright[:, y1 + 1 : y2 - 1, x1 + 1 : x2 - 1].float().mean((1, 2))
        found.append(int(inner.argmax()))
        assert inner.max() == 1 and inner.sort().values[1] == 0
        outside[:, max(y1 - 1, 0) : y2 + 1, max(x1 - 1, 0) : x2 + 1] = False
    return found, int(outside.sum())


def test_boxes_stay_on_what_they_mark_however_pictures_are_varied(settings):
    pictures = Photographs(part(settings), settings, training=True)
    sides, mirrored = set(), set()
    for number in range(len(pictures) - 1):
        for seed in range(6):
            sample = pictures.sample(number, seed)
            channels, outside = seen(sample)
            # Red is label 1 and the first slice, blue label 2 and the last.
            assert [{0: 1, 2: 2}[c] for c in channels] == sample["target"]["labels"].tolist()
            assert outside == 0
            height, width = sample["image"].shape[-2:]
            sides.add(max(height, width))
            mirrored.add(bool(sample["target"]["boxes"][0, 0] > width / 2 - 1))
            h, w = pictures.coco.pictures[number].size
            assert abs(height / width - h / w) < 0.05
    assert sides == {48, 64} and mirrored == {True, False}


def test_held_out_pictures_are_resized_alone(settings):
    pictures = Photographs(part(settings, 1), settings, training=False)
    for number, one in enumerate(pictures.coco.pictures):
        sample = pictures.sample(number)
        assert max(sample["image"].shape[-2:]) == 64
        scale = 64 / max(one.size)
        torch.testing.assert_close(
            sample["target"]["boxes"], torch.from_numpy(one.boxes) * scale, atol=0.6, rtol=0.02
        )
        assert torch.equal(sample["image"], pictures.sample(number, 5)["image"])


def test_boxes_around_crowds_are_not_learnt(settings):
    coco = part(settings)
    crowd = len(coco.pictures) - 1
    assert coco.pictures[crowd].crowds.all() and len(coco.pictures[crowd].boxes)
    pictures = Photographs(coco, settings, training=True)
    assert len(pictures.sample(crowd)["target"]["boxes"]) == 0


def test_colours_become_slices_of_normalised_grey(settings, tmp_path):
    told = settings.model_copy(update={"mean": (100.0,), "deviation": (10.0,), "flip": False})
    coco = part(told)
    one = coco.pictures[0]
    pixels = np.broadcast_to(np.uint8([100, 110, 90]), (*one.size, 3))
    Image.fromarray(np.ascontiguousarray(pixels)).save(tmp_path / one.name)
    moved = type(coco)((one,), coco.categories, tmp_path, "test")
    image = Photographs(moved, told, training=True).sample(0)["image"]
    assert image.shape[:2] == (1, 3)
    assert image.flatten(2).unique(dim=2)[0, :, 0].tolist() == [0, 1, -1]
    shuffled = told.model_copy(update={"shuffle_channels": True})
    train, held = (Photographs(moved, shuffled, training=t) for t in (True, False))
    orders = {tuple(train.sample(0, seed)["image"][0, :, 0, 0].tolist()) for seed in range(20)}
    assert len(orders) > 3 and all(sorted(order) == [-1, 0, 1] for order in orders)
    assert held.sample(0, 3)["image"][0, :, 0, 0].tolist() == [0, 1, -1]


def test_a_sample_is_a_function_of_its_number_and_leaves_chance_alone(settings):
    samples = TrainingPhotographs(Photographs(part(settings), settings, training=True), 7, 0)
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    one = [samples[item]["image"] for item in range(30)]
    assert torch.equal(torch.rand(1), expected)
    torch.manual_seed(5)
    other = [samples[item]["image"] for item in range(30)]
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert len({x.sum().item() for x in one}) > 8


def test_a_batch_is_padded_at_the_right_and_below_to_multiples_of_64(settings):
    pictures = Photographs(part(settings, 1), settings, training=False)
    samples = [HeldPhotographs(pictures)[number] for number in range(2)]
    batch = together(samples)
    assert batch["image"].shape == (2, 1, 3, 64, 64)
    for image, (height, width), sample in zip(
        batch["image"], batch["fitted"].tolist(), samples, strict=True
    ):
        assert torch.equal(image[..., :height, :width], sample["image"])
        assert not image[..., height:, :].any() and not image[..., width:].any()
    assert batch["number"].tolist() == [0, 1] and batch["damaged"] == {}
    high, wide = ({**samples[0], "image": torch.ones(1, 3, *size)} for size in ((65, 30), (20, 64)))
    assert together([high, wide])["image"].shape == (2, 1, 3, 128, 64)


@pytest.fixture
def spoilt(make_coco, small_pretraining, tmp_path):
    """A set of which some pictures are damaged after it was made."""
    root = make_coco(tmp_path / "set", {"train2017": 6, "val2017": 3})
    settings = make_settings({**small_pretraining, "data": str(root)}, "test")
    for folder in ("train2017", "val2017"):
        file = root / folder / "001.png"
        file.write_bytes(file.read_bytes()[:-200])
    return root, settings


def test_a_damaged_picture_is_stood_in_for_by_the_next_and_told(spoilt):
    root, settings = spoilt
    training = Photographs(part(settings), settings, training=True)
    with pytest.raises(DamagedPicture):
        training.sample(1)
    samples = [TrainingPhotographs(training, 0, 2)[item] for item in range(6)]
    assert list(together(samples)["damaged"]) == [str(root / "train2017" / "001.png")]
    assert sum(bool(one["damaged"]) for one in samples) == 1
    (held,) = (
        one
        for one in map(
            HeldPhotographs(Photographs(part(settings, 1), settings, training=False)).__getitem__,
            range(3),
        )
        if one["damaged"]
    )
    assert held["number"] == 1 and not held["image"].any()


def test_pictures_of_another_size_than_told_are_damaged(spoilt):
    root, settings = spoilt
    Image.new("RGB", (33, 44)).save(root / "train2017" / "000.png")
    with pytest.raises(DamagedPicture, match="is 33 x 44 pixels large, .* says"):
        Photographs(part(settings), settings, training=True).sample(0)


def test_of_many_damaged_pictures_no_more_than_told_are_looked_at(spoilt):
    root, settings = spoilt
    for file in (root / "train2017").iterdir():
        file.write_bytes(b"no picture")
    pictures = Photographs(part(settings), settings, training=True)
    (root / "train2017" / "002.png").unlink()
    for most, count in ((2, 3), (50, 6)):
        sample = TrainingPhotographs(pictures, 0, most)[0]
        assert len(sample["damaged"]) == count and len(sample["target"]["boxes"]) == 0
        assert set(sample["damaged"].values()) <= {"not a picture", "No such file or directory"}


@pytest.mark.parametrize("mode", ["L", "CMYK", "P", "LA"])
def test_grey_and_other_pictures_become_three_slices(settings, tmp_path, mode):
    coco = part(settings)
    one = coco.pictures[0]
    name = {"CMYK": "x.jpg"}.get(mode, "x.png")
    grey = Image.new("L", one.size[::-1], 200)
    (grey.convert("RGB") if mode == "CMYK" else grey).convert(mode).save(tmp_path / name)
    told = type(one)(name, one.size, one.boxes, one.labels, one.crowds)
    moved = type(coco)((told,), coco.categories, tmp_path, "test")
    sample = Photographs(moved, settings, training=False).sample(0)
    image = sample["image"]
    assert image.shape[:2] == (1, 3) and sample["converted"] == [str(tmp_path / name)]
    expected = torch.full_like(image, (200 - 114.495) / 57.63)
    torch.testing.assert_close(image, expected, atol=0.05, rtol=0)


def test_made_sets_are_what_their_files_say(coco):
    told = json.loads((coco / "annotations" / "instances_train2017.json").read_text("utf-8"))
    assert len(told["images"]) == 8 and {a["category_id"] for a in told["annotations"]} == {5, 9}
