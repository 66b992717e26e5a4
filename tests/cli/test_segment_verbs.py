import json
import shutil
import subprocess
import sys

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import yaml

from thirdaxis.cli.main import run


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")


def words_of(settings):
    return [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]


def test_help_loads_nothing_heavier_than_the_front_door():
    code = (
        "import sys; from thirdaxis.cli.main import run; code = run(['--help']);"
        "heavy = {'torchvision', 'monai', 'lightning', 'matplotlib', 'nibabel'} & set(sys.modules);"
        "sys.exit(f'loaded {heavy}' if heavy else code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    for verb in ("train", "evaluate", "predict", "convert", "check", "quickstart"):
        assert verb in done.stdout


def test_train_predict_evaluate(tmp_path, make_phantoms, phantom_settings, capsys):
    data = make_phantoms(tmp_path / "data", 6)
    file = tmp_path / "settings.yaml"
    file.write_text(yaml.safe_dump(phantom_settings | {"epochs": 9}))
    flags = ["--epochs", "1", "--patch", "8,16,16", "--lr", "0.002", "--keep-depth"]
    out = tmp_path / "run"
    assert run(["train", str(data), "-o", str(out), "-c", str(file), *flags]) == 0
    told = capsys.readouterr()
    assert told.out.startswith("epoch 1/1  loss ") and told.out.count("\n") == 2
    assert "Warning" not in told.err
    resolved = yaml.safe_load((out / "settings.yaml").read_text(encoding="utf-8"))
    assert resolved["epochs"] == 1 and resolved["learning_rate"] == 0.002
    assert resolved["depth_stride"] is False and resolved["folds"] == 3

    found = tmp_path / "found"
    assert run(["predict", str(out), str(data / "imagesTr"), "-o", str(found)]) == 0
    assert capsys.readouterr().out.splitlines() == [str(p) for p in sorted(found.iterdir())]
    assert run(["evaluate", str(found), str(data), "-o", str(tmp_path / "scores")]) == 0
    table = capsys.readouterr().out
    assert "6 cases" in table and "bright" in table and "HD95" in table
    scores = json.loads((tmp_path / "scores" / "scores.json").read_text(encoding="utf-8"))
    assert f"{scores['summary']['mean']['dice_mean']:.4f}" in table


def test_a_folder_with_a_bad_scan_is_done_and_ends_with_one(phantom_run, tmp_path, capsys):
    images = tmp_path / "scans"
    images.mkdir()
    for number in (0, 1):
        name = f"phantom_00{number}.nii.gz"
        shutil.copy(phantom_run.parent / "data" / "imagesTr" / name, images / name)
    (images / "bad.nii.gz").write_bytes(b"\x1f\x8b broken")
    out = tmp_path / "out"
    words = ["predict", str(phantom_run), str(images), "-o", str(out)]
    more = ["--flip", "width, depth", "--largest", "bright", "--overlap", "0.1"]
    assert run([*words, *more, "--precision", "bf16", "--probabilities"]) == 1
    told = capsys.readouterr()
    good = [out / f"phantom_00{number}.nii.gz" for number in (0, 1)]
    assert told.out.splitlines() == [str(path) for path in good]
    assert told.err.startswith("error: ") and "bad.nii.gz" in told.err
    assert told.err.count("\n") == 1
    (images / "bad.nii.gz").unlink()
    assert run(words) == 0
    said = [f"{path}: is there already; --overwrite does it again" for path in good]
    assert capsys.readouterr().out.splitlines() == said
    assert run([*words, "--overwrite"]) == 0
    assert capsys.readouterr().out.splitlines() == [str(path) for path in good]
    for flags, line in {
        ("--flip", "sideways"): "no axis 'sideways' to flip",
        ("--overlap", "1"): "overlap is a share",
        ("--precision", "16"): "precision is '32' or 'bf16'",
        ("--format", "dicom"): "no format 'dicom'",
        ("--largest", "brigth"): "did you mean 'bright'",
    }.items():
        assert run([*words, *flags]) == 2
        assert line in capsys.readouterr().err


def test_evaluate_takes_folders_of_any_tool_and_leaves_a_page(phantom_run, tmp_path, capsys):
    truth = phantom_run.parent / "data" / "labelsTr"
    other = tmp_path / "other"
    other.mkdir()
    for path in sorted((phantom_run / "validation").glob("*.nii.gz")):
        image = nibabel.load(path)
        values = np.array([0, 7, 5], np.uint8)[np.asarray(image.dataobj)]
        nibabel.save(nibabel.Nifti1Image(values, image.affine), other / path.name)
    words = ["evaluate", str(other), str(truth), "-o", str(tmp_path / "scores"), "--pictures", "1"]
    labels = ["--labels", "1=bright,2=dark"]
    assert run([*words, *labels, "--prediction-labels", "7=bright,5=dark"]) == 0
    told = capsys.readouterr().out
    page = tmp_path / "scores" / "scores.html"
    assert f"Each case: {page}" in told and "4 other label maps have no prediction" in told
    scores = json.loads((tmp_path / "scores" / "scores.json").read_text(encoding="utf-8"))
    again = json.loads((phantom_run / "metrics.json").read_text(encoding="utf-8"))
    mean = again["scores"]["mean"]["dice_mean"]
    assert scores["summary"]["mean"]["dice_mean"] == pytest.approx(mean)
    assert run([*words, "--labels", "1-bright"]) == 2
    assert "expected VALUE=NAME" in capsys.readouterr().err
    assert run(words) == 1  # 5 and 7 are no labels of the data set
    assert "--labels says which values to score" in capsys.readouterr().err
    assert run([*words, *labels, "--images", str(tmp_path / "none")]) == 1
    assert run([*words, *labels, "--against", str(phantom_run / "validation")]) == 0
    assert "bright: Dice" in capsys.readouterr().out


def test_resume_takes_the_runs_settings_and_refuses_others(phantom_run, capsys):
    data = str(phantom_run.parent / "data")
    assert run(["train", data, "-o", str(phantom_run), "--resume", "--fusion", "acs"]) == 0
    assert "nothing is left to train" in capsys.readouterr().out
    assert run(["train", "-o", str(phantom_run), "--resume", "--epochs", "7"]) == 2
    assert "epochs is 2 there, not 7" in capsys.readouterr().err


def spoil_nothing(data):
    pass


def remove_image(data):
    (data / "imagesTr" / "phantom_002.nii.gz").unlink()


def corrupt_image(data):
    path = data / "imagesTr" / "phantom_002.nii.gz"
    path.write_bytes(path.read_bytes()[:200])


def move_label(data):
    path = data / "labelsTr" / "phantom_002.nii.gz"
    image = nibabel.load(path)
    affine = image.affine.copy()
    affine[:3, 3] += 5
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj), affine), path)


