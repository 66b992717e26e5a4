"""Whole networks as people write them: 2D answer, gradients, keys, at odd and even depth."""

import inspect

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, spectral_norm, weight_norm
from torch.utils.checkpoint import checkpoint
from transformers import ConvNextConfig, ConvNextModel, ResNetConfig, ResNetForImageClassification

import thirdaxis
from thirdaxis.convert.check import tensors


def block(channels_in, channels_out):
    conv = nn.Conv2d(channels_in, channels_out, 3, padding=1)
    return nn.Sequential(conv, nn.BatchNorm2d(channels_out), nn.ReLU(inplace=True))


class TutorialUNet(nn.Module):
    """The U-Net of many tutorials: pads what came up to the size of what it joins."""

    def __init__(self):
        super().__init__()
        self.down1, self.down2, self.bottom = block(3, 8), block(8, 16), block(16, 16)
        self.pool = nn.MaxPool2d(2)
        self.up1 = nn.ConvTranspose2d(16, 16, 2, stride=2)
        self.up2 = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        self.join1, self.join2, self.out = block(32, 8), block(16, 8), nn.Conv2d(8, 2, 1)

    def joined(self, up, skip):
        rows, columns = skip.size()[2] - up.size()[2], skip.size()[3] - up.size()[3]
        up = F.pad(up, [columns // 2, columns - columns // 2, rows // 2, rows - rows // 2])
        return torch.cat([skip, up], dim=1)

    def forward(self, x):
        first = self.down1(x)
        second = self.down2(self.pool(first))
        x = self.up1(self.bottom(self.pool(second)))
        x = self.up2(self.join1(self.joined(x, second)))
        return self.out(self.join2(self.joined(x, first)))


class ValidUNet(nn.Module):
    """The first U-Net: convolutions without padding, and crops of what is joined."""

    def __init__(self):
        super().__init__()
        self.down, self.bottom = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 8, 3)
        self.up, self.out = nn.ConvTranspose2d(8, 4, 2, 2), nn.Conv2d(8, 2, 3)

    def forward(self, x):
        skip = self.down(x).relu()
        x = self.up(self.bottom(F.max_pool2d(skip, 2)).relu())
        top, left = (skip.shape[2] - x.shape[2]) // 2, (skip.shape[3] - x.shape[3]) // 2
        skip = skip[:, :, top : top + x.shape[2], left : left + x.shape[3]]
        return self.out(torch.cat((skip, x), 1))


class Sliced(nn.Module):
    """Sequences that are sliced, iterated over, flattened and unflattened."""

    def __init__(self):
        super().__init__()
        shapes = [nn.Flatten(2), nn.Unflatten(2, (13, 17))]
        head = [nn.AdaptiveAvgPool2d((4, 4)), nn.Flatten(), nn.Linear(128, 5)]
        self.layers = nn.Sequential(*block(3, 8), *shapes, *block(8, 8), *head)

    def forward(self, x):
        for layer in self.layers[:3]:
            x = layer(x)
        return self.layers[-8:](self.layers[3:5](x) if len(self.layers) == 11 else x)


class Shared(nn.Module):
    """One convolution, and one bare parameter, at several places."""

    def __init__(self):
        super().__init__()
        self.stem, self.conv = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(8) for _ in range(3))
        self.weight = nn.Parameter(torch.randn(8, 8, 3, 3) / 10)
        self.again = self.conv

    def forward(self, x):
        x = self.stem(x)
        for norm in self.norms:
            x = x + F.relu(norm(self.conv(x))) + F.conv2d(x, self.weight, padding="same")
        return self.again(F.conv_transpose2d(x, self.weight, padding=1))


class Folding(nn.Module):
    """Patches, a linear map on each, and back, by modules and functions."""

    def __init__(self):
        super().__init__()
        self.conv, self.patches = nn.Conv2d(3, 4, 3, padding=1), nn.Unfold(3, padding=1)
        self.linear = nn.Linear(36, 36)

    def forward(self, x):
        size = x.shape[-2:]
        x = self.linear(self.patches(self.conv(x)).transpose(1, 2)).transpose(1, 2)
        overlap = F.fold(torch.ones_like(x), size, 3, padding=1)
        return nn.Fold(size, 3, padding=1)(x) / overlap


