"""Parts and methods of a converted network by themselves: settings, copies, hooks, refusals."""

import copy
import pickle

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
import torch.nn.functional as F
from torch import nn
from torchvision import models
from torchvision.models.feature_extraction import create_feature_extractor

import thirdaxis

pytestmark = pytest.mark.usefixtures("repeatable")


def resnet():
    return models.resnet18(weights=None).eval()


@pytest.mark.parametrize("depth", [1, 4, 7])
@pytest.mark.parametrize("fusion", ["acs", "i3d"])
def test_parts_add_up_to_the_whole_where_depth_is_strided(fusion, depth):
    net = thirdaxis.convert(smp.Unet("resnet18", encoder_weights=None).eval(), fusion)
    volume = torch.randn(1, 3, depth, 64, 64)
    found = net.encoder(volume)
    assert [tuple(f.shape[2:]) for f in found] == [
        (-(-depth // s), 64 // s, 64 // s) for s in (1, 2, 4, 8, 16, 32)
    ]
    whole = net(volume)
    assert whole.shape == (1, 1, depth, 64, 64)
    torch.testing.assert_close(net.segmentation_head(net.decoder(found)), whole)
    torch.testing.assert_close(net.predict(volume), whole)


def test_a_pooled_vector_of_a_part_is_the_volumes():
    net = thirdaxis.convert(timm.create_model("resnet18").eval())
    volume = torch.randn(2, 3, 5, 64, 64)
    found = net.forward_features(volume)
    assert found.shape == (2, 512, 1, 2, 2)
    assert net.global_pool(found).shape == (2, 512)
    torch.testing.assert_close(net.forward_head(found), net(volume))


def test_a_feature_extractor_keeps_its_hooks_and_its_two_graphs(volume):
    extractor = create_feature_extractor(resnet().train(), {"layer1": "map"})
    seen = []
    extractor.register_forward_hook(lambda part, args, out: seen.append(out["map"].shape))
    lifted = thirdaxis.convert(extractor)
    for net in (lifted, copy.deepcopy(lifted)):
        assert net.training and net.layer1.training
        assert net.eval()(volume)["map"].shape == (2, 64, 1, 16, 16)
        assert not net.layer1.training and net.train()(volume)["map"].shape == (2, 64, 1, 16, 16)
    assert seen == [(2, 64, 16, 16)] * 4
    assert "17 of 17" in str(
        thirdaxis.report(thirdaxis.convert(create_feature_extractor(resnet(), ["layer4"])))
    )
    assert thirdaxis.check(extractor, volume).passed


def test_a_part_has_its_own_settings_by_itself():
    net = thirdaxis.convert(resnet(), "acs", overrides={"layer1": {"depth_stride": False}})
    assert net.layer2(torch.randn(1, 64, 8, 16, 16)).shape == (1, 128, 4, 8, 8)
    alone = thirdaxis.convert(resnet(), overrides={"layer2": {"depth_stride": False}}).layer2
    assert alone(torch.randn(1, 64, 8, 16, 16)).shape == (1, 128, 8, 8, 8)
    assert alone[0].conv1(torch.randn(1, 64, 8, 16, 16)).shape == (1, 128, 8, 8, 8)


def test_hooks_see_pictures_and_reveal_gives_the_volume(volume):
    seen, net = {}, resnet()
    net.layer1.register_forward_hook(lambda part, args, out: seen.update(before=out))
    net.layer1.register_forward_pre_hook(lambda part, args: seen.update(given=args[0].dim()))
    lifted = thirdaxis.convert(net, "slicewise", depth_stride=False)
    lifted.layer1.register_forward_hook(lambda part, args, out: seen.update(after=out))
    lifted(volume)
    assert seen["given"] == 4 and seen["before"].shape == seen["after"].shape == (2, 64, 16, 16)
    inside = thirdaxis.reveal(seen["after"])
    assert type(inside) is torch.Tensor and inside.shape == (2, 64, 3, 16, 16)
    alone = lifted.layer1(lifted.maxpool(lifted.relu(lifted.bn1(lifted.conv1(volume)))))
    assert seen["given"] == 4 and seen["before"].shape == (2, 64, 16, 16)
    torch.testing.assert_close(alone, inside)
    assert seen["after"] is alone  # a hook of the converted part itself sees what the user gets


class OnTop(nn.Module):
    """A 3D network that somebody builds on a part of a converted one."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder, self.head = encoder, nn.Conv3d(64, 2, 1)

    def forward(self, x):
        return self.head(self.encoder(x)).mean((2, 3, 4))


def test_a_part_serves_in_a_3d_network(volume):
    net = thirdaxis.convert(resnet())
    out = OnTop(nn.Sequential(net.conv1, net.layer1))(volume)
    assert out.shape == (2, 2)
    out.sum().backward()
    assert net.conv1.weight.grad is not None and net.layer2[0].conv1.weight.grad is None


class Insider(nn.Module):
    """Five dimensions that are the program's own, and a network that calls itself."""

    def __init__(self):
        super().__init__()
        self.conv, self.inner = nn.Conv2d(3, 4, 3, padding=1), nn.Conv3d(1, 1, 3, padding=1)

    def forward(self, x, turned=False):
        if turned:
            return self(x) + self(x.transpose(2, 3)).transpose(2, 3)
        x = self.conv(x)
        return x * self.gate(x)[:, :, None, None]

    def gate(self, x):
        x = self.conv(x) if x.shape[1] == 3 else x
        x = x.amax((2, 3)).view(len(x), 1, 1, 2, 2)
        return self.inner(x).flatten(1)

    def scores(self, x):
        return self(x).softmax(2)


def test_the_programs_own_five_dimensions_and_calls_of_itself(volume):
    net = Insider()
    same = volume[:, :, :1].repeat(1, 1, 3, 1, 1)
    lifted = thirdaxis.convert(net, "slicewise", statistics="volume")
    uses = (
        lambda net, x: net(x),
        lambda net, x: net(x, turned=True),
        lambda net, x: net.scores(x),
        lambda net, x: net.gate(x),
    )
    for use in uses:
        found, expected = use(lifted, same), use(net, same[:, :, 0])
        if found.dim() == 5:
            expected = expected.unsqueeze(2).expand(2, 4, 3, 64, 64)
        torch.testing.assert_close(found, expected)


def test_code_of_the_program_is_not_run_on_volumes(volume):
    net = thirdaxis.convert(resnet())
    torch.testing.assert_close(net.forward(volume), net(volume), rtol=0, atol=0)
    with pytest.raises(thirdaxis.InputError, match="outside a call.*call the network"):
        net._forward_impl(volume)
    advice = r"thirdaxis\.convert\(create_feature_extractor\(net2d"
    with pytest.raises(thirdaxis.InputError, match=advice):
        create_feature_extractor(net, {"layer1": "a"})(volume)
    with pytest.raises(thirdaxis.InputError, match=advice):
        torch.fx.symbolic_trace(net)(volume)
    with pytest.raises(thirdaxis.UsageError, match="a part of it, is converted"):
        thirdaxis.convert(create_feature_extractor(net, {"layer1": "a"}))
    graph = thirdaxis.convert(create_feature_extractor(resnet(), {"layer1": "a"}))
    with pytest.raises(thirdaxis.InputError, match=f"unpickled.*{advice}"):
        pickle.loads(pickle.dumps(graph))(volume)


def test_methods_belong_to_the_copy_they_hang_on(volume):
    net = timm.create_model("resnet18").eval()
    lifted = thirdaxis.convert(net)
    expected = lifted.forward_features(volume)
    twins = [copy.deepcopy(lifted), pickle.loads(pickle.dumps(lifted))]
    for parameter in lifted.parameters():
        parameter.data.zero_()
    for twin in twins:
        assert type(twin) is type(net)
        torch.testing.assert_close(twin.forward_features(volume), expected)
        assert twin.state_dict().keys() == net.state_dict().keys()
    assert lifted.forward_features(volume).abs().max() == 0
    assert lifted.get_classifier() is lifted.fc  # other methods are what they were
    assert net.forward_features(volume[:, :, 0]).shape == (2, 512, 2, 2)


def test_gradients_of_a_part_equal_those_of_its_slices(volume):
    net = resnet()
    lifted = thirdaxis.convert(net, "slicewise", depth_stride=False)
    F.relu(lifted.bn1(lifted.conv1(volume))).square().sum().backward()
    sum(F.relu(net.bn1(net.conv1(s))).square().sum() for s in volume.unbind(2)).backward()
    torch.testing.assert_close(
        lifted.conv1.weight.grad, net.conv1.weight.grad, rtol=1e-3, atol=1e-2
    )


class Trained(nn.Module):
    """As of a training loop: the step calls the network and sees what comes out of it."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3, padding=1)

    def forward(self, x):
        return self.conv(x)

    def training_step(self, batch):
        self.seen = self(batch).shape
        return self(batch).amax()


def test_steps_of_a_training_loop_see_volumes(volume):
    net = thirdaxis.convert(Trained())
    assert net.training_step(volume) == net(volume).amax()
    assert net.seen == (volume.shape[0], 2, *volume.shape[2:])
