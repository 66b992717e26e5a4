"""The torch names that are not clearly public, in one place, tested on every supported torch."""

from typing import Any

import torch

# Inside this context a call on a tensor subclass runs as on a plain tensor and returns plain ones.
plain = torch._C.DisableTorchFunctionSubclass

# What all batch norms are, lazy and synchronised ones too.
BatchNorm = torch.nn.modules.batchnorm._BatchNorm


def is_stand_in(x: torch.Tensor) -> bool:
    """Whether this is a tracer's tensor without numbers, of a class that C++ insists on."""
    if type(x) is torch.Tensor:
        return False
    from torch._subclasses.fake_tensor import FakeTensor  # brings sympy

    return isinstance(x, FakeTensor)


def is_fresh(x: torch.Tensor) -> bool:
    """Whether an operation with a gradient has just made this tensor: no view, nobody's parameter.

    Dynamo and tracers see to in-place operations themselves; to them nothing is fresh.
    """
    if type(x) is not torch.Tensor or x.is_leaf or torch.compiler.is_compiling():
        return False
    return not x._is_view()


def to_depth_first(x: torch.Tensor) -> None:
    """Turns (N, C, D, H, W) in place to (D, N, C, H, W), which makes it no view of anything.

    Memory stays as it is, and so does the version by which autograd sees that numbers changed.
    """
    version = x._version
    x.transpose_(1, 2).transpose_(0, 1)
    torch._C._autograd._unsafe_set_version_counter((x,), (version,))


def shell(cls: type, x: torch.Tensor) -> Any:
    """An empty tensor of a subclass that answers questions as ``x`` does."""
    like = {"dtype": x.dtype, "device": x.device, "layout": x.layout}
    return torch.Tensor._make_wrapper_subclass(cls, x.shape, strides=x.stride(), **like)  # type: ignore[attr-defined]
