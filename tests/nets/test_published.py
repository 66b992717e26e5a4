import pytest
import torch
import torchvision

import thirdaxis
from thirdaxis.errors import UsageError
from thirdaxis.nets.build import build
from thirdaxis.nets.published import NETWORKS

# The deeper ResNets are built by the same code, and large.
SMALL = [name for name in NETWORKS if not name.endswith(("resnet101", "resnet152"))]


@pytest.mark.parametrize("name", SMALL)
def test_every_name_takes_torchvisions_weights_under_their_own_names(tmp_path, name):
    with torch.device("meta"):
        shapes = torchvision.models.get_model(NETWORKS[name].weights, weights=None).state_dict()
    source = {
        key: torch.randn(like.shape).to(like.dtype)
        for key, like in shapes.items()
        if like.numel() < 2**24  # but for the first linear layer of VGG
    }
    torch.save(source, tmp_path / "w.pth")
    built = build(name, classes=3, weights=tmp_path / "w.pth")
    assert built.rgb
    own = {key.removeprefix("encoder."): value for key, value in built.net.state_dict().items()}
    whole = {key for key in source if not key.startswith(("fc.", "classifier."))}
    # DenseNet's last norm stands before the classifier and goes with it
    assert {key for key in whole - own.keys() if ".norm5." not in key} == set()
    for key in whole & own.keys():
        assert torch.equal(own[key], source[key]), key
    skipped = {key for key, _ in built.weights.skipped}
    assert all(key.startswith(("fc.", "classifier.", "features.norm5.")) for key in skipped)


def test_nearest_names():
    with pytest.raises(UsageError, match="did you mean 'fcn:resnet18'"):
        build("fcn:resnet19", classes=2)
    with pytest.raises(UsageError, match="did you mean 'resunet:resnet34'"):
        build("resunet:resnt34", classes=2)
    with pytest.raises(UsageError, match="fcn:resnet18 segments"):
        build("fcn:resnet18", classes=2, task="classify")


def test_deeplab_keeps_its_head_but_for_the_classes(tmp_path):
    """A network for 21 classes, as torchvision publishes it, for a run of three."""
    source = torchvision.models.segmentation.deeplabv3_mobilenet_v3_large(
        weights=None, weights_backbone=None, aux_loss=True, num_classes=21
    )
    torch.save(source.state_dict(), tmp_path / "voc.pth")
    built = build(
        "torchvision:deeplabv3_mobilenet_v3_large", classes=3, weights=tmp_path / "voc.pth"
    )
    own = built.net.net.state_dict()
    last = {"classifier.4.weight", "classifier.4.bias"}
    for key, value in source.state_dict().items():
        if key not in last and not key.startswith("aux_classifier."):
            assert torch.equal(own[key], value), key
    assert own["classifier.4.weight"].shape[0] == 3
    told = dict(built.weights.skipped)
    assert "(21," in told["classifier.4.weight"] and "(3," in told["classifier.4.weight"]
    others = told.keys() - last
    assert others and all(key.startswith("aux_classifier.") for key in others)
    assert "classifier.0.project.0.weight" in built.weights.loaded
    net3d = thirdaxis.convert(built.net, "acs", in_channels=1).eval()
    with torch.no_grad():
        assert net3d(torch.randn(1, 1, 32, 48, 48)).shape == (1, 3, 32, 48, 48)
