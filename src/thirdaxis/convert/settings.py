"""Which part of a network is lifted how: the defaults, and overrides by name pattern."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from thirdaxis.convert.attention import why_depth_is_kept
from thirdaxis.convert.carrier import Setting
from thirdaxis.convert.places import PLACES, matches, on_pointwise
from thirdaxis.errors import UsageError, did_you_mean
from thirdaxis.fusion.base import Fusion
from thirdaxis.fusion.table import resolve

Override = str | Fusion | Mapping[str, Any]
STATISTICS = ("volume", "slice")


def base_setting(
    net: nn.Module, fusion: str | Fusion, depth_stride: bool | None, statistics: str | None
) -> Setting:
    """The setting of the whole network; what is None follows the network and the fusion."""
    operator = resolve(fusion)
    if depth_stride is None:
        depth_stride = not (operator.keeps_depth or why_depth_is_kept(net))
    if not isinstance(depth_stride, bool):
        raise UsageError(f"depth_stride takes True, False or None, got {depth_stride!r}")
    if statistics is None:
        statistics = "volume" if operator.mixes_slices else "slice"
    if statistics not in STATISTICS:
        raise UsageError(f"unknown statistics {statistics!r}{did_you_mean(statistics, STATISTICS)}")
    return Setting(operator, depth_stride, statistics)


def settings_by_name(
    net: nn.Module, base: Setting, overrides: Mapping[str, Override]
) -> dict[str, Setting]:
    """The setting of every module: the last pattern that matches its name, else its parent's.

    A network says how a part of it is lifted, whatever the fusion of the rest, in an attribute
    ``lifted_as`` of the part's parent, name of the part to override; the caller's overrides win.

    Raises:
        UsageError: a pattern matches no module, or an override names an unknown setting.
    """
    modules = dict(net.named_modules())
    names = list(modules)
    for pattern in overrides:
        if not any(matches(pattern, name, modules) for name in names):
            parts = [name for name, _ in net.named_children()]
            guess = did_you_mean(pattern, PLACES if pattern.startswith("@") else parts)
            raise UsageError(f"overrides: no module matches {pattern!r}{guess}")
    found = {"": base}
    for name in names[1:]:
        outer, _, own = name.rpartition(".")
        setting = found[outer]
        asked = getattr(modules[outer], "lifted_as", {})
        if own in asked:
            setting = changed(setting, asked[own])
        for pattern, override in overrides.items():
            if matches(pattern, name, modules):
                setting = changed(setting, override)
                if pattern in PLACES:
                    setting = replace(setting, fusion=on_pointwise(setting.fusion))
        found[name] = setting
    return found


def changed(setting: Setting, override: Override) -> Setting:
    """A setting with an override put on it."""
    if not isinstance(override, Mapping):
        override = {"fusion": override}
    known = ("fusion", "depth_stride", "statistics")
    for key in override:
        if key not in known:
            raise UsageError(f"overrides: unknown setting {key!r}{did_you_mean(str(key), known)}")
    if not isinstance(override.get("depth_stride", True), bool):
        raise UsageError(
            f"overrides: depth_stride takes True or False, got {override['depth_stride']!r}"
        )
    fusion = resolve(override.get("fusion", setting.fusion))
    return replace(setting, **(dict(override) | {"fusion": fusion}))
