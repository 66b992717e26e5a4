import numpy as np
import pytest
import torch

from thirdaxis.nets.lesion.heads import Heads, box_losses, dice_loss
from thirdaxis.nets.lesion.settings import DetectorSettings


@pytest.fixture
def settings() -> DetectorSettings:
    return DetectorSettings(width=4, hidden=8, mask_width=4)


def test_dice_loss_against_its_formula():
    rng = np.random.default_rng(0)
    logits, masks = rng.normal(size=(3, 5, 6)), rng.integers(0, 2, (3, 5, 6))
    masks[2] = 0
    found = 1 / (1 + np.exp(-logits))
    each = [
        1 - (2 * (p * t).sum() + 0.01) / (p.sum() + t.sum() + 0.01)
        for p, t in zip(found, masks, strict=True)
    ]
    lost = dice_loss(torch.from_numpy(logits), torch.from_numpy(masks))
    assert lost.item() == pytest.approx(np.mean(each))
    assert len({round(value, 3) for value in each}) == 3  # not one mean over all pixels


def test_dice_loss_of_perfect_and_of_no_masks():
    masks = torch.zeros(2, 4, 4)
    masks[:, 1:3, 1:3] = 1
    assert dice_loss(200 * masks - 100, masks).item() == pytest.approx(0, abs=1e-6)
    none = torch.zeros(0, 4, 4, requires_grad=True)
    lost = dice_loss(none, none)
    lost.backward()
    assert lost.item() == 0 and none.grad is not None


def test_box_losses_against_numpy():
    rng = np.random.default_rng(0)
    scores, moves, targets = (
        rng.normal(size=(6, 2)),
        rng.normal(size=(6, 8)),
        rng.normal(size=(6, 4)),
    )
    labels = np.array([0, 1, 1, 0, 0, 0])
    shares = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    by_class = -np.log(shares[range(6), labels]).mean()
    by_box = 0.0
    for i in (1, 2):
        off = np.abs(moves[i, 4:] - targets[i])
        by_box += np.where(off < 1, off**2 / 2, off - 0.5).sum()
    given = [torch.from_numpy(x) for x in (scores, moves, labels, targets)]
    found = [x.item() for x in box_losses(*given)]
    assert found == pytest.approx([by_class, by_box / 6])
    given[2] = torch.zeros(6, dtype=torch.int64)
    assert box_losses(*given)[1].item() == 0


def test_regions_are_matched_and_sampled_as_the_papers_do(settings):
    torch.manual_seed(0)
    heads = Heads(settings)
    lesion = torch.tensor([[20.0, 20, 40, 40], [60, 60, 80, 90]])
    corner = torch.rand(400, 2) * 30 + 10
    regions = torch.cat([corner, corner + 12 + 12 * torch.rand(400, 2)], 1)
    target = {"boxes": lesion, "labels": torch.ones(2, dtype=torch.int64)}
    target["masks"] = torch.zeros(2, 100, 100, dtype=torch.uint8)
    [taken], [which], [labels], [moves] = heads.select_training_samples([regions], [target])
    assert len(taken) == 64 and labels.sum() == 16
    for box, lesion_of, label, move in zip(taken, which, labels, moves, strict=True):
        shares = []
        for one in lesion:
            shared = (torch.minimum(box[2:], one[2:]) - torch.maximum(box[:2], one[:2])).clamp(
                min=0
            )
            areas = (box[2:] - box[:2]).prod() + (one[2:] - one[:2]).prod()
            shares.append((shared.prod() / (areas - shared.prod())).item())
        assert label == (max(shares) >= 0.5)
        if label:
            assert lesion_of == np.argmax(shares)
            side, wanted = box[2:] - box[:2], lesion[lesion_of]
            middle = (wanted[:2] + wanted[2:] - box[:2] - box[2:]) / 2 / side / 0.1
            torch.testing.assert_close(move[:2], middle)
            size = ((wanted[2:] - wanted[:2]) / side).log() / 0.2
            torch.testing.assert_close(move[2:], size)


def test_a_lesion_that_no_proposal_meets_is_learned_from_its_own_box(settings):
    heads = Heads(settings)
    target = {"boxes": torch.tensor([[20.0, 20, 40, 40]]), "labels": torch.ones(1).long()}
    target["masks"] = torch.ones(1, 64, 64, dtype=torch.uint8)
    [taken], _, [labels], _ = heads.select_training_samples([torch.zeros(0, 4)], [target])
    assert taken.tolist() == [[20, 20, 40, 40]] and labels.tolist() == [1]


