"""`convert`: from a 2D network to the same network on volumes."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from thirdaxis.convert.carrier import Setting
from thirdaxis.convert.check import check_settings
from thirdaxis.convert.lift import lift
from thirdaxis.convert.settings import Override, base_setting, settings_by_name
from thirdaxis.convert.stem import adapt_stem
from thirdaxis.errors import UsageError
from thirdaxis.fusion.base import Fusion


@dataclass(frozen=True)
class Conversion:
    """What was done to a network; kept on it for `report`.

    Attributes:
        setting: how the network is lifted where nothing else is said.
        parts: settings of the parts that differ from what encloses them, by module name.
        stems: convolutions whose input channels were changed.
        stem: the rule by which they were changed.
        parameters_2d: number of parameters of the 2D network.
    """

    setting: Setting
    parts: Mapping[str, Setting]
    stems: tuple[str, ...]
    stem: str
    parameters_2d: int


def convert(
    net: nn.Module,
    fusion: str | Fusion = "acs",
    *,
    depth_stride: bool = True,
    in_channels: int | None = None,
    stem: str = "sum",
    statistics: str | None = None,
    overrides: Mapping[str, Override] | None = None,
    example: torch.Tensor | None = None,
) -> nn.Module:
    """Turns a 2D network into one that takes volumes (N, C, D, H, W).

    The result is a new module of the same classes, with the same parameter names, dtype, device,
    training flag, ``requires_grad``, shared parameters and hooks; the given network is untouched.
    Tensors with a height and a width come out as (N, C, D, H, W), vectors as (N, C).

    Args:
        net: a network that takes pictures (N, C, H, W).
        fusion: how a convolution looks along depth: a name (``"slicewise"``, ``"i3d"``, ``"acs"``)
            or a settings object such as ``thirdaxis.ACS()``.
        depth_stride: downsample depth wherever height and width are (``D -> ceil(D / s)``), or keep
            every slice.
        in_channels: channels of the volumes, if not those of the pictures: adapts the RGB stem.
        stem: how: ``"sum"``, ``"mean"``, ``"green"`` or ``"depth"``.
        statistics: ``"volume"`` lets global pooling, group and instance norms take in all slices,
            ``"slice"`` leaves each slice its own. Default: ``"slice"`` under ``slicewise``, else
            ``"volume"``.
        overrides: module name pattern (as in a shell: ``"layer4*"``) to a fusion or to a mapping
            with ``fusion``, ``depth_stride`` or ``statistics``; the last match wins, and what a
            module says holds for all inside it.
        example: pictures (N, C, H, W) or volumes (N, C, D, H, W); if given, the conversion is
            checked on them (see `check`).

    Returns:
        The network on volumes.

    Raises:
        UsageError: an argument that makes no sense.
        ConversionError: the self-check failed.
    """
    if not isinstance(net, nn.Module):
        raise UsageError(f"convert takes a torch.nn.Module, got {type(net).__name__}")
    if any("_thirdaxis" in vars(module) for module in net.modules()):
        raise UsageError("convert takes a 2D network; this one, or a part of it, is converted")
    base = base_setting(fusion, depth_stride, statistics)
    settings = settings_by_name(net, base, overrides or {})
    adapted, stems = net, list[str]()
    if in_channels is not None:
        adapted = copy.deepcopy(net)
        stems = adapt_stem(adapted, in_channels, stem)
    if example is not None:
        check_settings(net, example, settings).raise_if_failed()
    lifted = lift(adapted, settings)
    parts = {n: s for n, s in settings.items() if s != settings[n.rpartition(".")[0]]}
    count = sum(p.numel() for p in net.parameters())
    lifted._thirdaxis = Conversion(base, parts, tuple(stems), stem, count)
    return lifted