def add_label(data):
    path = data / "labelsTr" / "phantom_002.nii.gz"
    image = nibabel.load(path)
    array = np.asarray(image.dataobj).copy()
    array[0, 0, 0] = 9
    nibabel.save(nibabel.Nifti1Image(array, image.affine), path)


def empty_folder(data):
    for path in sorted(data.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


def flatten_image(data):
    path = data / "imagesTr" / "phantom_002.nii.gz"
    image = nibabel.load(path)
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj)[..., 0], image.affine), path)


def random_weights(data):
    import torch

    torch.save({"stem.weight": torch.zeros(3)}, data / "weights.pth")


BAD = {
    "missing image": (remove_image, [], 1, "phantom_002.nii.gz"),
    "corrupt image": (corrupt_image, [], 1, "phantom_002.nii.gz"),
    "image of two axes": (flatten_image, [], 1, "phantom_002.nii.gz"),
    "other grid": (move_label, [], 1, "not on the grid of phantom_002.nii.gz"),
    "unknown label": (add_label, [], 1, "label values 9 are not those of the data set"),
    "empty folder": (empty_folder, [], 1, "is empty; expected a folder with dataset.json"),
    "unknown fusion": (spoil_nothing, ["--fusion", "asc"], 2, "did you mean 'acs'?"),
    "unknown network": (spoil_nothing, ["--network", "unett"], 2, "unknown network 'unett'"),
    "unknown setting": (spoil_nothing, ["--set", "epohs=3"], 2, "did you mean 'epochs'?"),
    "unknown option": (spoil_nothing, ["--epohs", "3"], 2, "--epochs"),
    "bad value": (spoil_nothing, ["--epochs", "0"], 2, "setting 'epochs'"),
    "small patch": (spoil_nothing, ["--patch", "1,2,2"], 2, "patch of 1×2×2 voxels"),
    "no weights": (spoil_nothing, ["--weights", "none.safetensors"], 1, "none.safetensors"),
    "strange weights": (random_weights, ["--weights", "weights.pth"], 1, "weights.pth"),
    "too many folds": (spoil_nothing, ["--set", "folds=7"], 2, "7 folds"),
    "no graphics card": (
        spoil_nothing,
        ["--accelerator", "gpu", "--set", "devices=64", "--set", "batch=64"],
        2,
        "64 graphics cards were asked for",
    ),
}


