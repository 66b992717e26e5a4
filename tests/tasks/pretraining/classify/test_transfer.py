"""From pretraining to file to the networks of other tasks."""

import pytest
import torch
from safetensors.torch import load_file

from thirdaxis.errors import InputError
from thirdaxis.tasks import runs
from thirdaxis.tasks.classification.network import make_classifier
from thirdaxis.tasks.classification.plan import ClassifyPlan
from thirdaxis.tasks.pretraining.classify.network import make_pretrainee
from thirdaxis.tasks.segmentation.network import make_network
from thirdaxis.tasks.segmentation.plan import Plan
from thirdaxis.tasks.settings_files import make_settings

SHORT = {"size": 16, "epochs": 1, "epoch_steps": 2, "batch": 4}


@pytest.fixture(scope="module")
def volumes(tmp_path_factory, pretrain_values):
    """Weights of a ResNet3D-18 after two steps."""
    out = tmp_path_factory.mktemp("volumes") / "run"
    values = pretrain_values | SHORT | {"network": "resnet3d:18"}
    runs.train(make_settings(values, "test"), out)
    return out / "pretrained.safetensors"


@pytest.fixture(scope="module")
def planes(tmp_path_factory, pretrain_values):
    """Weights of torchvision's ResNet-18 in 2D after two steps."""
    out = tmp_path_factory.mktemp("planes") / "run"
    values = pretrain_values | SHORT | {"network": "torchvision:resnet18", "transform": "none"}
    runs.train(make_settings(values, "test"), out)
    return out / "pretrained.safetensors"


def classifier(weights, **told):
    values = {"task": "classify", "data": "x.csv", "weights": str(weights), **told}
    plan = ClassifyPlan("classes", ("a", "b"), (1, 1), 1, (8, 16, 16))
    return make_classifier(make_settings(values, "test"), plan)


def test_the_page_shows_first_kernels_that_are_3d(volumes, planes):
    pages = [
        (file.parent / "report.html").read_text(encoding="utf-8") for file in (volumes, planes)
    ]
    assert ["first kernels" in page for page in pages] == [True, False]


def test_the_weights_of_volumes_start_a_classifier(volumes):
    made = classifier(volumes, network="resnet3d:18")
    state, own = load_file(volumes), made.net.state_dict()
    assert state["conv1.weight"].shape == (64, 1, 7, 7, 7)
    for name, value in state.items():
        assert name.startswith("fc.") or torch.equal(own[name], value)
    assert {name for name, _ in made.weights.skipped} == {"fc.weight", "fc.bias"}
    assert made.weights.missing == []


def test_the_weights_of_volumes_start_a_segmenter_with_a_part_locked(volumes):
    values = {"data": "x", "network": "resnet3d:18", "weights": str(volumes)}
    settings = make_settings(values | {"freeze": "encoder.*layer1"}, "test")
    plan = Plan({0: "background", 1: "one"}, ("CT",), None, 1.0, (8, 16, 16))
    made = make_network(settings, plan)
    state, own = load_file(volumes), made.net.state_dict()
    for name, value in state.items():
        assert name.startswith("fc.") or torch.equal(own[f"encoder.body.{name}"], value)
    told = str(made.weights)
    assert "120 tensors loaded, 0 adapted, 2 skipped" in told and "names as encoder.body.*" in told
    locked = {n for n, weight in made.net.named_parameters() if not weight.requires_grad}
    assert locked and all(".layer1." in name for name in locked)


def test_the_weights_of_planes_start_converted_networks(planes):
    state = load_file(planes)
    assert state["layer1.0.conv1.weight"].shape == (64, 64, 3, 3)
    own = classifier(planes, network="torchvision:resnet18", fusion="acs").net.state_dict()
    assert torch.equal(own["layer1.0.conv1.weight"], state["layer1.0.conv1.weight"])
    torch.testing.assert_close(own["conv1.weight"], state["conv1.weight"].sum(1, keepdim=True))
    own = classifier(planes, network="torchvision:resnet18", fusion="i3d").net.state_dict()
    kernel = own["layer1.0.conv1.weight"]
    assert kernel.shape == (64, 64, 3, 3, 3)
    torch.testing.assert_close(kernel.sum(2), state["layer1.0.conv1.weight"])
    assert torch.equal(own["layer2.0.bn1.running_var"], state["layer2.0.bn1.running_var"])


def test_weights_of_another_network_are_refused(volumes):
    with pytest.raises(InputError, match="pretrained.safetensors: .*no weights fit|holds 3D"):
        classifier(volumes, network="torchvision:squeezenet1_0")


def test_pretraining_goes_on_from_weights_of_its_own(volumes, pretrain_values):
    """From volumes whose depth was kept to the network without the modification, and others."""
    values = pretrain_values | {"network": "resnet3d:18", "weights": str(volumes)}
    for told in ({"depth_stride": True}, {}):
        made = make_pretrainee(make_settings(values | told, "test"), 3)
        own = made.net.state_dict()
        assert all(torch.equal(own[name], value) for name, value in load_file(volumes).items())
    with pytest.raises(InputError, match="holds 3D kernels, and transform 'none' trains"):
        make_pretrainee(make_settings(values | {"transform": "none"}, "test"), 3)
