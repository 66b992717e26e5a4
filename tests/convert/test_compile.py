"""``torch.compile`` of a converted network: one graph, the eager numbers, or a clear refusal."""

import copy
from contextlib import suppress

import pytest
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint
from torchvision import models

import thirdaxis
from thirdaxis.fusion.table import ON_CONVOLUTIONS
from thirdaxis.nets.unet import UNet

TORCHVISION = [
    *("resnet50", "densenet121", "mobilenet_v3_large", "shufflenet_v2_x0_5", "efficientnet_b0"),
    *("convnext_tiny", "swin_t"),
]
NETWORKS = {
    **{name: lambda name=name: models.get_model(name, weights=None) for name in TORCHVISION},
    "unet": lambda: UNet(3, 2),
    "smp Unet": lambda: smp.Unet("resnet18", encoder_weights=None, classes=3),
    "smp FPN": lambda: smp.FPN("resnet18", encoder_weights=None, classes=3),
}


OLD_WORDS = "|Observed exception"  # all that older torch says of an error while it reads code
STOPS = torch._dynamo.exc.TorchRuntimeError  # in older torch; newer runs the network as it is


class Traps(nn.Module):
    """What the compiler would misread on a tensor subclass, and state that a call changes."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, 2, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.tied = nn.Conv2d(6, 6, 3, padding=1)
        self.again = nn.Conv2d(6, 6, 3, padding=1)
        self.again.weight = self.tied.weight

    def forward(self, x):
        x = F.hardswish(self.norm(self.stem(x)))
        y = F.hardsigmoid(self.tied(x))
        y += x
        x = torch.cat((x, self.again(y)), 1)
        x = torch.stack((x, x.flip(1)), 1).mean(1)
        y = x.clone()
        y[:, :2] = 0
        y[..., 0] += x[..., -1]
        return F.interpolate(y, scale_factor=2), y.mean((2, 3))


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def same(one, other, **close):
    torch.testing.assert_close(one, other, **(close or {"rtol": 1e-4, "atol": 1e-5}))


@pytest.mark.parametrize("fusion", ON_CONVOLUTIONS)
def test_training_and_evaluation_compile_to_one_graph(fusion, operator, told):
    torch.manual_seed(0)
    net = thirdaxis.convert(Traps(), operator(fusion, 7))
    eager = copy.deepcopy(net)
    compiled = torch.compile(net, backend="aot_eager", fullgraph=True)
    for training in (True, False, True):
        volume = torch.randn(2, 3, 7, 12, 16)
        net.train(training), eager.train(training)
        given = told(fusion, volume)
        answers = compiled(volume, **given), eager(volume, **given)
        same(*answers)
        for one in answers:
            sum(out.square().sum() for out in one).backward()
        for (name, a), (_, b) in zip(net.named_parameters(), eager.named_parameters(), strict=True):
            same(a.grad, b.grad, rtol=1e-3, atol=1e-4, msg=lambda m, name=name: f"{name}: {m}")
        for a, b in zip(net.buffers(), eager.buffers(), strict=True):
            same(a, b)


def test_other_sizes_are_right_too():
    torch.manual_seed(0)
    net = thirdaxis.convert(Traps()).eval()
    compiled = torch.compile(net, backend="aot_eager", fullgraph=True)
    for size in [(2, 3, 7, 12, 16), (1, 3, 4, 12, 16), (3, 3, 1, 20, 18), (1, 3, 9, 10, 10)]:
        volume = torch.randn(size)
        same(compiled(volume), net(volume))


def test_inside_a_larger_program_and_a_compiled_method():
    whole = nn.Sequential(thirdaxis.convert(nn.Conv2d(1, 2, 3, padding=1)), nn.ReLU())
    volume = torch.randn(1, 1, 4, 8, 8)
    same(torch.compile(whole, backend="aot_eager", fullgraph=True)(volume), whole(volume))


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, padding=1)
        self.register_buffer("gate", torch.ones(()))

    def forward(self, x):
        return torch.cat((self.conv(x), x), 1) if self.gate > 0 else self.conv(x)


def test_a_branch_on_numbers_breaks_the_graph_not_the_answer():
    net = thirdaxis.convert(Branching())
    compiled = torch.compile(net, backend="aot_eager")
    volume = torch.rand(1, 1, 4, 8, 8)
    for gate in (1, -1, 1):
        net.gate.fill_(gate)
        with suppress(STOPS), pytest.warns(UserWarning, match="Branching cannot be compiled"):
            same(compiled(volume), net(volume))
        torch._dynamo.reset()
    with pytest.warns(UserWarning, match="cannot be compiled"), pytest.raises(Exception) as caught:
        torch.compile(net, backend="aot_eager", fullgraph=True)(volume)
    assert isinstance(caught.value, torch._dynamo.exc.TorchDynamoException)


class Recomputed(nn.Module):
    def __init__(self, reentrant):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 2, 3, padding=1)
        self.reentrant = reentrant

    def forward(self, x):
        return checkpoint(self.second, self.first(x), use_reentrant=self.reentrant)


def test_checkpoints_compile_or_are_refused():
    volume = torch.randn(1, 1, 4, 8, 8)
    net = thirdaxis.convert(Recomputed(False))
    same(torch.compile(net, backend="aot_eager", fullgraph=True)(volume), net(volume))
    net = thirdaxis.convert(Recomputed(True))
    with suppress(STOPS), pytest.warns(UserWarning, match="cannot be.*use_reentrant=False"):
        same(torch.compile(net, backend="aot_eager")(volume), net(volume))


def test_what_cannot_be_compiled_says_so():
    plain = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    volume = torch.randn(1, 1, 4, 8, 8)
    with pytest.raises(Exception, match=f"part of a converted network{OLD_WORDS}"):
        torch.compile(thirdaxis.convert(plain)[0], backend="aot_eager", fullgraph=True)(volume)
    plain.register_forward_pre_hook(lambda module, args: None)
    with pytest.raises(Exception, match=f"hooks that it had before{OLD_WORDS}"):
        torch.compile(thirdaxis.convert(plain), backend="aot_eager", fullgraph=True)(volume)
    with (
        pytest.warns(UserWarning, match=r"takes \(N, C, D, H, W\), got rank 4"),
        pytest.raises((thirdaxis.InputError, STOPS), match="got rank 4"),
    ):
        torch.compile(thirdaxis.convert(nn.Conv2d(1, 2, 3)), backend="aot_eager")(volume[:, :, 0])


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_network_compiles_to_one_graph(lively, name):
    torch.manual_seed(0)
    net = thirdaxis.convert(lively(NETWORKS[name]())).double()
    volume = torch.randn(2, 3, 6, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        compiled = torch.compile(net, backend="aot_eager", fullgraph=True)
        expected, other = net(volume), net(torch.randn_like(volume))
        assert (expected - other).std() > 1e-2 * expected.std()
        same(compiled(volume), expected, rtol=1e-9, atol=1e-9 * expected.std().item())
