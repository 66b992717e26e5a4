import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from thirdaxis.errors import UsageError
from thirdaxis.tasks.classification.network import make_classifier, slices_read
from thirdaxis.tasks.classification.plan import ClassifyPlan
from thirdaxis.tasks.classification.settings import ClassifySettings

PLAN = ClassifyPlan("classes", ("a", "b", "c"), (5, 5, 5), 2, (6, 16, 16))


def make(network: str, plan: ClassifyPlan = PLAN, **told: object):
    return make_classifier(ClassifySettings(data="t.csv", network=network, **told), plan)


def test_it_takes_the_channels_and_gives_the_classes_of_the_plan():
    made = make("lidc:resnet18", fusion="slicewise", depth_stride=False)
    assert isinstance(made.net, nn.Module) and made.net.training and made.weights is None
    with torch.no_grad():
        assert made.net.eval()(torch.randn(2, 2, 6, 16, 16)).shape == (2, 3)


def test_pretrained_weights_arrive(tmp_path):
    source = models.resnet18(weights=None)
    save_file(source.state_dict(), tmp_path / "r18.safetensors")
    made = make("lidc:resnet18", weights=str(tmp_path / "r18.safetensors"))
    assert {name for name, _ in made.weights.skipped} == {"fc.weight", "fc.bias"}
    own = dict(made.net.named_parameters())["layer4.1.conv2.weight"]
    assert torch.equal(own, source.layer4[1].conv2.weight)


def test_one_seed_is_one_start():
    first, again, other = (
        make("timm:test_resnet", seed=seed).net.state_dict() for seed in (1, 1, 2)
    )
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert any(not torch.equal(value, other[name]) for name, value in first.items())


def test_squeezenet_does_not_end_in_a_relu():
    plan = ClassifyPlan("classes", ("a", "b"), (5, 5), 1, (32, 32, 32))
    net = make("torchvision:squeezenet1_1", plan).net
    weight, bias = (dict(net.named_parameters())[f"classifier.1.{n}"] for n in ("weight", "bias"))
    with torch.no_grad():
        weight.zero_()
        bias.copy_(torch.tensor([-2.0, 3.0]))
        assert net.eval()(torch.randn(1, 1, 32, 32, 32)).tolist() == [[-2, 3]]


def test_a_mixer_of_fixed_depth_takes_that_of_the_boxes():
    net = make("lidc:resnet18", fusion="a3d", depth_stride=False).net
    assert dict(net.named_parameters())["layer1.0.conv1.fusion.mix"].shape[:2] == (6, 6)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("unet", "unet segments"),
        ("timm:vit_tiny_patch16_224", "a box of 6×16×16 voxels does not go through"),
        ("thirdaxis.nets.unet:UNet", "it is no classifier"),
    ],
)
def test_what_gives_no_classes_is_refused(network, message):
    with pytest.raises(UsageError, match=message):
        make(network)


@pytest.mark.parametrize(
    ("told", "read"),
    [
        ({"fusion": "slicewise"}, 2),  # slices 0 and 32
        ({"fusion": "slicewise", "depth_stride": False}, 34),
        ({"fusion": "i3d"}, 34),
    ],
)
def test_strides_may_leave_a_slicewise_network_few_slices(told, read):
    plan = ClassifyPlan("classes", ("a", "b"), (5, 5), 1, (34, 34, 34))
    net = make("torchvision:mobilenet_v2", plan, **told).net
    assert slices_read(net, (1, 34, 34, 34)) == read
    assert net.training


def test_counting_slices_draws_no_chance():
    net = make("lidc:resnet18", fusion="slicewise").net
    before = torch.get_rng_state()
    assert slices_read(net, (2, 6, 16, 16)) == 2
    assert torch.equal(before, torch.get_rng_state())
