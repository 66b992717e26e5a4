"""Runs that unlock parts and change their loss on the way, stopped and resumed."""

import csv
import itertools
import shutil

import pytest
import torch

from thirdaxis.tasks.engine import Display
from thirdaxis.tasks.keep import read_checkpoint
from thirdaxis.tasks.segment import make_settings, resume, train
from thirdaxis.tasks.segmentation.run import Segment

EPOCHS = 5


def states(run):
    """Weights, moving averages and the optimiser's numbers of a run's last checkpoint, by name."""
    found = read_checkpoint(run / "last.ckpt")
    kept = {**found["state_dict"]}
    kept |= {f"current {name}": value for name, value in found["current_model_state"].items()}
    for number, state in found["optimizer_states"][0]["state"].items():
        kept |= {f"{number} {name}": value for name, value in state.items()}
    return kept


def rows(run):
    with (run / "metrics.csv").open(encoding="utf-8") as stream:
        return [row | {"seconds": ""} for row in csv.DictReader(stream)]


@pytest.fixture(scope="module", autouse=True)
def no_scores():
    """Nothing is asked of the end of these runs, which takes longer than their epochs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Segment, "finish", lambda task, run, data, shown: {})
        yield


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, make_phantoms, phantom_settings):
    """A run through both changes, and copies of it as it was after each of its epochs.

    With a rate that moves next to nothing, the loss of random patches goes up and down.
    """
    place = tmp_path_factory.mktemp("switches")
    data = make_phantoms(place / "data", 6)
    values = phantom_settings | {"epochs": EPOCHS, "freeze": "enc1,enc2", "loss": "ce", "ema": 0.5}
    values |= {"unlock_at": "plateau", "focal_from": 0.4, "plateau": 1, "learning_rate": 1e-6}
    said = []

    def say(line):
        if said:  # told before its own checkpoint is written
            shutil.copytree(place / "run", place / f"after-{len(said)}")
        said.append(line)

    train(make_settings({"data": str(data), **values}, "test"), place / "run", Display(say=say))
    return place, said


def test_parts_stay_as_they_are_until_they_are_unlocked(unbroken):
    place, said = unbroken
    assert len(said) == EPOCHS
    unlocked = [line.endswith("unlocked") for line in said]
    assert unlocked == sorted(unlocked) and unlocked[-1] and not unlocked[0]
    encoders = [
        {n: v for n, v in states(place / f"after-{n}").items() if ".enc1." in n or ".enc2." in n}
        for n in range(1, EPOCHS)
    ]
    for number, (one, other) in enumerate(itertools.pairwise(encoders), 1):
        changed = {name for name in one if not torch.equal(one[name], other[name])}
        # Weights and running statistics, of the network and of its average.
        assert len(changed) == (len(one) if unlocked[number] else 0), number


def test_a_run_resumes_exactly_before_at_and_after_its_changes(unbroken):
    place, said = unbroken
    first = next(number for number, line in enumerate(said) if line.endswith("unlocked"))
    expected = states(place / "run")
    for epochs in {max(first - 1, 1), first, first + 1} & set(range(1, EPOCHS)):
        again = place / f"after-{epochs}"
        resume(again)
        found = states(again)
        assert found.keys() == expected.keys()
        assert all(torch.equal(value, found[name]) for name, value in expected.items()), epochs
        assert rows(again) == rows(place / "run")


def test_the_loss_becomes_focal(unbroken):
    """Of three classes about evenly likely, (1 - p)² takes more than half of the cross entropy."""
    place, said = unbroken
    focal = ["focal loss" in line for line in said]
    assert focal == [False, False, True, True, True]
    losses = [float(row["train_loss"]) for row in rows(place / "run")]
    assert max(losses[2:]) < 0.6 * min(losses[:2])
