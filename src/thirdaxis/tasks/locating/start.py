"""A network that is to learn heat maps begins near nothing, as most of a heat map is."""

import copy

import torch
from torch import Tensor, nn

from thirdaxis.convert.lift import beside

LOUD, QUIET = 1.0, 0.1
"""Root mean squares of answers to noise: from the one on they are brought down to the other."""
MOST = (16, 64, 64)
TRIED = 4


def quieten(net: nn.Module, channels: int, patch: tuple[int, int, int]) -> str | None:
    """Makes the layer that gives a network's answer smaller where its answers to noise are large.

    Drawn at random, AH-Net's last convolution answers ten times as high as a peak, and optimisers
    that take steps of one size, such as Adam, need hundreds of them to come down.

    Args:
        net: changed in place; (N, channels, D, H, W) to maps of that size.
        channels: of the noise.
        patch: (d, h, w) of the noise, `MOST` of it at most.

    Returns:
        The name of the layer; none where answers are small, or no single layer gives them.
    """
    tried = copy.deepcopy(net).train()
    size = [min(one, most) for one, most in zip(patch, MOST, strict=True)]
    noise = torch.randn(2, channels, *size, generator=torch.Generator().manual_seed(0))
    order: list[str] = []
    layers = {
        name: part for name, part in tried.named_modules() if isinstance(_weight(part), Tensor)
    }
    hooks = [
        part.register_forward_hook(lambda *_, name=name: order.append(name))
        for name, part in layers.items()
    ]
    try:
        answer = _answer(tried, noise)
        for hook in hooks:
            hook.remove()
        loudness = float(answer.square().mean().sqrt())
        if loudness <= LOUD:
            return None
        factor = QUIET / loudness
        for name in list(dict.fromkeys(reversed(order)))[:TRIED]:
            _scale(layers[name], factor)
            if torch.allclose(_answer(tried, noise), factor * answer, rtol=0.01, atol=QUIET / 100):
                _scale(net.get_submodule(name), factor)
                return name
            _scale(layers[name], 1 / factor)
    except (RuntimeError, ValueError):  # noise of that size does not go through
        pass
    return None


def _answer(net: nn.Module, noise: Tensor) -> Tensor:
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        return net(noise, **beside(net, noise))


def _weight(part: nn.Module) -> object:
    return part._parameters.get("weight")


@torch.no_grad()
def _scale(part: nn.Module, factor: float) -> None:
    for weight in part.parameters(recurse=False):
        weight.mul_(factor)
