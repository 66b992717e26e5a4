"""Gradients of a network's parameters, compared between pictures and volumes."""

import torch
from torch import nn


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
