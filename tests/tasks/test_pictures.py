import math

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from thirdaxis.data.volume import Volume
from thirdaxis.tasks.pictures import draw_curves, draw_overlay


@pytest.fixture
def scan():
    affine = torch.diag(torch.tensor([2.0, 1.0, 1.0, 1.0], dtype=torch.float64))
    # (d, h, w) run to (z, y, x)
    affine = affine[[2, 1, 0, 3]].clone()
    affine[:3, :3] = torch.tensor([[0, 0, 1.0], [0, 1, 0], [2, 0, 0]], dtype=torch.float64)
    return Volume(torch.randn(1, 6, 20, 24), affine)


def orange(path) -> int:
    """How many pixels have the colour of a predicted outline."""
    red, green, blue = (imread(path)[..., channel] for channel in range(3))
    return int(((red > 0.9) & (abs(green - 0.478) < 0.1) & (blue < 0.3)).sum())


def test_outlines_of_truth_and_prediction_are_drawn(scan, tmp_path):
    found = torch.zeros(6, 20, 24, dtype=torch.int16)
    nothing = found.clone()
    found[2:4, 5:12, 6:15] = 1
    draw_overlay(scan, found, found.roll(2, 1), "a case", tmp_path / "both.png")
    draw_overlay(scan, found, None, "a case", tmp_path / "one.png")
    draw_overlay(scan, nothing, nothing, "empty", tmp_path / "none.png")
    # The legend's line is orange too.
    assert orange(tmp_path / "one.png") > orange(tmp_path / "none.png") + 200
    assert orange(tmp_path / "both.png") > orange(tmp_path / "none.png") + 200
    assert len(list(tmp_path.iterdir())) == 3


def test_curves_take_epochs_without_validation(tmp_path):
    rows = [
        {"epoch": float(n), "train_loss": 1 / (n + 1), "val_dice": n / 10 if n % 2 else math.nan}
        for n in range(6)
    ]
    draw_curves(rows, tmp_path / "curves.png")
    assert np.ptp(imread(tmp_path / "curves.png")[..., 0]) > 0.5


def test_an_unwritable_picture_leaves_nothing(scan, tmp_path):
    with pytest.raises(OSError):
        draw_curves([{"epoch": 0, "train_loss": 1, "val_dice": 0}], tmp_path / "no" / "c.png")
    assert list(tmp_path.iterdir()) == []
