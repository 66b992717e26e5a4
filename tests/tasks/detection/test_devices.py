import csv

import pytest
import torch

from thirdaxis.tasks import runs
from thirdaxis.tasks.keep import read_checkpoint
from thirdaxis.tasks.settings_files import make_settings


@pytest.mark.slow
def test_two_processes_train_the_same_steps_as_one(tmp_path, make_deeplesion, small_detector):
    """Two devices with a slice each step as one that adds up the gradients of two slices.

    Norms and losses are then of the same slices. There are so few anchors and proposals that all
    are taken, and no choice among them depends on the device. What each device has seen of running
    statistics differs, so validation does too.
    """
    data = make_deeplesion(tmp_path / "data", (1, 1, 1, 1, 2, 2, 2, 3))
    few = {"size": 32, "anchors": [24], "ratios": [1], "optimiser": "sgd", "epochs": 1}
    told = small_detector | few | {"data": str(data), "epoch_steps": 2}
    alone = {"batch": 1, "accumulate": 2}
    for name, values in (("one", alone), ("two", {"batch": 2, "devices": 2})):
        runs.train(make_settings(told | values, "test"), tmp_path / name)
    one, two = (read_checkpoint(tmp_path / name / "last.ckpt") for name in ("one", "two"))
    assert one["global_step"] == two["global_step"] == 2
    for name, value in one["state_dict"].items():
        if "running_" not in name and "num_batches" not in name:
            torch.testing.assert_close(two["state_dict"][name], value, rtol=1e-4, atol=1e-6)
    losses = []
    for name in ("one", "two"):
        with (tmp_path / name / "metrics.csv").open(encoding="utf-8") as stream:
            (row,) = csv.DictReader(stream)
        losses.append(float(row["train_loss"]))
        assert 0 <= float(row["val_froc"]) <= 1
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