class Rows(nn.Module):
    """A recurrent layer along every row of the picture."""

    def __init__(self, kind):
        super().__init__()
        self.conv, self.out = nn.Conv2d(3, 6, 3, 2, 1), nn.Conv2d(10, 2, 3, padding=1)
        self.memory = kind(6, 5, batch_first=True, bidirectional=True, num_layers=2)

    def forward(self, x):
        x = self.conv(x)
        n, c, h, w = x.shape
        x, _ = self.memory(x.permute(0, 2, 3, 1).reshape(n * h, w, c))
        return self.out(x.reshape(n, h, w, -1).permute(0, 3, 1, 2))


class Positions(nn.Module):
    """A recurrent layer over all positions, that starts from a state of the picture."""

    def __init__(self):
        super().__init__()
        self.conv, self.memory = nn.Conv2d(3, 6, 3, 2, 1), nn.LSTM(6, 5)
        self.start, self.out = nn.Linear(6, 5), nn.Linear(10, 3)

    def forward(self, x):
        x = self.conv(x).flatten(2).permute(2, 0, 1)
        start = self.start(x.mean(0, keepdim=True))
        x, (last, cell) = self.memory(x, (start, start.tanh()))
        return self.out(torch.cat([last[-1], cell[-1]], -1)) + x.mean(0).sum(-1, keepdim=True)


class Saving(nn.Module):
    """Blocks whose activations are computed again for the backward pass."""

    def __init__(self, reentrant):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 1)
        self.blocks = nn.ModuleList(block(8, 8) for _ in range(3))
        self.reentrant = reentrant

    def forward(self, x):
        x = self.stem(x)
        for part in self.blocks:
            x = checkpoint(part, x, use_reentrant=self.reentrant)
        return x


