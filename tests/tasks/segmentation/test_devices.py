import csv
import subprocess
import sys

import pytest
import torch
from torch import nn

from thirdaxis.errors import UsageError
from thirdaxis.tasks.hardware import has_idle_weights, pick_accelerator, pick_precision
from thirdaxis.tasks.keep import read_checkpoint
from thirdaxis.tasks.segmentation.data import SegmentData, WholeVolumes
from thirdaxis.tasks.segmentation.plan import Plan
from thirdaxis.tasks.segmentation.prepare import Prepared
from thirdaxis.tasks.settings_files import make_settings


@pytest.mark.slow
def test_two_processes_train_the_same_steps_as_one(tmp_path, make_phantoms, phantom_settings):
    data = make_phantoms(tmp_path / "data", 7)  # three held-out cases do not divide by two
    values = phantom_settings | {"devices": 2, "patch": "8,16,16", "epoch_steps": 2}
    command = [sys.executable, "-m", "thirdaxis", "train", str(data), "-o", str(tmp_path / "two")]
    for name, value in values.items():
        command += ["--set", f"{name}={value}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    checkpoint = read_checkpoint(tmp_path / "two" / "last.ckpt")
    assert checkpoint["epoch"] == 1 and checkpoint["global_step"] == 4
    with (tmp_path / "two" / "metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["step"] for row in rows] == ["2", "4"]
    with (tmp_path / "two" / "validation" / "scores.csv").open() as stream:
        cases = [row["case"] for row in csv.DictReader(stream)]
    assert len(cases) == len(set(cases)) == 3
    # The devices' Dice on the network's grid, each case once, is that of the written label maps.
    best = max(float(row["val_dice"]) for row in rows)
    assert f"Dice {best:.4f}" in done.stdout.splitlines()[-1]


def test_devices_validate_every_case_and_equally_many():
    cases = [
        Prepared(str(n), torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 2, 2), (1, 1, 1))
        for n in range(5)
    ]
    shares = [WholeVolumes(cases, rank, 2) for rank in range(2)]
    assert [len(share) for share in shares] == [3, 3]
    assert {share[i]["number"] for share in shares for i in range(3)} == set(range(5))
    assert len(WholeVolumes(cases[:1], 1, 2)) == 1


def test_batches_of_one_device_have_the_settings_shape():
    settings = make_settings({"data": "d", "patch": (4, 6, 8), "batch": 3}, "test")
    plan = Plan({0: "background", 1: "one"}, ("CT",), None, 1.0, (4, 6, 8))
    image, label = torch.randn(1, 9, 9, 9), torch.ones(1, 9, 9, 9, dtype=torch.int16)
    cases = [Prepared(str(n), image, label, (1, 1, 1)) for n in range(4)]
    data = SegmentData(cases, cases[:1], settings, plan)
    batches = list(data.train_dataloader())
    assert len(batches) == 3  # four volumes twice, in batches of three
    assert all(batch["image"].shape == (3, 1, 4, 6, 8) for batch in batches)


class TwoHeads(nn.Module):
    def __init__(self, use_both: bool) -> None:
        super().__init__()
        self.use_both = use_both
        self.main, self.auxiliary = nn.Conv3d(1, 2, 1), nn.Conv3d(1, 2, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        answer = self.main(image)
        return answer + self.auxiliary(image) if self.use_both else answer


@pytest.mark.parametrize("use_both", [True, False])
def test_idle_weights_are_found_and_gradients_left_alone(use_both):
    net = TwoHeads(use_both)
    net.main.weight.grad = torch.full_like(net.main.weight, 7.0)
    assert has_idle_weights(net, (1, 2, 2, 2)) is not use_both
    assert (net.main.weight.grad == 7).all() and net.auxiliary.weight.grad is None
    assert net.training


def test_precision_and_accelerator_without_a_graphics_card(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert pick_accelerator("auto", 1) == "cpu"
    with pytest.raises(UsageError, match="torch sees 0"):
        pick_accelerator("gpu", 1)
    assert pick_precision("auto", "cpu") == "32-true"
    assert pick_precision("bf16-mixed", "cpu") == "bf16-mixed"
    assert pick_precision("32", "gpu") == "32-true"


@pytest.mark.parametrize(("has_it", "expected"), [(True, "bf16-mixed"), (False, "32-true")])
def test_auto_precision_follows_the_graphics_card(monkeypatch, has_it, expected):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_it)
    assert pick_precision("auto", "gpu") == expected
