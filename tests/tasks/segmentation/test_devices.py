import csv
import os
import subprocess
import sys

import pytest
import torch
from torch import nn

import thirdaxis
from thirdaxis.errors import UsageError
from thirdaxis.tasks.hardware import has_idle_weights, pick_accelerator, pick_precision
from thirdaxis.tasks.keep import read_checkpoint
from thirdaxis.tasks.segmentation.data import SegmentData, WholeVolumes
from thirdaxis.tasks.segmentation.plan import Plan
from thirdaxis.tasks.segmentation.prepare import Prepared
from thirdaxis.tasks.settings_files import make_settings


@pytest.fixture(scope="module")
def one_process(tmp_path_factory, make_phantoms, phantom_settings):
    """A run of one process whose loss does not depend on who shares a batch, and how it was told.

    Batch norms and a Dice over the batch would differ by device; three held-out cases do not
    divide by two.
    """
    place = tmp_path_factory.mktemp("devices")
    (place / "plainnet.py").write_text(PLAIN, encoding="utf-8")
    data = make_phantoms(place / "data", 7)
    values = phantom_settings | {"network": "plainnet:make", "patch": "8,16,16", "epoch_steps": 2}
    values |= {"loss": "dice_ce", "dice_over": "sample"}
    values |= {"freeze": "['0']", "unlock_at": 1}  # gradients are shared then too
    words = ["thirdaxis", "train", str(data)]
    words += [word for name, value in values.items() for word in ("--set", f"{name}={value}")]
    _run(place, ["-m", *words, "-o", "one"])
    return place, words


PLAIN = """
from torch import nn

def make(in_channels, classes):
    first = nn.Conv2d(in_channels, 8, 3, padding=1)
    return nn.Sequential(first, nn.ReLU(), nn.Conv2d(8, classes, 3, padding=1))
"""


def _run(place, words):
    environment = os.environ | {"PYTHONPATH": f"{place}:{os.environ.get('PYTHONPATH', '')}"}
    command = [sys.executable, *words]
    done = subprocess.run(
        command, cwd=place, env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _rows(run):
    with (run / "metrics.csv").open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.slow
@pytest.mark.parametrize("by", ["spawn", "torchrun"])
def test_two_processes_train_the_same_steps_as_one(one_process, by):
    place, words = one_process
    launcher = ["torch.distributed.run", "--nproc-per-node", "2", "-m"] if by == "torchrun" else []
    told = _run(place, ["-m", *launcher, *words, "--devices", "2", "-o", by])
    one, two = (read_checkpoint(place / name / "last.ckpt") for name in ("one", by))
    assert two["epoch"] == 1 and two["global_step"] == 4
    for name, value in one["state_dict"].items():
        torch.testing.assert_close(two["state_dict"][name], value, rtol=1e-4, atol=1e-6)
    rows = _rows(place / by)
    for mine, its in zip(rows, _rows(place / "one"), strict=True):
        assert mine["step"] == its["step"]
        assert float(mine["train_loss"]) == pytest.approx(float(its["train_loss"]), rel=1e-5)
    with (place / by / "validation" / "scores.csv").open() as stream:
        cases = [row["case"] for row in csv.DictReader(stream)]
    assert len(cases) == len(set(cases)) == 3
    # The devices' Dice on the network's grid, each case once, is that of the written label maps.
    best = max(float(row["val_dice"]) for row in rows)
    assert f"Dice {best:.4f}" in told.splitlines()[-1]


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


def test_idle_weights_are_sought_in_networks_that_ask_for_thickness():
    plain = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 2, 3, padding=1))
    net = thirdaxis.convert(plain, "alignshift", in_channels=1)
    assert not has_idle_weights(net, (1, 3, 4, 4))


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
