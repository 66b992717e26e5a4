import json
import shutil
import sys
import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from thirdaxis.cli.main import run
from thirdaxis.data.volume import read_volume
from thirdaxis.errors import InputError, UsageError
from thirdaxis.tasks.classification.network import make_classifier
from thirdaxis.tasks.classification.plan import ClassifyPlan
from thirdaxis.tasks.model import (
    Model,
    load_model,
    load_network,
    model_files,
    save_model,
)
from thirdaxis.tasks.segment import load_segmenter, make_settings
from thirdaxis.tasks.segmentation.network import make_network
from thirdaxis.tasks.segmentation.plan import Plan
from thirdaxis.tasks.trained.bundle import bundle_files
from thirdaxis.tasks.trained.files import MODEL, sha256_of, write_model_files


@pytest.fixture
def model(phantom_run, tmp_path):
    """A model folder on its own, to be spoiled."""
    return shutil.copytree(phantom_run / MODEL, tmp_path / "model")


@pytest.fixture(scope="module")
def scan(phantom_run):
    return read_volume(phantom_run.parent / "data" / "imagesTr" / "phantom_003.nii.gz")


def small_plan(spacing=None):
    return Plan({0: "background", 1: "bright"}, ("MRI",), spacing, 1.0, (8, 16, 16))


def untrained(values, spacing=None):
    settings, plan = make_settings({**values, "data": "d"}, "test"), small_plan(spacing)
    return Model(make_network(settings, plan, load=False).net.eval(), settings, plan, {})


def in_form(form: str, run_folder: Path, place: Path) -> Path:
    model = load_model(run_folder)
    files = bundle_files(model) if "bundle" in form else model_files(model)
    out = place / ("model.zip" if "zip" in form else "model")
    write_model_files(out, files)
    if form == "zip of a folder":  # as a person packs it, with the folder's name in front
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(f"my model/{name}", content)
    return out


@pytest.mark.parametrize("form", ["folder", "zip", "zip of a folder", "bundle", "bundle zip"])
def test_a_model_needs_neither_its_run_nor_its_data(form, phantom_run, scan, tmp_path):
    copied = shutil.copytree(phantom_run, tmp_path / "run")
    path = in_form(form, copied, tmp_path)
    expected = load_segmenter(copied)
    shutil.rmtree(copied)
    found = load_segmenter(path)
    assert not found.net.training and found.settings.task == "segment"
    assert found.plan == expected.plan
    for name, value in expected.net.state_dict().items():
        assert torch.equal(value, found.net.state_dict()[name])
    labels = found(scan)
    assert torch.equal(labels, expected(scan)) and labels.unique().numel() > 1


def test_another_plan_or_setting_predicts_otherwise(model, scan):
    expected = load_segmenter(model)(scan)
    path = model / "config.json"
    text = path.read_text(encoding="utf-8")
    for table, name, value in (
        ("plan", "spacing", [1.0, 2.0, 2.0]),
        ("settings", "orientation", "RAS"),
        ("settings", "intensity", "percentiles"),
    ):
        config = json.loads(text)
        config[table][name] = value
        path.write_text(json.dumps(config))
        assert not torch.equal(load_segmenter(model)(scan), expected), name
    path.write_text(text)
    assert torch.equal(load_segmenter(model)(scan), expected)


def test_a_finished_run_leaves_its_model_without_names_of_cases_or_places(phantom_run):
    folder = phantom_run / MODEL
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(files) == {"config.json", "model.safetensors", "README.md"}
    config = json.loads(files["config.json"])
    origin = config["provenance"]
    assert origin["training_data"] == {
        "name": "data",
        "training_cases": 4,
        "held_out_cases": 2,
        "test_cases": 0,
    }
    metrics = json.loads((phantom_run / "metrics.json").read_text(encoding="utf-8"))
    assert origin["metrics"]["best_validation_dice"] == metrics["best_validation_dice"]
    assert config["plan"]["labels"] == {"0": "background", "1": "bright", "2": "dark"}
    for content in files.values():
        assert b"phantom_0" not in content and str(phantom_run.parent).encode() not in content


def test_loading_leaves_the_random_state_alone(model):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_model(model)
    assert torch.equal(torch.rand(3), expected)


