"""Copies of a caller's network, which conversion never changes, and what cannot be copied."""

import copy
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from thirdaxis.convert.reading import reached
from thirdaxis.errors import UsageError


def copied(net: nn.Module, share_parameters: bool = False) -> nn.Module:
    """A copy with buffers, flags and hooks of its own.

    Args:
        net: any network; weights that its hooks compute from others may be part of an autograd
            graph, which the copy is not.
        share_parameters: whether the copy keeps the very parameters.
    """
    memo: dict[int, Any] = {id(p): p for p in net.parameters()} if share_parameters else {}
    for module in net.modules():
        for value in vars(module).values():
            if isinstance(value, torch.Tensor) and value.grad_fn is not None:
                memo[id(value)] = value.detach().clone()
    twin = copy.deepcopy(net, memo)
    for module in net.modules():
        if isinstance(module, torch.fx.GraphModule):
            _complete(memo[id(module)], module, memo)
    return twin


def _complete(twin: nn.Module, graph: nn.Module, memo: dict[int, Any]) -> None:
    """What copies of a graph lack: hooks, attributes outside the graph, the training flags."""
    twin.train(graph.training)  # torchvision's have a graph for training and one for evaluation
    for part in graph.modules():
        if id(part) in memo:
            memo[id(part)].training = part.training
    for name, value in vars(graph).items():
        if name not in vars(twin) or "hooks" in name:
            vars(twin)[name] = copy.deepcopy(value, memo)


def keep_in_copies(graph: torch.fx.GraphModule) -> None:
    """Lets later copies of a graph have its hooks, through the class that is this graph's alone."""

    def deepcopy(self: Any, memo: dict[int, Any]) -> Any:
        twin = super(type(self), self).__deepcopy__(memo)
        _complete(twin, self, memo)
        keep_in_copies(twin)
        return twin

    if "forward" in vars(type(graph)):
        type(graph).__deepcopy__ = deepcopy  # type: ignore[method-assign]


def refuse_unfinished(net: nn.Module) -> None:
    """Refuses lazy modules that have not run yet, and code that only TorchScript can see.

    Raises:
        UsageError: what it is, and what to do.
    """
    for name, module in net.named_modules():
        what = f"part {name!r}" if name else "the network"
        if isinstance(module, torch.jit.ScriptModule):
            raise UsageError(
                f"convert: {what} is scripted or traced, and TorchScript hides its operations: "
                "convert the network before torch.jit.script or torch.jit.trace"
            )
        own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        if any(is_lazy(value) for value in own):
            raise UsageError(
                f"convert: {what} is lazy and has no weights yet: run the 2D network once on a "
                "picture (N, C, H, W), then convert"
            )
    for name, module in net.named_modules():
        for function in reached(module):
            if isinstance(function, torch.jit.ScriptFunction):
                raise UsageError(
                    f"convert: {type(module).__name__} {name!r} calls {function.name!r}, a "
                    "scripted function, and TorchScript hides its operations: use it without "
                    "torch.jit.script"
                )
