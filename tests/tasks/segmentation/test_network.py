from dataclasses import replace

import pytest
import torch

from thirdaxis.convert.lift import beside
from thirdaxis.errors import InputError, UsageError
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


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ({"network": "gcn:resnet18"}, "ahnet:resnet34", "'layer1.2.conv1.weight'.* and is none"),
        ({"network": "gcn:resnet18", "stem": "sum"}, "ahnet:resnet18", r"and is \(64, 1, 7, 7\)"),
        ({"network": "unet"}, "ahnet:resnet18", "train the first stage with 'gcn:' on the same"),
    ],
)
def test_a_first_stage_that_is_not_ah_nets_is_refused(phantom_run, tmp_path, first, second, said):
    """Where a part of the encoder fits by name, the rest would stay random and locked."""
    run = read_run(phantom_run)
    told = {"fusion": "slicewise", "depth_stride": False, "stem": "depth", **first}
    net = make_network(settings_of(run, weights=None, **told), run.plan, load=False).net
    state = {f"net.{name}": value for name, value in net.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "best.ckpt")
    told = AHNET | {"network": second, "weights": str(tmp_path), "fusion": "slicewise"}
    with pytest.raises(InputError, match=f"{tmp_path}: its encoder does not fit.*{said}"):
        make_network(settings_of(run, **told), replace(run.plan, patch=(4, 16, 16)))


@pytest.mark.parametrize("patch", [(1, 1, 1), (1, 9, 7), (2, 33, 8)])
def test_ah_net_trains_on_patches_that_no_pool_divides(phantom_run, patch):
    run = read_run(phantom_run)
    told = AHNET | {"weights": None, "fusion": "slicewise", "patch": patch}
    net = make_network(settings_of(run, **told), replace(run.plan, patch=patch)).net
    answer = net(torch.randn(2, len(run.plan.channels), *patch))
    assert answer.shape == (2, run.plan.classes, *patch)
    answer.square().mean().backward()
    assert all(w.grad is not None and w.grad.isfinite().all() for w in net.encoder.parameters())


def test_a_batch_that_leaves_nothing_to_normalise_is_told_before_the_run(phantom_run):
    run = read_run(phantom_run)
    told = AHNET | {"weights": None, "fusion": "slicewise", "batch": 2, "devices": 2}
    plan = replace(run.plan, patch=(4, 16, 32))
    with pytest.raises(UsageError, match="patch of 4×16×32 voxels .* take a batch of 2, or a side"):
        make_network(settings_of(run, **told), plan)
    make_network(settings_of(run, **told), replace(plan, patch=(4, 16, 33)))
