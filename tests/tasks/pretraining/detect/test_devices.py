import json

import pytest

from thirdaxis.tasks import runs
from thirdaxis.tasks.keep import read_checkpoint
from thirdaxis.tasks.settings_files import make_settings


@pytest.mark.slow
def test_two_processes_judge_each_picture_once_and_count_damage_together(
    make_coco, small_pretraining, tmp_path
):
    """In mixed precision, with averaged weights and gradients added up; 3 pictures for 2 devices.

    At the end one process judges all pictures by itself, with the weights that were kept.
    """
    root = make_coco(tmp_path / "set", {"train2017": 9, "val2017": 4})
    for part, number in (("train2017", 0), ("train2017", 1), ("val2017", 2)):
        file = root / part / f"{number:03d}.png"
        file.write_bytes(file.read_bytes()[:-200])
    told = {**small_pretraining, "data": str(root), "epochs": 1, "epoch_steps": 2, "accumulate": 2}
    told |= {"devices": 2, "precision": "bf16-mixed", "ema": 0.5, "damaged": 0.5}
    metrics = runs.train(make_settings(told, "test"), tmp_path / "run")
    assert metrics["steps"] == 2
    names = {name.removeprefix(f"{root}/") for name in metrics["damaged"]}
    assert names == {f"{p}/{n}.png" for p, n in (("train2017", "000"), ("train2017", "001"))} | {
        "val2017/002.png"
    }
    assert metrics["validation_ap"] == pytest.approx(metrics["scores"]["ap"], abs=0.02)
    state = read_checkpoint(tmp_path / "run" / "best.ckpt")["state_dict"]
    assert all(value.isfinite().all() for value in state.values())
    kept = json.loads((tmp_path / "run" / "split.json").read_text(encoding="utf-8"))
    assert len(kept["validation"]) == 4
