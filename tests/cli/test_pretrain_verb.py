import numpy as np
import pytest
from PIL import Image

from thirdaxis.cli.main import run

TINY = ["--size", "32", "--batch", "4", "--epochs", "1", "--accelerator", "cpu"]
TINY += ["--network", "timm:test_resnet"]


@pytest.fixture
def photos(tmp_path):
    random = np.random.default_rng(0)
    for name, level in (("dark", 60), ("bright", 190)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(4):
            pixels = random.normal(level, 20, (36, 40, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.jpg")
    return tmp_path / "photos"


def test_from_pictures_to_a_file_and_on(photos, capsys):
    out = photos.parent / "run"
    words = ["pretrain", "classify", str(photos), "-o", str(out), *TINY, "--set", "folds=2"]
    assert run(words) == 0
    told = capsys.readouterr().out
    assert "4 training and 4 held-out pictures of 2 classes" in told
    assert f"weights: {out / 'pretrained.safetensors'}" in told
    assert run([*words, "--resume"]) == 0
    assert "nothing is left to train" in capsys.readouterr().out
    assert run([*words, "--resume", "--set", "smoothing=0.3"]) == 2
    assert "--resume keeps the run's settings: smoothing is 0.1 there" in capsys.readouterr().err
    assert run(words) == 2
    assert "exists already (--resume goes on with it)" in capsys.readouterr().err
    assert run(["pack", str(out), "-o", str(photos.parent / "packed")]) == 1
    assert "a pretraining; begin other runs from its pretrained" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "no data folder; name it, as in: thirdaxis pretrain classify DATA"),
        (["PHOTOS"], 1, "class 'bright' has 4 pictures, too few to hold one out of 10; lower the"),
        (["PHOTOS/dark"], 1, "PHOTOS/dark: has no folders; expected one folder of pictures"),
        (["none-{0..3}.tar"], 1, "4 of 4 shards are missing, such as"),
        (["PHOTOS", "--transform", "cube"], 2, "setting 'transform'"),
        (["PHOTOS", "--set", "task=classify"], 2, "of the task 'classify', not of 'pretrain-class"),
        (["PHOTOS", "--fusion", "asc", "--set", "folds=2"], 2, "unknown fusion 'asc'"),
        (["PHOTOS", "--set", "folds=2", "--weights", "none.pth"], 1, "no such weights file"),
    ],
)
def test_what_it_cannot_do_is_one_line(photos, capsys, words, code, said, monkeypatch):
    monkeypatch.chdir(photos.parent)
    words = [word.replace("PHOTOS", str(photos)) for word in words]
    assert run(["pretrain", "classify", *words, "-o", "run", *TINY]) == code
    told = capsys.readouterr().err
    assert said.replace("PHOTOS", str(photos)) in told and told.count("\n") == 1
    assert [path.name for path in photos.parent.iterdir()] == ["photos"]


def test_a_dry_run_needs_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["pretrain", "classify", "nowhere", "--dry-run", *TINY]) == 0
    told = capsys.readouterr().out
    assert "task: pretrain-classify" in told and "(4, 1, 3, 32, 32) to (4, 1000)" in told
    assert "one step on stand-ins of 3×32×32: loss" in told
    assert list(tmp_path.iterdir()) == []


def test_the_settings_are_told(capsys):
    assert run(["config", "pretrain-classify"]) == 0
    told = capsys.readouterr().out
    assert "transform: variable_dimension" in told and "fusion: i3d" in told