@pytest.mark.parametrize("kind", list(BAD))
def test_bad_input_to_train_is_one_line_and_leaves_nothing(
    kind, tmp_path, make_phantoms, phantom_settings, capsys
):
    spoil, flags, code, line = BAD[kind]
    data = make_phantoms(tmp_path / "data", 6)
    spoil(data)
    flags = [str(data / word) if word == "weights.pth" else word for word in flags]
    out = tmp_path / "run"
    words = ["train", str(data), "-o", str(out), *words_of(phantom_settings), *flags]
    assert run(words) == code
    told = capsys.readouterr().err
    assert told.startswith("error: ") and line in told
    assert told.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_train_without_data_or_into_a_file(tmp_path, make_phantoms, capsys):
    assert run(["train", "-o", str(tmp_path / "run")]) == 2
    assert "no data folder" in capsys.readouterr().err
    data = make_phantoms(tmp_path / "data", 6)
    (tmp_path / "file").touch()
    assert run(["train", str(data), "-o", str(tmp_path / "file" / "run")]) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: ") and "file" in told and told.count("\n") == 1
    assert run(["train", str(tmp_path / "none"), "-o", str(tmp_path / "run")]) == 1
    assert "no such folder" in capsys.readouterr().err


def write_series(folder, uid):
    folder.mkdir(exist_ok=True)
    for z in range(3):
        image = sitk.GetImageFromArray(np.full((1, 4, 5), z, np.int16))
        tags = {
            "0008|0060": "MR",
            "0020|000d": "1.2.3",
            "0020|000e": uid,
            "0008|0018": f"{uid}.{z}",
            "0020|0032": f"0\\0\\{3 * z}",
            "0020|0037": "1\\0\\0\\0\\1\\0",
        }
        for key, value in tags.items():
            image.SetMetaData(key, value)
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetFileName(str(folder / f"{uid}.{z}.dcm"))
        writer.Execute(image)


def test_bad_input_to_predict_is_one_line_and_leaves_nothing(phantom_run, tmp_path, capsys):
    two = tmp_path / "two"
    write_series(two, "1.2.3.4")
    assert run(["predict", str(phantom_run), str(two), "-o", str(tmp_path / "fine")]) == 0
    capsys.readouterr()
    write_series(two, "1.2.3.5")
    colour = tmp_path / "colour.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.zeros((5, 6, 7, 2), np.float32), np.eye(4)), colour)
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes(b"\x1f\x8b broken")
    (tmp_path / "empty").mkdir()
    cases = {
        two: "2 DICOM series in one folder",
        colour: "colour.nii.gz: the scan has 2 channels",
        broken: "broken.nii.gz",
        tmp_path / "none.nii.gz": "no such file",
        tmp_path / "empty": "no scans",
    }
    for path, line in cases.items():
        out = tmp_path / "out"
        assert run(["predict", str(phantom_run), str(path), "-o", str(out)]) == 1
        told = capsys.readouterr().err
        assert told.startswith("error: ") and line in told and told.count("\n") == 1
        assert not out.exists()
    assert run(["predict", str(tmp_path / "empty"), str(colour)]) == 1
    assert "not a run folder" in capsys.readouterr().err


LIMITED = """
import resource, sys
from thirdaxis.cli.main import run
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
sys.exit(run(sys.argv[2:]))
"""


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_keeps_what_was_whole(
    tmp_path, make_phantoms, phantom_settings
):
    data = make_phantoms(tmp_path / "data", 6)
    out = tmp_path / "run"
    words = ["train", str(data), "-o", str(out), *words_of(phantom_settings)]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, "100000", *words], capture_output=True, text=True
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("error: ") and "File too large" in done.stderr
    assert done.stderr.count("\n") == 1
    left = {path.name for path in out.iterdir()}
    assert not {"last.ckpt", "best.ckpt", "metrics.json"} & left
    assert not [name for name in left if name.startswith(".")]
    # With room again, the run goes on.
    assert run(["train", "-o", str(out), "--resume"]) == 0
    assert (out / "metrics.json").exists()


def test_ctrl_c_tells_how_to_go_on(tmp_path, make_phantoms, monkeypatch, capsys):
    from thirdaxis.tasks import runs

    def stopped(settings, out, display):
        out.mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "train", stopped)
    data = make_phantoms(tmp_path / "data", 6)
    assert run(["train", str(data), "-o", str(tmp_path / "run")]) == 130
    told = capsys.readouterr().err
    assert told == (
        f"error: interrupted; go on with: thirdaxis train --resume --out {tmp_path / 'run'}\n"
    )
