import numpy as np
import pytest
import torch

from thirdaxis.errors import UsageError
from thirdaxis.tasks.segmentation.loss import SegmentLoss, focal, focal_squared
from thirdaxis.tasks.settings_files import make_settings

CLASSES = 3


def loss_of(classes=CLASSES, **values):
    return SegmentLoss(make_settings({"data": "d", **values}, "test"), classes)


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, CLASSES, 3, 4, 5)).astype(np.float32) * 2
    label = rng.integers(0, CLASSES, (2, 3, 4, 5))
    return torch.from_numpy(logits), torch.from_numpy(label)[:, None]


def by_hand(batch):
    """Softmax (N, C, voxels) and one-hot truth, in NumPy's double precision."""
    logits, label = (tensor.numpy().astype(np.float64) for tensor in batch)
    e = np.exp(logits - logits.max(1, keepdims=True))
    p = (e / e.sum(1, keepdims=True)).reshape(2, CLASSES, -1)
    t = np.stack([label[:, 0] == c for c in range(CLASSES)], 1).reshape(2, CLASSES, -1)
    return p, t.astype(np.float64)


def dice_by_hand(batch, axes, smooth, weights=None, first=0):
    p, t = by_hand(batch)
    one = 1 - (2 * (p * t).sum(axes) + smooth) / (p.sum(axes) + t.sum(axes) + smooth)
    one = one * (1 if weights is None else np.asarray(weights))
    return one[..., first:].mean()


def focal_by_hand(batch, gamma, weights=None):
    p, t = by_hand(batch)
    right = (p * t).sum(1)
    w = (np.ones(CLASSES) if weights is None else np.asarray(weights)) @ t.reshape(
        2, CLASSES, -1
    ).transpose(1, 0, 2).reshape(CLASSES, -1)
    lost = (1 - right.ravel()) ** gamma * -np.log(right.ravel())
    return (w * lost).sum() / w.sum()


def test_dice_of_the_acs_paper_sums_over_the_batch_and_adds_one(batch):
    found = loss_of(loss="dice", dice_smooth=1)(*batch)
    assert float(found) == pytest.approx(dice_by_hand(batch, (0, 2), 1), rel=1e-5)


def test_dice_of_svd_net_is_the_foreground_of_each_sample(batch):
    found = loss_of(loss="dice", dice_over="sample", dice_background=False, dice_smooth=1e-3)
    assert float(found(*batch)) == pytest.approx(dice_by_hand(batch, 2, 1e-3, first=1), rel=1e-5)


@pytest.mark.parametrize("weights", [None, (1.0, 2.0, 5.0)])
def test_cross_entropy_and_focal_loss(batch, weights):
    told = {} if weights is None else {"class_weights": weights}
    for gamma in (1.0, 2.0):
        found = loss_of(loss="focal", focal_gamma=gamma, **told)(*batch)
        assert float(found) == pytest.approx(focal_by_hand(batch, gamma, weights), rel=1e-5)
    found = loss_of(loss="ce", **told)(*batch)
    assert float(found) == pytest.approx(focal_by_hand(batch, 0, weights), rel=1e-5)


@pytest.mark.parametrize(("loss", "gamma"), [("dice_ce", 0), ("dice_focal", 2)])
def test_sums_are_weighted_by_loss_and_by_class(batch, loss, gamma):
    weights = (0.5, 1.0, 3.0)
    found = loss_of(loss=loss, dice_weight=0.3, voxel_weight=1.5, class_weights=weights)(*batch)
    expected = 0.3 * dice_by_hand(batch, (0, 2), 1e-5, weights)
    expected += 1.5 * focal_by_hand(batch, gamma, weights)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_certain_voxels_have_finite_gradients():
    logits = torch.tensor([100.0, -100.0]).reshape(1, 2, 1, 1, 1).requires_grad_()
    focal(logits, torch.zeros(1, 1, 1, 1, dtype=torch.long), 0.5).backward()
    assert logits.grad.isfinite().all()


def test_class_weights_have_to_be_as_many_as_classes():
    with pytest.raises(UsageError, match=r"class_weights \[1.0, 2.0\] are 2, .* has 3 classes"):
        loss_of(class_weights=(1, 2))


def test_the_focal_squared_error_by_hand():
    rng = np.random.default_rng(0)
    heat, target = rng.normal(size=(2, 2, 1, 3, 4, 5)) * 3
    error = (heat - target) ** 2
    weight = (np.log(1 + error) / np.log(1 + 25.0)) ** 2
    given = torch.from_numpy(heat).requires_grad_()
    loss = focal_squared(given, torch.from_numpy(target), 25.0)
    assert loss.item() == pytest.approx((weight * error).mean())
    loss.backward()
    np.testing.assert_allclose(given.grad, weight * 2 * (heat - target) / error.size)
    plain = focal_squared(given, torch.from_numpy(target), 25.0, gamma=0)
    assert plain.item() == pytest.approx(error.mean())


def test_the_focal_squared_error_of_what_is_right_is_nothing():
    heat = torch.ones(1, 1, 2, 2, 2, requires_grad=True)
    loss = focal_squared(heat, torch.ones(1, 1, 2, 2, 2), 1.0)
    loss.backward()
    assert loss.item() == 0 and not heat.grad.any()
    with pytest.raises(UsageError, match="the largest error is positive, got 0"):
        focal_squared(heat, heat, 0)