class Swish(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        gate = torch.sigmoid(x)
        return grad * (gate * (1 + x * (1 - gate)))


class OverChannels(torch.autograd.Function):
    """Names dimensions in its backward, and has a second output that is a vector."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        ctx.channels = x.shape[1]
        return x * x.mean(1, keepdim=True), x.mean((2, 3))

    @staticmethod
    def backward(ctx, grad, grad_vector):
        (x,) = ctx.saved_tensors
        inner = (grad * x).sum(1, keepdim=True) / ctx.channels
        spread = grad_vector[:, :, None, None] / (x.shape[2] * x.shape[3])
        return grad * x.mean(1, keepdim=True) + inner + spread


def swish(x):
    return Swish.apply(x)


class OwnBackward(nn.Module):
    """Autograd functions with a backward by hand, one of them in a checkpointed block."""

    def __init__(self, reentrant=None):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 3, padding=1)
        self.reentrant = reentrant

    def middle(self, x):
        x, vector = OverChannels.apply(swish(x))
        return swish(x + vector[:, :, None, None])

    def forward(self, x):
        x = self.first(x)
        if self.reentrant is None:
            return self.last(self.middle(x))
        return self.last(checkpoint(self.middle, x, use_reentrant=self.reentrant))


class Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, factor):
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad):
        return -ctx.factor * grad.flip(1), None


class Adversarial(nn.Module):
    """Turns the gradient of a branch around."""

    def __init__(self):
        super().__init__()
        self.trunk, self.label = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3)
        self.reverse, self.domain = Reversed.apply, nn.Linear(4, 2)

    def forward(self, x):
        x = self.trunk(x)
        return {"label": self.label(x), "domain": self.domain(self.reverse(x, 0.5).mean((2, 3)))}


def lazy():
    net = nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.LazyConvTranspose2d(2, 2, 2))
    net(torch.randn(2, 3, 13, 17))
    return net


def normed(norm):
    def build():
        convs = [norm(nn.Conv2d(i, 4, 3, padding=1)) for i in (3, 4)]
        net = nn.Sequential(convs[0], nn.ReLU(), convs[1], norm(nn.Conv2d(4, 4, 1)))
        net(torch.randn(2, 3, 13, 17)).sum().backward()  # leaves computed weights behind
        net.zero_grad()
        return net

    return build


def hugging_face_convnext():
    return ConvNextModel(ConvNextConfig(depths=[1, 1], hidden_sizes=[8, 16], num_stages=2))


def hugging_face_resnet():
    sizes = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}
    return ResNetForImageClassification(ResNetConfig(layer_type="basic", **sizes))


NETWORKS = {
    "tutorial u-net": TutorialUNet,
    "valid u-net": ValidUNet,
    "sliced sequences": Sliced,
    "shared weights": Shared,
    "unfold and fold": Folding,
    "pixel shuffle": lambda: nn.Sequential(
        *(nn.Conv2d(3, 16, 3, 2, 1), nn.PixelShuffle(2), nn.PixelUnshuffle(2)),
        nn.Conv2d(16, 2, 3, padding=1),
    ),
    "dropout": lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.Dropout2d(0.3), nn.Conv2d(8, 2, 3)),
    "lstm": lambda: Rows(nn.LSTM),
    "gru": lambda: Rows(nn.GRU),
    "rnn": lambda: Rows(nn.RNN),
    "lstm over positions": Positions,
    "checkpointed": lambda: Saving(False),
    "own backward": OwnBackward,
    "own backward, checkpointed": lambda: OwnBackward(False),
    "gradient reversal": Adversarial,
    "lazy": lazy,
    "weight norm": normed(parametrizations.weight_norm),
    "spectral norm": normed(parametrizations.spectral_norm),
    "weight norm by hook": normed(weight_norm),
    "spectral norm by hook": normed(spectral_norm),
    "hugging face convnext": hugging_face_convnext,
    "hugging face resnet": hugging_face_resnet,
}

# The reentrant variant goes through `autograd.backward`, which in old torches asks no subclass.
if "has_torch_function" in inspect.getsource(torch.autograd.backward):
    NETWORKS["checkpointed, reentrant"] = lambda: Saving(True)


@pytest.mark.parametrize("name", NETWORKS)
def test_network_converts(name):
    torch.manual_seed(0)
    net = NETWORKS[name]()
    for depth in (1, 4, 5):
        checked = thirdaxis.check(net, torch.randn(2, 3, depth, 13, 17))
        assert checked.passed and checked.conclusive, str(checked)
    assert checked.lifted == len(checked.executed) > 0

    lifted = thirdaxis.convert(net, "acs").train()
    assert {k: v.shape for k, v in lifted.state_dict().items()} == {
        k: v.shape for k, v in net.state_dict().items()
    }
    lifted.load_state_dict(net.state_dict(), strict=True)
    sum(t.square().sum() for t in tensors(lifted(torch.randn(2, 3, 5, 13, 17)))).backward()
    reached = {key: p.grad is not None for key, p in lifted.named_parameters()}

    volume = torch.randn(2, 3, 3, 13, 17)
    alone = thirdaxis.convert(net.eval(), "slicewise", depth_stride=False)
    deep = tensors(alone(volume))
    flat = [tensors(net(volume[:, :, i])) for i in range(3)]
    for found, *slices in zip(deep, *flat, strict=True):
        expected = torch.stack(slices, 2).mean(2) if found.dim() == 2 else torch.stack(slices, 2)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    sum(t.square().sum() for t in deep).backward()
    for parts in zip(*flat, strict=True):
        slices = torch.stack(parts)
        slices = slices.mean(0) if slices.dim() == 3 else slices
        slices.square().sum().backward(retain_graph=True)
    for (key, p), (_, q) in zip(alone.named_parameters(), net.named_parameters(), strict=True):
        assert (p.grad is not None) == (q.grad is not None) == reached[key], key
        if q.grad is not None:
            torch.testing.assert_close(p.grad, q.grad, rtol=1e-3, atol=1e-3 * q.grad.abs().max())
