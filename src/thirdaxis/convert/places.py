"""Places that papers put an operator in, by name, for overrides such as ``"@residual"``."""

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from fnmatch import fnmatchcase

from torch import nn

from thirdaxis.fusion.base import Fusion


def _dense_layers(name: str, modules: Mapping[str, nn.Module]) -> bool:
    """Both convolutions of every dense layer: not the stem, not the transitions."""
    inside = any(part.startswith("denselayer") for part in name.split(".")[:-1])
    return inside and isinstance(modules[name], nn.Conv2d)


def _residual(name: str, modules: Mapping[str, nn.Module]) -> bool:
    """The first convolution of every residual block, whose shortcut so stays as it is."""
    outer, _, last = name.rpartition(".")
    block = type(modules[outer]).__name__
    return last == "conv1" and ("Block" in block or "Bottleneck" in block)


def _three_by_three(name: str, modules: Mapping[str, nn.Module]) -> bool:
    """Every 3 x 3 convolution."""
    module = modules[name]
    return isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3)


PLACES: dict[str, Callable[[str, Mapping[str, nn.Module]], bool]] = {
    "@dense_layers": _dense_layers,
    "@residual": _residual,
    "@3x3": _three_by_three,
}


def matches(pattern: str, name: str, modules: Mapping[str, nn.Module]) -> bool:
    """Whether a pattern of overrides means the module of this name.

    Args:
        pattern: as in a shell (``"layer4*"``), or one of `PLACES`.
        name: of the module.
        modules: all of them, by name.
    """
    if pattern in PLACES:
        return PLACES[pattern](name, modules)
    return fnmatchcase(name, pattern)


def on_pointwise(fusion: Fusion) -> Fusion:
    """The same operator on 1 x 1 convolutions too, which a place takes in by name."""
    known = any(field.name == "pointwise" for field in fields(fusion))
    return replace(fusion, **{"pointwise": True}) if known else fusion