def test_the_same_model_is_the_same_file(model, tmp_path):
    loaded = load_model(model)
    for name in "ab":
        save_model(loaded, tmp_path / f"{name}.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_a_bundle_gets_its_network_alone(model, scan):
    net, part = load_network(model), torch.randn(1, 1, 8, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(net(part), load_model(model).net(part))


def test_an_operator_that_asks_for_thickness_is_told_it_by_the_spacing(tmp_path, phantom_settings):
    values = {**phantom_settings, "fusion": "alignshift"}
    model = untrained(values, spacing=(4.0, 1.0, 1.0))
    save_model(model, tmp_path / "model")
    part = torch.randn(1, 1, 8, 16, 16)
    with torch.no_grad():
        found = load_network(tmp_path / "model")(part)
        torch.testing.assert_close(found, model.net(part, thickness=torch.tensor([4.0])))
        thin = model.net(part, thickness=torch.tensor([1.0]))
        assert not torch.allclose(found, thin, atol=1e-4)
    for number, own in enumerate([None, (None, 1.0, 1.0)]):
        save_model(untrained(values, own), tmp_path / f"{number}")
        with pytest.raises(UsageError, match="train with a spacing"):
            load_network(tmp_path / f"{number}")


PROGRAM = """
from torch import nn

def factory(in_channels, classes):
    return nn.Conv2d(in_channels, classes, 3, padding=1)
"""


def test_a_program_is_called_only_where_it_is_trusted(tmp_path, monkeypatch, phantom_settings):
    (tmp_path / "strange_program.py").write_text(PROGRAM)
    monkeypatch.syspath_prepend(str(tmp_path))
    model = untrained({**phantom_settings, "network": "strange_program:factory"})
    save_model(model, tmp_path / "model")
    del sys.modules["strange_program"]
    with pytest.raises(InputError, match="it is the program 'strange_program:factory'.*--trust"):
        load_model(tmp_path / "model")
    assert "strange_program" not in sys.modules
    again = load_model(tmp_path / "model", trust=True).net
    assert torch.equal(next(again.parameters()), next(model.net.parameters()))


def nothing(model):
    shutil.rmtree(model)


def empty(model):
    for path in model.iterdir():
        path.unlink()


def config_of_others(model):
    (model / "config.json").write_text('{"architectures": ["BertModel"]}')


def config_half(model):
    path = model / "config.json"
    path.write_bytes(path.read_bytes()[:100])


def config_deep(model):
    (model / "config.json").write_text("[" * 100_000)


def config_binary(model):
    (model / "config.json").write_bytes(b"\xff\xfe\x00")


def config_huge(model):
    with (model / "config.json").open("wb") as stream:
        stream.truncate(2**30)


def changed(model, table, name, value):
    path = model / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    place = config if table is None else config[table]
    if value is None:
        del place[name]
    else:
        place[name] = value
    path.write_text(json.dumps(config))


def later_format(model):
    changed(model, None, "format_version", 2)


def later_setting(model):
    changed(model, "settings", "momentum_of_time", 3)


def other_task(model):
    changed(model, "settings", "task", "foretell")


def no_plan(model):
    changed(model, None, "plan", None)


def plan_of_words(model):
    changed(model, "plan", "patch", "large")


def patch_of_two(model):
    changed(model, "plan", "patch", [8, 8])


def one_label_less(model):
    changed(model, "plan", "labels", {"0": "background", "1": "bright"})


def other_network(model):
    changed(model, "settings", "network", "torchvision:no_such")


def weights_gone(model):
    (model / "model.safetensors").unlink()


def weights_half(model):
    path = model / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def weights_of_another(model):
    (model / "model.safetensors").write_bytes(save({"weight": torch.zeros(2)}))


def weights_of_another_told(model):
    weights_of_another(model)
    content = (model / "model.safetensors").read_bytes()
    changed(model, None, "weights_sha256", sha256_of(content))


def weights_pickled(model):
    torch.save({"weight": torch.zeros(2)}, model / "model.safetensors")
    content = (model / "model.safetensors").read_bytes()
    changed(model, None, "weights_sha256", sha256_of(content))


SPOILT = {
    nothing: "no such folder or file",
    empty: "not a run folder and not a trained model",
    config_of_others: "not of a model of thirdaxis",
    config_half: "config.json: not readable as JSON",
    config_deep: "config.json: not readable as JSON",
    config_binary: "config.json: not readable as JSON",
    config_huge: "config.json has 1073741824 bytes",
    later_format: "written in format 2 by thirdaxis 0.1.0; this version reads format 1: update",
    later_setting: "unknown setting 'momentum_of_time'",
    other_task: "unknown task 'foretell'",
    no_plan: "has no table 'plan'",
    plan_of_words: "holds no plan of a model",
    patch_of_two: "holds no plan of a model",
    one_label_less: "its weights are not of its unet",
    other_network: "its network cannot be built: unknown torchvision network 'no_such'",
    weights_gone: "not a whole model, model.safetensors is missing",
    weights_half: "model.safetensors is damaged",
    weights_of_another: "model.safetensors is damaged, or not the file",
    weights_of_another_told: "its weights are not of its unet",
    weights_pickled: "model.safetensors is not readable",
}


@pytest.mark.parametrize("spoil", SPOILT, ids=lambda spoil: spoil.__name__)
def test_a_spoilt_model_is_one_line(spoil, model, tmp_path, capsys):
    spoil(model)
    scans = tmp_path / "scans"
    scans.mkdir()
    words = ["predict", "--model", str(model), str(scans), "-o", str(tmp_path / "out")]
    assert run(words) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: ") and SPOILT[spoil] in told and str(model) in told
    assert told.count("\n") == 1 and "pickle" not in told
    assert not (tmp_path / "out").exists()


def archive_with(model, path, **more):
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")  # of the same name twice
        for file in model.iterdir():
            archive.write(file, file.name)
        for name, content in more.values():
            archive.writestr(name, content)


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("../outside.txt", b"x", "'../outside.txt' in it points outside"),
        ("/etc/outside.txt", b"x", "points outside"),
        ("C:/outside.txt", b"x", "points outside"),
        ("config.json", b"{}", "holds the file 'config.json' twice"),
    ],
)
def test_an_archive_with_strange_names_is_refused(model, tmp_path, name, content, line):
    path = tmp_path / "model.zip"
    archive_with(model, path, more=(name, content))
    with pytest.raises(InputError, match=line.replace(".", r"\.")):
        load_model(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model", "model.zip"]


def test_an_archive_that_would_fill_the_memory_is_refused(model, tmp_path):
    (model / "model.safetensors").write_bytes(bytes(2**25))
    archive_with(model, tmp_path / "model.zip")
    with pytest.raises(InputError, match="model.safetensors has 33554432 bytes, more than"):
        load_model(tmp_path / "model.zip")


def test_damaged_and_foreign_files_are_refused(model, tmp_path):
    path = tmp_path / "model.zip"
    archive_with(model, path)
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 255
    spoilt = {"flipped.zip": bytes(whole), "cut.zip": bytes(whole[:-300]), "text.zip": b"hello"}
    for name, content in spoilt.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=f"{name}: not a trained model|damaged"):
            load_model(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("notes/readme.txt", "hello")
    torch.save({"weight": torch.zeros(2)}, tmp_path / "net.pt")
    for name in ("other.zip", "net.pt"):
        with pytest.raises(InputError, match="not a trained model, it has no config.json"):
            load_model(tmp_path / name)


def test_nothing_is_written_over_or_left_half_written(model, tmp_path, monkeypatch):
    loaded = load_model(model)
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="holds other files"):
        save_model(loaded, other)
    save_model(loaded, model)  # its own kind of folder is replaced

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    monkeypatch.setattr("zipfile.ZipFile.writestr", full)
    for name in ("new", "new.zip"):
        with pytest.raises(OSError, match="No space left"):
            save_model(loaded, tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "thesis"]


def test_a_model_of_another_task_is_refused(model):
    with pytest.raises(InputError, match="trained to segment, expected a model trained to clas"):
        load_model(model, task="classify")


def test_a_classifier_is_a_model_too(tmp_path):
    values = {"task": "classify", "data": "d.csv", "network": "timm:test_resnet"}
    settings = make_settings(values, "test")
    plan = ClassifyPlan("classes", ("dull", "bright"), (3, 4), 1, (8, 16, 16))
    net = make_classifier(settings, plan, load=False).net.eval()
    save_model(Model(net, settings, plan, {"weights_2d": {}}), tmp_path / "model.zip")
    found = load_model(tmp_path / "model.zip", task="classify")
    assert found.settings == settings and found.plan == plan
    boxes = torch.randn(2, 1, 8, 16, 16)
    with torch.no_grad():
        assert torch.equal(found.net(boxes), net(boxes))
    card = model_files(found)["README.md"].decode()
    assert "0 dull, 1 bright" in card and "pipeline_tag: image-classification" in card
    with pytest.raises(InputError, match="trained to classify, expected a model trained to segm"):
        load_segmenter(tmp_path / "model.zip")
