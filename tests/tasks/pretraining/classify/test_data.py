import io
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from thirdaxis.data.photographs.decode import decode
from thirdaxis.data.photographs.parts import read_photographs
from thirdaxis.data.photographs.views import steady_view
from thirdaxis.tasks.feed import ItemSampler, shuffled
from thirdaxis.tasks.pretraining.classify.data import (
    NOBODY,
    HeldViews,
    PhotographData,
    TrainingViews,
    together,
)
from thirdaxis.tasks.settings_files import make_settings


@pytest.fixture
def damaged(levels, tmp_path):
    """The pictures with two cut short in training, one held out, one in CMYK and one in grey."""
    root = tmp_path / "damaged"
    shutil.copytree(levels, root)
    for name in ("train/dark/6.jpg", "train/dark/7.jpg", "val/bright/0.jpg"):
        content = (root / name).read_bytes()
        (root / name).write_bytes(content[: len(content) // 2])
    for name, mode in (("train/bright/0.jpg", "CMYK"), ("val/dark/0.jpg", "L")):
        content = (root / name).read_bytes()
        Image.open(io.BytesIO(content)).convert(mode).save(root / name)
    return root


@pytest.fixture
def settings(pretrain_values):
    return make_settings(pretrain_values | {"damaged": 0.1}, "test")


def test_an_item_is_the_same_whenever_and_wherever_it_is_asked_for(levels, settings):
    training, _ = read_photographs(str(levels))
    views = TrainingViews(training, settings, 0)
    before = torch.random.get_rng_state()
    first = [views[item] for item in (0, 5, 29)]
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(123)
    again = TrainingViews(training, settings, 0)
    for item, one in zip((29, 5, 0), reversed(first), strict=True):
        other = again[item]
        assert torch.equal(one["image"], other["image"]) and one["truth"] == other["truth"]
    assert not torch.equal(views[5]["image"], views[5 + 24]["image"])


def test_every_pass_sees_each_picture_once_in_an_order_of_its_own(levels, settings):
    training, _ = read_photographs(str(levels))
    views = TrainingViews(training, settings, 0)
    seen = []
    views.view = lambda picture: picture.float().mean().reshape(1)
    for around in (0, 1):
        means = [float(views[24 * around + item]["image"]) for item in range(24)]
        assert len(set(means)) == 24
        seen.append(means)
    assert sorted(seen[0]) == sorted(seen[1]) and seen[0] != seen[1]


def test_devices_share_the_pictures_of_an_epoch_without_overlap(levels, settings):
    training, _ = read_photographs(str(levels))
    views = TrainingViews(training, settings, 0)
    views.view = lambda picture: picture.float().mean().reshape(1)
    means = []
    for rank in range(3):
        sampler = ItemSampler(24, rank, 3)
        means.append({float(views[item]["image"]) for item in sampler})
    assert [len(own) for own in means] == [8, 8, 8] and len(set.union(*means)) == 24


def test_a_damaged_picture_is_replaced_by_the_next_and_told(damaged, settings):
    training, held = read_photographs(str(damaged))
    views = TrainingViews(training, settings, 2)
    samples = [views[item] for item in range(24)]
    wanted = {str(damaged / "train" / "dark" / f"{n}.jpg") for n in (6, 7)}
    told = {name for sample in samples for name in sample["damaged"]}
    assert told == wanted
    # The two are the last of the class dark, 1: the next picture is one of middling, 2.
    truths = [int(sample["truth"]) for sample in samples]
    assert np.bincount(truths).tolist() == [8, 6, 10]
    assert {truths[n] for n, sample in enumerate(samples) if sample["damaged"]} == {2}
    converted = {name for sample in samples for name in sample["converted"]}
    assert converted == {str(damaged / "train" / "bright" / "0.jpg")}
    held_samples = [HeldViews(held, settings)[n] for n in range(15)]
    nobody = [sample for sample in held_samples if sample["truth"] == NOBODY]
    assert [list(sample["damaged"]) for sample in nobody] == [[str(damaged / "val/bright/0.jpg")]]
    assert sum(len(sample["converted"]) for sample in held_samples) == 1


def test_more_damaged_pictures_in_a_row_than_allowed_are_told_not_searched(damaged, settings):
    training, _ = read_photographs(str(damaged))
    views = TrainingViews(training, settings, 1)
    first = next(
        n for n in range(24) if training.name(n).endswith("dark/6.jpg")
    )  # and the next one is 7.jpg
    item = next(i for i in range(24) if shuffled(i, 24, settings.seed) == first)
    sample = views[item]
    assert len(sample["damaged"]) == 2 and sample["truth"] == NOBODY
    assert (sample["image"] == 0).all()


def test_held_out_pictures_count_once_over_devices(levels, settings):
    _, held = read_photographs(str(levels))
    truths = []
    for rank in range(4):
        views = HeldViews(held, settings, rank, 4)
        assert len(views) == 4
        truths += [int(views[n]["truth"]) for n in range(4)]
    assert np.bincount([t for t in truths if t != NOBODY]).tolist() == [5, 5, 5]
    assert truths.count(NOBODY) == 1


def test_held_out_pictures_are_seen_by_their_middle(levels, settings):
    _, held = read_photographs(str(levels))
    mean, deviation = settings.normalisation()
    view = steady_view(32, "resized_crop", mean=mean, deviation=deviation, volume=True)
    sample = HeldViews(held, settings)[3]
    assert torch.equal(sample["image"], view(decode(held.content(3))[0]))
    assert mean == [114.495] * 3 and deviation == [57.63] * 3


def test_batches_carry_words_beside_tensors(damaged, settings):
    training, held = read_photographs(str(damaged))
    data = PhotographData(training, held, settings, 2)
    batches = list(data.train_dataloader())
    assert [batch["image"].shape for batch in batches] == [(8, 1, 3, 32, 32)] * 3
    assert len({name for batch in batches for name in batch["damaged"]}) == 2
    assert together([HeldViews(held, settings)[5]])["truth"].tolist() == [1]
    assert sum(len(batch["truth"]) for batch in data.val_dataloader()) == 15
