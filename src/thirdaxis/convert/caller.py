"""Who hands a volume to a part of a converted network: its user, or code that takes pictures."""

import sys
from collections.abc import Callable
from types import FrameType

import torch
from torch import nn

from thirdaxis.convert.carrier import Hidden
from thirdaxis.errors import InputError


def refuse_compiler(part: nn.Module) -> None:
    """Keeps ``torch.compile`` from reading the code around a part or method of a network.

    Raises:
        InputError: it does, which means that the part was compiled by itself.
    """
    if torch.compiler.is_dynamo_compiling():
        raise InputError(
            f"{type(part).__name__} is part of a converted network and cannot be compiled by "
            "itself: convert that part of the 2D network, and compile the result"
        )


def is_programs_own(part: nn.Module, converted: Callable[[object], bool]) -> bool:
    """Whether five dimensions that reach a part are the 2D program's own affair.

    A user may call a part with a volume. Code of the 2D program may not: between the parts it would
    take the volume for a picture, in silence. Inside the carrier, plain tensors of five dimensions
    are the program's own, and the part is to take them as they come.

    Args:
        part: a part of a converted network that was given (N, C, D, H, W) and no carrier.
        converted: whether something is a converted network, a part of one, or a method of these.

    Raises:
        InputError: the caller is 2D code outside the carrier: a private method that was called
            directly, or a graph traced from a converted network.
    """
    caller: nn.Module | None = None
    name = ""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module = frame.f_locals.get("self")
        if converted(module):
            args = frame.f_locals.get("args")
            values = [*frame.f_locals.values(), *(args if isinstance(args, tuple) else ())]
            if any(isinstance(value, Hidden) for value in values):
                return True
        if caller is None and isinstance(module, nn.Module) and module is not part:
            caller, name = module, frame.f_code.co_name
        frame = frame.f_back
    if isinstance(caller, torch.fx.GraphModule):
        raise InputError(
            "a graph traced from a converted network, or unpickled, takes volumes for pictures: "
            "trace the 2D network and convert the result, e.g. "
            "thirdaxis.convert(create_feature_extractor(net2d, return_nodes))"
        )
    if caller is not None and converted(caller):
        raise InputError(
            f"{name!r} of the converted {type(caller).__name__} ran on a volume outside a call of "
            "the network, where its code takes volumes for pictures: call the network, the part, "
            "or one of their public methods"
        )
    return False
