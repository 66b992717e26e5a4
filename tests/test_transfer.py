"""What `benchmarks/transfer.py` trains and tells, without training."""

import argparse
import sys
from types import ModuleType

import pytest

from thirdaxis.tasks.settings_files import make_settings


@pytest.fixture(scope="module")
def transfer(repository) -> ModuleType:
    sys.path.insert(0, str(repository / "benchmarks"))
    try:
        import transfer
    finally:
        sys.path.remove(str(repository / "benchmarks"))
    return transfer


@pytest.fixture
def told(tmp_path, transfer, monkeypatch) -> argparse.Namespace:
    monkeypatch.setattr(sys, "argv", ["transfer.py", str(tmp_path), "--runs", str(tmp_path / "r")])
    (tmp_path / "r" / "photographs").mkdir(parents=True)
    return transfer.told_by_command()


def test_every_run_is_told_what_its_row_says(transfer, told):
    for name in transfer.PRETRAININGS:
        settings = make_settings(transfer.pretraining_of(name, told), name)
        assert settings.task == "pretrain-classify" and settings.in_3d == (name != "2d")
        assert settings.depth_stride is (name == "3d-unmodified")
        assert settings.epochs * settings.epoch_steps == told.pretrain_steps
    for task in transfer.TASKS:
        for row, (network, fusion, start) in transfer.ROWS.items():
            settings = make_settings(transfer.settings_of(task, row, 0.4, 7, told), row)
            assert (settings.network, settings.fusion) == (network, fusion)
            assert (settings.fraction, settings.seed, settings.start) == (0.4, 7, None)
            assert settings.epochs * settings.epoch_steps == told.steps
            file = None if start is None else str(told.runs / "pretrain" / start / transfer.FILE)
            assert settings.weights == file
            assert settings.task == ("classify" if task == "lidc-classify" else "segment")


def test_the_table_is_of_finished_runs_over_shares_of_the_patients(transfer, told, finished_run):
    for row, gain in (("random", 0.0), ("pretrained", 0.1)):
        for fraction in (0.2, 1.0):
            for seed in range(2):
                folder = transfer.folder_of("hippocampus", row, fraction, seed, told)
                setting = transfer.settings_of("hippocampus", row, fraction, seed, told)
                score = 0.5 + gain + 0.1 * fraction + 0.01 * seed
                cases = {f"h{n}": score + 0.01 * n for n in range(5)}
                finished_run(folder, setting, {"mean": {"dice_mean": score}}, cases)
    lines = transfer.task_lines("hippocampus", told)
    rows = [line for line in lines if line.startswith(("| random", "| pretrained"))]
    assert len(rows) == 4 and rows[0].startswith("| pretrained | 0.2 | 2 | 0.625 ± 0.007 |")
    assert sum("| ref |" in row for row in rows) == 2
    assert all("+0.100 (5)" in row for row in rows if "pretrained" in row)
    made = told.runs / "compared" / "hippocampus"
    assert (made / "comparison.png").is_file()
    assert transfer.task_lines("lidc-segment", told) == []


def test_unknown_names_are_told(transfer):
    assert transfer.chosen("", transfer.TASKS, "tasks") == list(transfer.TASKS)
    with pytest.raises(SystemExit, match="--rows: no 'randm'; there are random, pretrained"):
        transfer.chosen("random,randm", transfer.ROWS, "rows")
