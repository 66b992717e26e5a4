"""Norms whose gradients come in transposed: torch's own backward is wrong for some layouts."""

import copy

import pytest
import torch
from torch import nn

import thirdaxis


class Tokens(nn.Module):
    """A norm between a convolution and code on tokens."""

    def __init__(self, tokens_first):
        super().__init__()
        self.cut = nn.Conv2d(3, 12, 4, 4)
        self.norm = nn.BatchNorm2d(12)
        self.look = nn.Linear(12, 12)
        self.tokens_first = tokens_first

    def forward(self, x):
        x = self.cut(x)
        if self.tokens_first:
            x = self.look(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        x = self.norm(x)
        tokens = x.flatten(2).transpose(1, 2)
        tokens = tokens * torch.linspace(-1, 1, 12)
        picture = tokens.transpose(1, 2).unflatten(2, x.shape[-2:])
        return picture.mean((2, 3)), tokens


class WrittenOut(nn.Module):
    """A batch norm in eval mode, written out."""

    def __init__(self, norm):
        super().__init__()
        self.weight, self.bias = norm.weight, norm.bias
        self.mean, self.scale = norm.running_mean, (norm.running_var + norm.eps).rsqrt()

    def forward(self, x):
        x = (x - self.mean.view(-1, 1, 1)) * self.scale.view(-1, 1, 1)
        return x * self.weight.view(-1, 1, 1) + self.bias.view(-1, 1, 1)


@pytest.mark.parametrize("samples", [1, 2])
@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("side", [4, 16])
@pytest.mark.parametrize("tokens_first", [False, True])
@pytest.mark.parametrize("answer", [0, 1], ids=["vector", "tokens"])
def test_gradients_are_those_of_a_norm_written_out(samples, depth, side, tokens_first, answer):
    torch.manual_seed(0)
    net = Tokens(tokens_first).eval()
    nn.init.normal_(net.norm.running_mean)
    nn.init.normal_(net.norm.weight)
    plain = copy.deepcopy(net)
    plain.norm = WrittenOut(plain.norm)
    volume = torch.randn(samples, 3, depth, side, side)
    gradients = []
    for flat in (net, plain):
        lifted = thirdaxis.convert(flat, depth_stride=False)
        out = lifted(volume)[answer]
        (out * torch.linspace(-1, 1, out.numel()).view(out.shape)).sum().backward()
        gradients.append({name: p.grad for name, p in lifted.named_parameters()})
    for name, expected in gradients[1].items():
        torch.testing.assert_close(gradients[0][name], expected, rtol=1e-3, atol=1e-4)
