"""How ``torch.compile`` takes a converted network: as one piece, which its tracer runs in Python.

The compiler would otherwise read the network's code itself, and what it reads of a tensor subclass
has gaps that give wrong numbers in silence: a tuple given to ``torch.cat``, ``F.hardswish``,
assignment to an index. Run in Python, every call reaches its rule as it does in eager mode.

Imported only while something is compiled: it brings the compiler.
"""

import warnings
from typing import Any

import torch
from torch import nn

from thirdaxis.convert.private import disabled, traced_as_one


class _Whole(nn.Module):
    """The network under another name, so that its hooks, which ran already, do not run again."""

    def __init__(self, forward: Any) -> None:
        super().__init__()
        self.network = forward.module
        self.inside = forward.inside

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The network's own forward, in the carrier."""
        return self.inside(args, kwargs)


@traced_as_one
@disabled
def _run(forward: Any, state: dict, flags: tuple, args: tuple, kwargs: dict) -> Any:
    try:
        return torch.func.functional_call(_Whole(forward), state, args, kwargs)
    except Exception as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        name = type(forward.module).__name__
        warnings.warn(f"{name} cannot be compiled: {reason}", stacklevel=2)
        raise  # the compiler's own message does not say why


def in_graph(forward: Any, args: tuple, kwargs: dict) -> Any:
    """Runs a network's forward as one step of the graph, for which it has to be given its state.

    Args:
        forward: the `Forward` of a converted network.
        args: its positional arguments.
        kwargs: its named arguments.
    """
    net = forward.module
    state = {f"network.{name}": value for name, value in net.named_parameters()}
    state |= {f"network.{name}": value for name, value in net.named_buffers()}
    flags = tuple([module.training for module in net.modules()])
    return _run(forward, state, flags, args, kwargs)
