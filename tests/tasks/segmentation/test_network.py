import pytest
import torch

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
