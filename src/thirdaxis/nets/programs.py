"""Whether a network's name may call a program: not where the name comes from a stranger's file."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from torch import nn

from thirdaxis.errors import UsageError

_allowed: ContextVar[bool] = ContextVar("allowed", default=True)


@contextmanager
def programs(allowed: bool) -> Iterator[None]:
    """Lets `package.module:factory` names be called inside the block, or refuses them."""
    token = _allowed.set(allowed)
    try:
        yield
    finally:
        _allowed.reset(token)


def check_allowed(program: str) -> None:
    """Raises unless programs may be called here.

    Raises:
        UsageError: they may not, naming `program`.
    """
    if not _allowed.get():
        raise UsageError(
            f"it is the program {program!r}, which would be run; allow it with --trust if you know "
            "it"
        )


def call_program(name: str, forms: str, **arguments: int) -> nn.Module:
    """The network that a program makes.

    Args:
        name: ``package.module:factory``.
        forms: what else a network may be called, for the error.
        **arguments: of the call.

    Raises:
        UsageError: it may not be called here, cannot be, or gives no network.
    """
    module, _, factory = name.partition(":")
    check_allowed(name)
    try:
        make = getattr(importlib.import_module(module), factory)
    except (ImportError, AttributeError) as e:
        raise UsageError(f"unknown network {name!r} ({e}); expected {forms}") from e
    try:
        net = make(**arguments)
    except TypeError as e:
        raise UsageError(f"{name} could not be called with in_channels and classes: {e}") from e
    if not isinstance(net, nn.Module):
        raise UsageError(f"{name} gave a {type(net).__name__}, expected a torch.nn.Module")
    return net