def test_detections_are_thresholded_suppressed_clipped_and_counted(settings, monkeypatch):
    heads = Heads(
        DetectorSettings(width=4, hidden=8, masks=False, score_threshold=0.1, most=3)
    ).eval()
    boxes = torch.tensor(
        [[0.0, 0, 20, 20], [0, 0, 20, 18], [30, 30, 50, 50], [0, 40, 10, 70], [40, 0, 60, 20],
         [10, 30, 20, 40]]
    )  # fmt: skip
    shares = torch.tensor([0.8, 0.9, 0.05, 0.3, 0.2, 0.15])
    scores = torch.stack([torch.zeros(6), torch.logit(shares)], 1)
    monkeypatch.setattr(heads, "_boxes", lambda image, regions: (scores, torch.zeros(6, 8)))
    [found] = heads.detections(torch.zeros(1, 4, 16, 16), [boxes], (64, 64))
    # the first overlaps the second by 0.9, the third scores too little, the sixth is the fourth one
    torch.testing.assert_close(found["scores"], torch.tensor([0.9, 0.3, 0.2]))
    torch.testing.assert_close(
        found["boxes"], torch.tensor([[0.0, 0, 20, 18], [0, 40, 10, 64], [40, 0, 60, 20]])
    )
    assert "masks" not in found


def test_masks_lie_in_their_boxes(settings, monkeypatch):
    heads = Heads(settings).eval()
    boxes = torch.tensor([[8.0, 16, 36, 44]])
    logits = torch.full((1, 28, 28), -9.0)
    logits[:, :, 14:] = 9.0
    monkeypatch.setattr(heads, "_boxes", lambda *a: (torch.tensor([[0.0, 9]]), torch.zeros(1, 8)))
    monkeypatch.setattr(heads, "_masks", lambda image, regions: logits)
    [found] = heads.detections(torch.zeros(1, 4, 16, 16), [boxes], (64, 60))
    [mask] = found["masks"]
    assert mask.shape == (64, 60) and mask.dtype == torch.uint8
    rows, columns = torch.where(mask)
    # the right half of the box, to the pixel or two that pasting by whole pixels costs
    assert abs(columns.min() - 22) <= 2 and abs(columns.max() - 36) <= 2
    assert abs(rows.min() - 16) <= 2 and abs(rows.max() - 44) <= 2


def test_the_mask_to_learn_is_the_lesion_in_its_region(settings, monkeypatch):
    torch.manual_seed(0)
    heads = Heads(settings)
    box = torch.tensor([[8.0, 16, 36, 44]])
    mask = torch.zeros(1, 64, 64, dtype=torch.uint8)
    mask[0, 16:45, 22:37] = 1  # a box names the pixels at its corners
    target = {"boxes": box, "labels": torch.ones(1, dtype=torch.int64), "masks": mask}
    half = torch.full((1, 28, 28), -50.0)
    half[:, :, 14:] = 50.0
    monkeypatch.setattr(heads, "_masks", lambda image, regions: half)
    image, none = torch.randn(1, 4, 16, 16), torch.zeros(0, 4)
    assert heads.losses(image, [none], [target])["mask"].item() == pytest.approx(0, abs=1e-5)
    monkeypatch.setattr(heads, "_masks", lambda image, regions: -half)
    assert heads.losses(image, [none], [target])["mask"].item() == pytest.approx(1, abs=1e-3)


def test_of_two_classes_the_lesions_channel_learns(settings):
    torch.manual_seed(0)
    heads = Heads(settings)
    mask = torch.ones(1, 64, 64, dtype=torch.uint8)
    target = {"boxes": torch.tensor([[8.0, 16, 36, 44]]), "labels": torch.ones(1).long()}
    target["masks"] = mask
    lost = heads.losses(torch.randn(1, 4, 16, 16), [torch.zeros(0, 4)], [target])
    (lost["mask"] + lost["box"]).backward()
    masks, moves = heads.mask_predictor.mask_fcn_logits, heads.box_predictor.bbox_pred
    assert not masks.weight.grad[0].any() and masks.weight.grad[1].any()
    assert not moves.weight.grad[:4].any()
