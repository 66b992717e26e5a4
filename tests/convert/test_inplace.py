"""In-place code on carriers: the 2D network's numbers and gradients, and nothing copied for it."""

from collections import Counter
from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import thirdaxis
from thirdaxis.convert.carrier import Hidden


class Program(nn.Module):
    """A convolution and a batch norm, then a given piece of 2D code."""

    def __init__(self, code):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8).eval()
        self.code = code

    def forward(self, x):
        return self.code(self.norm(self.conv(x)))


def used_again(x):
    F.relu_(x)
    return x * x


def returned_and_used(x):
    y = x.mul_(2)
    assert y is x
    return y + x


def residual(x):
    out = F.conv2d(x, torch.ones(8, 8, 1, 1))
    out += x
    return F.relu(out, inplace=True)


def residual_after_relu(x):
    x = F.relu(x, inplace=True)
    out = F.conv2d(x, torch.ones(8, 8, 1, 1)) + x
    out.add_(x).mul_(0.5)
    return out


def by_a_view(x):
    x[:, :4].neg_()
    x[:, 4:, ::2] *= 3
    return x.square()


def by_a_chunk(x):
    first, second = x[:, :4], x[:, 4:]
    first += second
    return torch.cat([first, x], 1)


def under_a_view(x):
    left = x.transpose(1, 2)[..., 2:]
    x.sigmoid_()
    return left * left


def pooled_then_changed(x):
    y = F.max_pool2d(x, 3, 1, 1)
    y.clamp_(min=0.1)
    z = F.interpolate(y, scale_factor=2)
    z += 1
    return F.pad(z, (1, 1)).mul_(2)


def joined_then_changed(x):
    y = torch.cat([x, x.exp()], 1)
    F.silu(y, inplace=True)
    return y


PROGRAMS = [
    used_again,
    returned_and_used,
    residual,
    residual_after_relu,
    by_a_view,
    by_a_chunk,
    under_a_view,
    pooled_then_changed,
    joined_then_changed,
]


def gradients(net, *inputs):
    """Gradients of all parameters and inputs."""
    loss = sum(out.square().sum() + out.sum() for out in map(net, inputs))
    return torch.autograd.grad(loss, [*net.parameters(), *inputs])


@pytest.mark.parametrize("code", PROGRAMS, ids=lambda code: code.__name__)
def test_numbers_and_gradients_are_those_of_the_slices(code):
    torch.manual_seed(0)
    net = Program(code)
    lifted = thirdaxis.convert(net, "slicewise", depth_stride=False)
    volume = torch.randn(2, 3, 4, 6, 8, requires_grad=True)
    slices = [volume[:, :, i].detach().requires_grad_() for i in range(4)]
    out = lifted(volume)
    torch.testing.assert_close(out, torch.stack([net(s) for s in slices], 2), rtol=1e-5, atol=1e-5)
    *found, at_input = gradients(lifted, volume)
    wanted = gradients(net, *slices)
    torch.testing.assert_close(at_input, torch.stack(wanted[-4:], 2), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found, list(wanted[:-4]), rtol=1e-4, atol=1e-3)


def cut(x):
    y = x.exp()
    y[:, :1].zero_()
    return y


OVERWRITING = {
    "saved output": (lambda x: x.sigmoid().mul_(2), True),
    "saved input": (lambda x: x.square() + x.mul_(2), True),
    "input of a convolution": (lambda x: F.conv2d(x, torch.ones(8, 8, 1, 1)) + x.relu_(), True),
    "saved output, by a view": (cut, True),
    "output that nobody saved": (lambda x: F.max_pool2d(x, 3, 1, 1).mul_(2), False),
}


@pytest.mark.parametrize("name", OVERWRITING)
def test_what_backward_needs_is_guarded_as_in_2d(name):
    """Autograd's version counters see in-place changes behind the carrier too."""
    code, guarded = OVERWRITING[name]
    net = Program(code)
    for taken, shape in ((net, (1, 3, 6, 6)), (thirdaxis.convert(net), (1, 3, 4, 6, 6))):
        loss = taken(torch.randn(shape)).sum()
        raising = pytest.raises(RuntimeError, match="modified by an inplace operation")
        with raising if guarded else nullcontext():
            loss.backward()


def test_a_leaf_stays_guarded():
    net = thirdaxis.convert(nn.ReLU(inplace=True))
    with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
        net(torch.ones(1, 2, 3, 4, 5, requires_grad=True))


def test_the_callers_volume_is_changed_in_place_as_a_picture_is():
    volume = torch.full((1, 2, 3, 4, 5), -1.0)
    thirdaxis.convert(nn.ReLU(inplace=True))(volume)
    assert type(volume) is torch.Tensor and volume.shape == (1, 2, 3, 4, 5)
    assert not volume.any()


@pytest.mark.filterwarnings("ignore:Using backward:UserWarning")
def test_a_gradient_that_is_asked_for_keeps_its_class():
    kept = []

    def code(x):
        x.retain_grad()
        kept.append(x)
        return x * 2

    out = thirdaxis.convert(Program(code))(torch.randn(1, 3, 4, 6, 6))
    out.square().sum().backward(create_graph=True)
    gradient = kept[0].grad
    assert gradient.shape == kept[0].shape == (1, 8, 6, 6)
    assert isinstance(gradient, Hidden)


class Counted(TorchDispatchMode):
    """Counts the ATen operations that run."""

    def __init__(self):
        super().__init__()
        self.calls = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.calls[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


VIEWS = {"permute", "transpose", "transpose_", "squeeze", "unsqueeze", "alias", "view", "detach"}


def test_in_place_code_copies_nothing_on_the_way_back():
    """A training step runs the operations of 3D modules written by hand, and views.

    On two volumes: a small one alone is cut into pictures, which its modules by hand are not.
    """
    flat = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 1, bias=False),
        nn.ReLU(inplace=True),
    )
    by_hand = nn.Sequential(
        nn.Conv3d(2, 4, (1, 3, 3), padding=(0, 1, 1), bias=False),
        nn.BatchNorm3d(4),
        nn.ReLU(inplace=True),
        nn.MaxPool3d((1, 2, 2)),
        nn.Conv3d(4, 4, 1, bias=False),
        nn.ReLU(inplace=True),
    )
    lifted = thirdaxis.convert(flat, "slicewise", depth_stride=False)
    counts = []
    for net in (by_hand, lifted):
        with Counted() as mode:
            net(torch.randn(2, 2, 4, 8, 8)).sum().backward()
        counts.append(mode.calls)
    extra = counts[1] - counts[0]
    assert "conv3d" in counts[0] or "convolution" in counts[0]
    pools = {"max_pool2d_with_indices", "max_pool2d_with_indices_backward"}
    assert set(extra) <= VIEWS | pools


def test_gradients_through_torch_func():
    """A functional gradient equals the ordinary one, in-place code and all."""
    net = thirdaxis.convert(Program(residual))
    volume = torch.randn(1, 3, 4, 6, 6)
    parameters = dict(net.named_parameters())

    def loss(given):
        return torch.func.functional_call(net, given, (volume,)).square().sum()

    found = torch.func.grad(loss)(parameters)
    loss(parameters).backward()
    for name, parameter in parameters.items():
        torch.testing.assert_close(found[name], parameter.grad)
