import json

import pytest
import torch

from thirdaxis.tasks import runs
from thirdaxis.tasks.keep import read_checkpoint
from thirdaxis.tasks.model import load_model
from thirdaxis.tasks.settings_files import make_settings


@pytest.fixture(scope="module")
def told(tmp_path_factory, make_deeplesion, small_detector):
    data = make_deeplesion(tmp_path_factory.mktemp("lesions") / "data")
    return small_detector | {"data": str(data)}


@pytest.fixture(scope="module")
def run(told, tmp_path_factory):
    """A finished run, to be read and not changed."""
    out = tmp_path_factory.mktemp("runs") / "run"
    runs.train(make_settings(told, "test"), out)
    return out


def test_a_run_leaves_what_it_was_and_what_it_found(run):
    files = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    assert files >= {
        *("settings.yaml", "plan.json", "split.json", "versions.json", "conversion.txt"),
        *("weights.txt", "metrics.csv", "metrics.json", "curves.png", "detections.json"),
        *("froc.json", "last.ckpt", "best.ckpt", "report.html", "model/model.safetensors"),
    }
