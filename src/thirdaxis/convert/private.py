"""The torch names that are not clearly public, in one place, tested on every supported torch."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
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
    from torch._subclasses.functional_tensor import FunctionalTensor

    return isinstance(x, FakeTensor | FunctionalTensor)


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
    like: dict[str, Any] = {"dtype": x.dtype, "device": x.device, "layout": x.layout}
    like["requires_grad"] = x.requires_grad
    return torch.Tensor._make_wrapper_subclass(cls, x.shape, strides=x.stride(), **like)  # type: ignore[attr-defined]


def traced_as_one(function: Callable) -> Any:
    """Makes a function one step of a compiled graph: run in Python by the tracer, never read."""
    return torch._dynamo.nonstrict_trace(function)  # type: ignore[attr-defined]


def disabled(function: Callable) -> Any:
    """Keeps the compiler out of a function and of all that it calls."""
    return torch._dynamo.disable(function)  # type: ignore[attr-defined]


def constant(kind: type) -> type:
    """Lets objects of a class stand in a compiled graph by their identity."""
    torch.utils._pytree.register_constant(kind)
    return kind


def for_any_size() -> AbstractContextManager:
    """Inside, an export does not ask whether a size happens to be one."""
    from torch.fx.experimental import _config

    config: Any = _config
    known = hasattr(config, "backed_size_oblivious")
    return config.patch(backed_size_oblivious=True) if known else nullcontext()
