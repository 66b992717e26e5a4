import pytest
import torch
import torchvision
from torch import nn

import thirdaxis
from thirdaxis.errors import UsageError
from thirdaxis.nets.build import build
from thirdaxis.nets.published import NETWORKS, gcn


@pytest.mark.parametrize("name", NETWORKS)
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
    found = {key.replace("bn0.", "bn1.", 1) if key.startswith("bn0.") else key for key in own}
    # DenseNet's last norm stands before the classifier and goes with it
    assert {key for key in whole - found if ".norm5." not in key} == set()
    for key in whole & own.keys():
        assert torch.equal(own[key], source[key]), key
    skipped = {key for key, _ in built.weights.skipped}
    assert all(key.startswith(("fc.", "classifier.", "features.norm5.")) for key in skipped)


def test_gcn_has_the_papers_parameters_and_convolutions():
    """Table 2 of the AH-Net paper."""
    net = gcn(1)
    assert sum(weight.numel() for weight in net.parameters()) == 23_576_758
    assert sum(isinstance(part, nn.Conv2d) for part in net.modules()) == 94


def test_gcn_converted_sees_three_slices_as_the_paper_feeds_them():
    """The RGB stem over depth: slices d - 1, d, d + 1 are red, green, blue."""
    torch.manual_seed(0)
    net = gcn(3).eval()
    net3d = thirdaxis.convert(net, "slicewise", in_channels=1, stem="depth", depth_stride=False)
    volume = torch.randn(1, 1, 4, 64, 64)
    with torch.no_grad():
        answer = net3d(volume)
        for d in (1, 2):
            torch.testing.assert_close(
                answer[:, :, d], net(volume[:, 0, d - 1 : d + 2]), rtol=1e-3, atol=1e-4
            )
            wrong = net(volume[:, 0, d - 1 : d + 2].flip(1))
            assert not torch.allclose(answer[:, :, d], wrong, rtol=1e-3, atol=1e-4)


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
