from dataclasses import replace

import pytest
import torch

from thirdaxis.convert.lift import beside
from thirdaxis.errors import InputError
from thirdaxis.tasks.keep import read_checkpoint
from thirdaxis.tasks.run_folder import read_run
from thirdaxis.tasks.segmentation.network import make_network
from thirdaxis.tasks.settings_files import make_settings


def settings_of(run, **values):
    return make_settings(run.settings.plain() | {"weights": str(run.folder)} | values, "test")


@pytest.mark.parametrize("fusion", ["slicewise", "acs", "tsm"])
def test_a_run_starts_from_the_best_network_of_another(phantom_run, fusion):
    run = read_run(phantom_run)
    made = make_network(settings_of(run, fusion=fusion, patch=(4, 16, 16)), run.plan)
    kept = read_checkpoint(phantom_run / "best.ckpt")["state_dict"]
    assert not made.weights.skipped and not made.weights.missing
    for name, value in made.net.state_dict().items():
        assert torch.equal(value, kept[f"net.{name}"]), name
    other = make_network(settings_of(run, fusion=fusion, weights=None), run.plan)
    assert not torch.equal(next(made.net.parameters()), next(other.net.parameters()))


def test_kernels_of_other_axes_are_refused(phantom_run):
    run = read_run(phantom_run)
    with pytest.raises(InputError, match="has 4 axes, here 5 are needed; take a fusion"):
        make_network(settings_of(run, fusion="i3d"), run.plan)


def test_a_folder_that_is_no_run_is_refused(phantom_run, tmp_path):
    run = read_run(phantom_run)
    with pytest.raises(InputError, match="no such checkpoint"):
        make_network(settings_of(run, weights=str(tmp_path)), run.plan)


AHNET = {"network": "ahnet:resnet18", "stem": "depth", "patch": (4, 16, 16)}


@pytest.mark.parametrize("fusion", ["slicewise", "acs", "a3d", "alignshift"])
def test_ah_net_is_converted_by_itself(phantom_run, fusion):
    run = read_run(phantom_run)
    plan = replace(run.plan, patch=(4, 16, 16))
    made = make_network(settings_of(run, fusion=fusion, weights=None, **AHNET), plan)
    assert made.net.training and made.net.encoder.conv1.weight.shape == (64, 1, 3, 7, 7)
    volume = torch.randn(2, len(plan.channels), 4, 16, 16)
    answer = made.net(volume, **beside(made.net, volume))
    assert answer.shape == (2, plan.classes, 4, 16, 16)
    assert made.net.encoder.maxpool(torch.randn(2, 64, 4, 8, 8)).shape[2] == 2


def test_ah_net_is_the_papers_unless_told():
    told = {"data": "d", "network": "ahnet:resnet50"}
    settings = make_settings(told, "test")
    assert (settings.fusion, settings.stem, settings.depth_stride) == ("slicewise", "depth", None)
    settings = make_settings(told | {"fusion": "acs", "stem": "sum"}, "test")
    assert (settings.fusion, settings.stem) == ("acs", "sum")
    settings = make_settings(told | {"network": "gcn:resnet50"}, "test")
    assert (settings.fusion, settings.stem) == ("acs", "sum")


def test_ah_net_starts_from_the_run_of_its_first_stage(phantom_run, tmp_path):
    """Encoder and running statistics, by name; the first stage's own way up is left behind."""
    run = read_run(phantom_run)
    stage1 = {"network": "gcn:resnet18", "fusion": "slicewise", "depth_stride": False}
    settings = settings_of(run, weights=None, stem="depth", **stage1)
    first = make_network(settings, run.plan, load=False).net
    torch.nn.init.normal_(first.encoder.layer4[1].bn2.running_mean)
    state = {f"net.{name}": value for name, value in first.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "best.ckpt")
    plan = replace(run.plan, patch=(4, 16, 16))
    settings = settings_of(run, fusion="slicewise", weights=str(tmp_path), **AHNET)
    made = make_network(settings, plan)
    for name, value in first.encoder.state_dict().items():
        assert torch.equal(made.net.encoder.state_dict()[name], value), name
    assert all(name.startswith("decoder.") for name in made.weights.missing)
    assert not any(name.startswith("encoder.") for name, _ in made.weights.skipped)
