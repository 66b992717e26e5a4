import pytest
import torch
import yaml

from thirdaxis.errors import InputError, UsageError
from thirdaxis.tasks.engine import Display
from thirdaxis.tasks.keep import read_checkpoint
from thirdaxis.tasks.run_folder import read_run
from thirdaxis.tasks.segmentation.run import Segment
from thirdaxis.tasks.stages import (
    check_reached,
    check_stages,
    read_stages,
    resume_stages,
    runs_of,
    train_stages,
)

SLICES = {"fusion": "slicewise", "patch": [1, 16, 16], "epochs": 2}
VOLUMES = {"fusion": "acs", "patch": [4, 16, 16], "epochs": 3, "freeze": "enc1", "unlock_at": 1}

RUNS = ((1, "slices"), (2, "volumes"))


@pytest.fixture
def told(tmp_path, make_phantoms, phantom_settings, monkeypatch):
    """Two stages that take seconds; their scores are not asked for."""

    def finish(task, run, data, shown):
        (run.folder / "metrics.json").write_text("{}", encoding="utf-8")
        return {}

    monkeypatch.setattr(Segment, "finish", finish)
    data = make_phantoms(tmp_path / "data", 4)
    common = phantom_settings | {"data": str(data), "epoch_steps": 1, "folds": 2}
    return common | {"stages": {"slices": SLICES, "volumes": VOLUMES}}


def test_each_stage_lays_its_settings_over_those_of_all(tmp_path):
    told = {"data": "d", "weights": "library", "network": "torchvision:resnet18"}
    told |= {"loss": "ce", "stages": {"slices": SLICES, "none": None, "volumes": VOLUMES}}
    found = runs_of(told, tmp_path / "out", "test")
    assert [run.name for run in found] == ["slices", "volumes"]
    one, other = found.values()
    assert (one.weights, other.weights) == ("library", str(tmp_path / "out" / "slices"))
    assert (one.fusion, other.fusion, one.loss, other.loss) == ("slicewise", "acs", "ce", "ce")
    told["stages"]["volumes"] = VOLUMES | {"weights": "library"}
    assert list(runs_of(told, tmp_path, "test").values())[1].weights == "library"
    del told["stages"]
    assert list(runs_of(told, tmp_path / "out", "test")) == [tmp_path / "out"]


def test_stages_stopped_in_the_first_or_in_the_second_end_as_unbroken_ones(tmp_path, told):
    whole = tmp_path / "whole"
    said = []
    train_stages(runs_of(told, whole, "test"), whole, Display(say=said.append))
    told_of = [line for line in said if line.startswith("stage")]
    assert told_of == [f"stage {n} of 2: {whole / stage}" for n, stage in RUNS]
    started = read_run(whole / "volumes").settings.weights
    assert started == str(whole / "slices")

    class Stopped(Exception):
        pass

    def stop_at(epochs):
        def say(line):
            if line.startswith(f"epoch {epochs}"):
                raise Stopped

        return Display(say=say)

    broken = tmp_path / "broken"
    with pytest.raises(Stopped):
        train_stages(runs_of(told, broken, "test"), broken, stop_at("2/2"))
    assert not (broken / "volumes").exists()
    with pytest.raises(Stopped):
        resume_stages(broken, stop_at("3/3"))
    assert (broken / "slices" / "metrics.json").exists()
    resume_stages(broken)
    for stage in ("slices", "volumes"):
        one, other = (read_checkpoint(run / stage / "last.ckpt") for run in (whole, broken))
        assert one["epoch"] == other["epoch"] == told["stages"][stage]["epochs"] - 1
        for name, value in one["state_dict"].items():
            assert torch.equal(value, other["state_dict"][name]), name
    with pytest.raises(UsageError, match="exists already .--resume goes on"):
        train_stages(runs_of(told, whole, "test"), whole)
    with pytest.raises(InputError, match="holds stages, each a run folder; name one: .*volumes"):
        read_run(whole)


def test_the_second_stage_begins_with_what_the_first_learnt(tmp_path, told):
    told["stages"]["volumes"] = VOLUMES | {"unlock_at": None, "epochs": 1}
    train_stages(runs_of(told, tmp_path / "out", "test"), tmp_path / "out")
    first = read_checkpoint(tmp_path / "out" / "slices" / "best.ckpt")["state_dict"]
    second = read_checkpoint(tmp_path / "out" / "volumes" / "last.ckpt")["state_dict"]
    locked = [name for name in first if name.startswith("net.enc1.")]
    assert locked and [n for n in locked if not torch.equal(first[n], second[n])] == []
    assert not torch.equal(first["net.head.weight"], second["net.head.weight"])


def stages(tmp_path, **second):
    told = {"data": "d", "stem": "depth", "fusion": "slicewise", "patch": [4, 32, 32]}
    first = {"network": "gcn:resnet18", "depth_stride": False}
    second = {"network": "ahnet:resnet18", "freeze": "encoder", **second}
    return runs_of(told | {"stages": {"first": first, "second": second}}, tmp_path, "test")


@pytest.mark.parametrize("fusion", ["slicewise", "acs", "a3d", "alignshift"])
def test_ah_net_can_follow_its_first_stage_under_any_operator(tmp_path, fusion):
    check_stages(stages(tmp_path, fusion=fusion))


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ({"network": "ahnet:resnet34"}, "first: its encoder does not fit"),
        ({"network": "ahnet:resnet50"}, "its encoder does not fit AH-Net's.*on the same ResNet"),
        ({"stem": "sum"}, r"should be \(64, 1, 7, 7\), and is \(64, 1, 3, 7, 7\)"),
        ({"fusion": "i3d"}, "fusions that keep 2D kernels"),
        ({"freeze": "encodr"}, "no part of the network is called 'encodr'; did you mean"),
    ],
)
def test_a_stage_that_cannot_follow_is_told_before_anything_is_trained(tmp_path, second, said):
    with pytest.raises((InputError, UsageError), match=said):
        train_stages(stages(tmp_path / "out", **second), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["slices"], "stages are a table of name -> table of settings, got .'slices'."),
        ({"one": None}, "stages are a table"),
        ({"a/b": {}}, "got 'a/b'; a name has letters, digits, - and _ alone"),
        ({"one": {"epoch": 3}}, "test: stages.one: unknown setting 'epoch'; did you mean 'epochs"),
        ({"one": {"epochs": 0}}, "test: stages.one: setting 'epochs'"),
    ],
)
def test_stages_that_are_none(tmp_path, wrong, said):
    with pytest.raises(UsageError, match=said):
        runs_of({"data": "d", "stages": wrong}, tmp_path, "test")


def test_words_that_reach_no_stage_are_refused():
    told = {"stages": {"slices": SLICES, "volumes": VOLUMES}}
    check_reached(told, {"batch": 2, "freeze": "enc1", "stages": {"slices": {"epochs": 1}}}, "x")
    with pytest.raises(UsageError, match="epochs: each stage .* stages.slices.epochs= or stages.v"):
        check_reached(told, {"epochs": 2}, "x")
    check_reached({"epochs": 1}, {"epochs": 2}, "x")


def test_a_damaged_folder_of_stages_is_told(tmp_path):
    with pytest.raises(InputError, match="no such settings file"):
        read_stages(tmp_path)
    for text in ("[1, 2]", "one: 3", yaml.safe_dump({"one": {"epochz": 1}})):
        (tmp_path / "stages.yaml").write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match="stages.yaml"):
            read_stages(tmp_path)
