import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from thirdaxis.tasks.keep import read_checkpoint
from thirdaxis.tasks.segment import make_settings, resume, train

EPOCHS = 12


def wait_for_rows(table: Path, rows: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while not (table.exists() and len(table.read_text(encoding="utf-8").splitlines()) > rows):
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline, "the run wrote no epoch in two minutes"
        time.sleep(0.005)


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_weights_of_an_unbroken_one(
    tmp_path, make_phantoms, phantom_settings
):
    data = make_phantoms(tmp_path / "data", 6)
    values = phantom_settings | {"epochs": EPOCHS, "epoch_steps": 4}
    words = [f"{name}={value}" for name, value in values.items()]
    killed, unbroken = tmp_path / "killed", tmp_path / "unbroken"
    command = [sys.executable, "-m", "thirdaxis", "train", str(data), "-o", str(killed)]
    command += [part for word in words for part in ("--set", word)]
    # Sums in another number of threads round otherwise.
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        wait_for_rows(killed / "metrics.csv", 3, process)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    reached = read_checkpoint(killed / "last.ckpt")["epoch"]
    assert 2 <= reached < EPOCHS - 1
    assert not (killed / "metrics.json").exists()

    resume(killed)
    train(make_settings({"data": str(data), **values}, "test"), unbroken)

    for name in ("last.ckpt", "best.ckpt"):
        one, other = (read_checkpoint(folder / name) for folder in (killed, unbroken))
        assert one["epoch"] == other["epoch"] and one["global_step"] == other["global_step"]
        assert one["state_dict"].keys() == other["state_dict"].keys()
        for key, value in one["state_dict"].items():
            assert torch.equal(value, other["state_dict"][key]), key
    tables = []
    for folder in (killed, unbroken):
        with (folder / "metrics.csv").open() as stream:
            tables.append([row | {"seconds": ""} for row in csv.DictReader(stream)])
    assert tables[0] == tables[1] and len(tables[0]) == EPOCHS


def test_a_run_killed_before_its_first_checkpoint_begins_again(
    tmp_path, make_phantoms, phantom_settings
):
    data = make_phantoms(tmp_path / "data", 6)
    settings = make_settings({"data": str(data), **phantom_settings}, "test")
    expected = train(settings, tmp_path / "run")
    before = read_checkpoint(tmp_path / "run" / "last.ckpt")["state_dict"]
    for name in ("last.ckpt", "best.ckpt", "metrics.csv", "metrics.json"):
        (tmp_path / "run" / name).unlink()
    assert resume(tmp_path / "run")["scores"] == expected["scores"]
    after = read_checkpoint(tmp_path / "run" / "last.ckpt")["state_dict"]
    assert all(torch.equal(value, after[name]) for name, value in before.items())
