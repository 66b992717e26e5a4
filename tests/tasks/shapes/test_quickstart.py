import dataclasses
import json
import math
import re

import numpy as np
import pytest
import torch

import thirdaxis
from thirdaxis.data.shapes import CUBES_AND_BALLS, CubesAndBalls, Shapes2D
from thirdaxis.nets.unet import UNet
from thirdaxis.tasks.shapes.quickstart import (
    STARTS,
    Budget,
    Outcome,
    batches,
    converted,
    mean,
    pretrain,
    run,
    score,
    soft_dice_loss,
)
from thirdaxis.tasks.shapes.quickstart_report import write_report

TINY = Budget(
    images=16, epochs_2d=2, batch_2d=8, test_images=4, volumes=1, epochs_3d=2, test_volumes=1
)


def _loss_written_out(logits, labels):
    """The soft Dice loss class by class and pixel by pixel, in plain numbers."""
    e = np.exp(logits - logits.max(1, keepdims=True))
    p = e / e.sum(1, keepdims=True)
    total = 0.0
    for c in range(logits.shape[1]):
        both = size = 0.0
        for n, i, j in np.ndindex(labels.shape):
            both += p[n, c, i, j] * (labels[n, i, j] == c)
            size += p[n, c, i, j] + (labels[n, i, j] == c)
        if (labels == c).any():
            total += (2 * both + 0.01) / (size + 0.01)
    return 1 - total / logits.shape[1]


@pytest.mark.parametrize("present", [(0, 1, 2, 3), (0, 3)])
def test_loss_against_a_written_out_one(present):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3, 4, 5, 6))
    labels = rng.choice(present, size=(3, 5, 6))
    loss = soft_dice_loss(torch.from_numpy(logits), torch.from_numpy(labels))
    assert loss.item() == pytest.approx(_loss_written_out(logits, labels), abs=1e-12)


def test_loss_of_a_perfect_answer_is_zero_in_volumes_too():
    labels = torch.arange(4).reshape(1, 1, 2, 2).repeat(2, 2, 1, 1)
    logits = 100.0 * torch.nn.functional.one_hot(labels).movedim(-1, 1)
    assert soft_dice_loss(logits, labels).item() == pytest.approx(0, abs=1e-6)


class _Answers(torch.nn.Module):
    """Scores under which the label is what the image's values say."""

    def forward(self, image):
        return torch.nn.functional.one_hot(image[:, 0].long(), 3).movedim(-1, 1).float()


def test_score_counts_over_all_items():
    truth = torch.tensor([[0, 0, 1, 2], [2, 2, 1, 1]])
    said = torch.tensor([[0, 1, 1, 2], [0, 2, 1, 2]])
    data = torch.utils.data.TensorDataset(said[:, None].float(), truth)
    each, union = score(_Answers(), data, 1, background=2)
    assert each == {0: 2 * 1 / (2 + 2), 1: 2 * 2 / (3 + 3)}
    assert union == 2 * 4 / (5 + 5)


def test_batches_hold_every_item_once_in_an_order_of_their_own():
    data = Shapes2D(7, 0)
    plain = torch.cat([image for image, _ in batches(data, 3)])
    assert torch.equal(plain, torch.stack([data[i][0] for i in range(7)]))
    mixed = [image for image, _ in batches(data, 3, torch.Generator().manual_seed(1))]
    assert [len(b) for b in mixed] == [3, 3, 1]
    assert not torch.equal(torch.cat(mixed), plain)
    assert torch.equal(torch.cat(mixed).sum((1, 2, 3)).sort()[0], plain.sum((1, 2, 3)).sort()[0])


def test_the_network_is_handed_over_whole():
    torch.manual_seed(5)
    net2d = UNet(1, 3)
    pretrained, random = converted(net2d, 0), converted(None, 0)
    for name, value in pretrained.state_dict().items():
        assert torch.equal(value, net2d.state_dict()[name])
    assert not torch.equal(pretrained.enc1[0].weight, random.enc1[0].weight)
    assert "acs" in str(thirdaxis.report(pretrained)).lower()


@pytest.fixture(scope="module")
def outcome():
    said = []
    found = run(3, TINY, said.append)
    assert len(said) == 3 + TINY.epochs_2d + 2 * (TINY.epochs_3d + 1)
    return found


def test_the_run_is_complete_and_repeats_itself(outcome):
    assert len(outcome.dice_2d) == 2
    assert set(outcome.curves) == set(outcome.any_solid) == set(STARTS)
    for start in STARTS:
        assert len(outcome.curves[start]) == len(outcome.any_solid[start]) == 3
        finals = outcome.per_class[start]
        assert tuple(finals) == CUBES_AND_BALLS[:-1]
        assert np.nanmean(list(finals.values())) == pytest.approx(outcome.curves[start][-1])
        assert outcome.example[start].shape == (48, 48, 48)
    again = run(3, TINY, lambda _: None)
    assert again.dice_2d == outcome.dice_2d
    np.testing.assert_equal(again.curves, outcome.curves)
    other = Outcome(4, TINY)
    pretrain(4, TINY, other, lambda _: None)
    assert other.dice_2d != outcome.dice_2d


def test_training_and_test_data_are_apart(outcome):
    test_image = outcome.example["image"]
    training = [CubesAndBalls(TINY.volumes, 3002)[i][0][0] for i in range(TINY.volumes)]
    assert not any(torch.equal(test_image, image) for image in training)


def test_a_class_never_seen_is_told_as_such(outcome, tmp_path):
    unseen = dataclasses.replace(
        outcome, per_class={start: {"cube": math.nan, "ball": 0.5} for start in STARTS}
    )
    page = write_report(unseen, tmp_path).read_text(encoding="utf-8")
    assert "<td>–</td>" in page and "nan" not in re.sub(r"base64,[^\"]+", "", page)
    assert json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["per_class"][
        "random"
    ] == {
        "cube": None,
        "ball": 0.5,
    }
    assert mean({0: math.nan, 1: 0.5, 2: 0.25}) == 0.375


def test_the_page_shows_what_was_found(outcome, tmp_path):
    page = write_report(outcome, tmp_path).read_text(encoding="utf-8")
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    np.testing.assert_equal(results["curves"], outcome.curves)
    assert f"{outcome.any_solid['pretrained'][-1]:.3f}" in page
    assert all(f"<td>{name}</td>" in page for name in CUBES_AND_BALLS[:-1])
    pictures = re.findall(r'src="([^"]+)"', page)
    assert [picture.partition(";")[0] for picture in pictures] == [
        "data:image/webp",
        "data:image/svg+xml",
    ]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.html", "results.json"]
