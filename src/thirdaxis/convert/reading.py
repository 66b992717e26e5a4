"""What the code of a module refers to by name, read without running it."""

from collections.abc import Iterable, Iterator
from types import BuiltinMethodType, CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import nn


def reached(module: nn.Module) -> Iterator[Any]:
    """Scripted functions and handwritten autograd functions that a module's forward may call.

    Those that its forward names, or the module holds, or the methods and plain functions among
    these name in turn. Torch's own code is not read.
    """
    methods = {k: v for kind in type(module).__mro__[::-1] for k, v in vars(kind).items()}
    return _reached([methods["forward"], *vars(module).values()], methods, set())


def calls_handwritten(module: nn.Module) -> bool:
    """Whether a module's forward may call autograd functions with a backward of their own."""
    return any(isinstance(function, type) for function in reached(module))


def _reached(values: Iterable[Any], methods: dict[str, Any], seen: set[Any]) -> Iterator[Any]:
    for value in values:
        owner = value.__self__ if isinstance(value, MethodType | BuiltinMethodType) else value
        if isinstance(value, torch.jit.ScriptFunction):
            yield value
        elif isinstance(owner, type) and issubclass(owner, torch.autograd.Function):
            yield owner
        elif isinstance(value, FunctionType) and value not in seen:
            seen.add(value)
            if (value.__module__ or "").partition(".")[0] != "torch":
                yield from _reached(_named(value, methods), methods, seen)


def _named(function: FunctionType, methods: dict[str, Any]) -> Iterator[Any]:
    """The values of a function's names, in every place where they may be looked up."""
    names = set(code_names(function.__code__))
    places = [function.__globals__, methods]
    for name in names & function.__globals__.keys():
        if isinstance(function.__globals__[name], ModuleType):
            places.append(vars(function.__globals__[name]))
    for place in places:
        yield from (place[name] for name in names if name in place)
    for cell in function.__closure__ or ():
        if cell != _EMPTY:
            yield cell.cell_contents


_EMPTY = CellType()


def code_names(code: CodeType) -> Iterator[str]:
    """The names that a function's code uses, and those of the functions inside it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from code_names(constant)
