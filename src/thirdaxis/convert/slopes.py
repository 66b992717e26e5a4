"""Parameters and their gradients, compared between a 2D network and the converted one."""

import torch
from torch import nn

from thirdaxis.convert.planting import own_parameters
from thirdaxis.fusion.base import Operator


class Refuted(Exception):
    """A claim that does not hold."""


def slopes(
    net: nn.Module, answers: list[torch.Tensor], weighing: list[torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Gradients of a weighted sum of the answers, by parameter."""
    terms = [(x * w).sum() for x, w in zip(answers, weighing, strict=True) if x.requires_grad]
    net.zero_grad()
    if terms:
        torch.stack(terms).sum().backward()
    found = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
    net.zero_grad()
    return found


def same_slopes(
    expected: dict[str, torch.Tensor], found: dict[str, torch.Tensor], tolerance: float
) -> None:
    """Refutes where a gradient is missing or differs by more than rounding explains."""
    same_parameters(set(expected), set(found))
    steepest = max((g.abs().max().item() for g in expected.values()), default=0.0)
    for name, gradient in expected.items():
        scale = max(gradient.abs().max().item(), 1e-3 * steepest, 1e-30)
        error = (gradient - found[name]).abs().max().item() / scale
        if not error <= tolerance:
            raise Refuted(f"the gradient of {name} is off by {error:.1e} of itself")


def same_parameters(expected: set[str], found: set[str]) -> None:
    """Refutes where a parameter has a gradient in 2D or in 3D only."""
    odd = sorted(expected ^ found)
    if odd:
        raise Refuted(f"{len(odd)} parameters have a gradient in one only, such as {odd[0]}")


def same_checkpoint(flat: nn.Module, lifted: nn.Module) -> None:
    """Refutes where names, or shapes of kernels that stay 2D, are not those of the 2D network.

    Args:
        flat: the 2D network.
        lifted: the converted one; loads the checkpoint of the 2D one where its kernels are those.
    """
    own = own_parameters(lifted)
    before = {key: value.shape for key, value in flat.state_dict().items()}
    after = {key: value.shape for key, value in lifted.state_dict().items() if key not in own}
    replaced = {
        key for key, shape in after.items() if len(shape) == 5 or _replaces_kernel(lifted, key)
    }
    if set(before) != set(after):
        raise Refuted(f"{set(before) ^ set(after)} differ")
    if replaced:
        return
    if before != after:
        raise Refuted(f"{set(before.items()) ^ set(after.items())} differ")
    told = lifted.load_state_dict(flat.state_dict(), strict=not own)
    if not own.issuperset(told.missing_keys) or told.unexpected_keys:
        raise Refuted(f"the checkpoint leaves {told} out")


def _replaces_kernel(net: nn.Module, key: str) -> bool:
    operator = net.get_submodule(key.rpartition(".")[0])._modules.get("fusion")
    return isinstance(operator, Operator) and operator.replaces_kernel
