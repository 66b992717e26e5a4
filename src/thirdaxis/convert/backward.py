"""The carrier in the backward pass of autograd functions that a network writes by hand.

Such a function computes its own gradient, in code that takes pictures like the rest of the network:
it has to get the incoming gradient in the carrier, and what it saved, as it got its inputs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd.function import BackwardCFunction
from torch.utils.checkpoint import CheckpointFunction

from thirdaxis.convert.carrier import Call, ConversionError, Hidden, Setting, Traced, hide


@dataclass(frozen=True)
class Pictures:
    """Which tensors of a function's backward pass are pictures, and how they are hidden.

    Attributes:
        setting: how the module is lifted that called the function.
        call: the call of the network.
        depths: how many slices there may be.
        batch: pictures in the batch.
        told: outputs of the function that the module returned, and whether they were pictures.
    """

    setting: Setting
    call: Call
    depths: frozenset[int]
    batch: int
    told: dict[int, bool]

    def gradient(self, number: int, x: Any) -> Any:
        """The gradient of an output; if that stayed inside the module, its shape has to tell."""
        if type(x) is not torch.Tensor:
            return x
        alike = self.batch not in self.depths or x.shape[1:2] == (self.batch,)
        guess = x.dim() > 2 and x.shape[0] in self.depths and alike
        return self._hidden(x) if self.told.get(number, guess) else x

    def saved(self, x: Any) -> Any:
        """What the function saved, which loses its class on the way through a checkpoint."""
        picture = type(x) is torch.Tensor and x.dim() > 2 and x.shape[0] in self.depths
        return self._hidden(x) if picture and x.shape[1] == self.batch else x

    def _hidden(self, x: torch.Tensor) -> Hidden:
        return hide(x, self.setting, self.call)


def carry_back(outputs: list[torch.Tensor], inputs: list[torch.Tensor], carrier: Hidden) -> None:
    """Lets handwritten autograd functions between inputs and outputs see pictures on the way back.

    Args:
        outputs: what a module returned.
        inputs: what it was given.
        carrier: one of the inputs that hide their depth.

    Raises:
        ConversionError: around a reentrant checkpoint, whose backward pass is out of reach.
    """
    if not torch.is_grad_enabled() or isinstance(carrier, Traced):
        return  # a tracer refuses them, see `Traced`
    with carrier.bare():
        setting, call, batch = carrier.setting, carrier.call, carrier.shape[1]
        seen = [x.shape[0] for x in (carrier, *outputs) if isinstance(x, Hidden)]
        depths = frozenset([*seen, *(depth for _, depth in call.depths)])
        for node in _handwritten([x.grad_fn for x in outputs], {x.grad_fn for x in inputs}):
            if getattr(node, "_forward_cls", None) is CheckpointFunction:
                raise ConversionError(
                    "a handwritten autograd function beside a reentrant checkpoint has no gradient "
                    "on volumes: give the checkpoint use_reentrant=False"
                )
            told = {x.output_nr: isinstance(x, Hidden) for x in outputs if x.grad_fn is node}
            node.pictures = Pictures(setting, call, depths, batch, told)
            node.__class__ = _carrying(type(node))


def _handwritten(nodes: list[Any], ends: set[Any]) -> Iterator[Any]:
    """Nodes of handwritten functions in the graph that leads from the outputs to the inputs."""
    seen = {None, *ends}
    while nodes:
        node = nodes.pop()
        if node in seen:
            continue
        seen.add(node)
        if isinstance(node, BackwardCFunction) and not hasattr(node, "pictures"):
            yield node
        nodes.extend(before for before, _ in node.next_functions)


def _carrying(kind: Any) -> type:
    """The context of an autograd function, giving its backward pictures."""

    class Carrying(kind):
        def apply(self, *grads: Any) -> Any:
            return super().apply(*(self.pictures.gradient(i, g) for i, g in enumerate(grads)))

        @property
        def saved_tensors(self) -> tuple[Any, ...]:
            return tuple(self.pictures.saved(x) for x in super().saved_tensors)

    return Carrying
