"""`convert`: from a 2D network to the same network on volumes."""

from collections.abc import Mapping

import torch
from torch import nn

from thirdaxis.convert.check import check_settings
from thirdaxis.convert.copies import copied, refuse_unfinished
from thirdaxis.convert.entry import is_converted
from thirdaxis.convert.lift import lift
from thirdaxis.convert.settings import Override, base_setting, settings_by_name
from thirdaxis.convert.stem import adapt_stem
from thirdaxis.errors import UsageError
from thirdaxis.fusion.base import Fusion


def convert(
    net: nn.Module,
    fusion: str | Fusion = "acs",
    *,
    depth_stride: bool | None = None,
    in_channels: int | None = None,
    stem: str = "sum",
    statistics: str | None = None,
    overrides: Mapping[str, Override] | None = None,
    example: torch.Tensor | None = None,
) -> nn.Module:
    """Turns a 2D network into one that takes volumes (N, C, D, H, W).

    The result is a new module of the same classes, with the same parameter names, dtype, device,
    training flag, ``requires_grad``, shared parameters and hooks; the given network is untouched.
    Tensors with a height and a width come out as (N, C, D, H, W), vectors as (N, C). Operators with
    parameters of their own put them into the convolutions, as a child named ``fusion``. Every call
    may give ``thickness=``, (N,) in mm, which ``alignshift`` and ``A3D(reference=...)`` ask for.

    Args:
        net: a network that takes pictures (N, C, H, W).
        fusion: how a convolution looks along depth: a name (see ``thirdaxis.FUSIONS``) or a
            settings object such as ``thirdaxis.ACS()``.
        depth_stride: downsample depth wherever height and width are (``D -> ceil(D / s)``), or keep
            every slice. Default: downsample, but keep depth in networks of attention or of token
            mixing and in those that cut pictures into large patches at once (see
            `thirdaxis.convert.attention.why_depth_is_kept`), and under ``planecycle`` and
            ``flatten3d``.
        in_channels: channels of the volumes, if not those of the pictures: adapts the RGB stem.
        stem: how: ``"sum"``, ``"mean"``, ``"green"`` or ``"depth"``.
        statistics: ``"volume"`` lets global pooling, group and instance norms take in all slices,
            ``"slice"`` leaves each slice its own. Default: ``"slice"`` under ``slicewise``,
            ``planecycle`` and ``flatten3d``, else ``"volume"``.
        overrides: module name pattern (as in a shell: ``"layer4*"``) to a fusion or to a mapping
            with ``fusion``, ``depth_stride`` or ``statistics``; the last match wins, and what a
            module says holds for all inside it. ``"@dense_layers"``, ``"@residual"`` and
            ``"@3x3"`` stand for the convolutions that papers put an operator in, 1 x 1 ones
            included; see `thirdaxis.convert.places`.
        example: pictures (N, C, H, W) or volumes (N, C, D, H, W); if given, the conversion is
            checked on them (see `check`).

    Returns:
        The network on volumes.

    Raises:
        UsageError: an argument that makes no sense, or a network that is scripted, or lazy and has
            not run yet.
        ConversionError: the self-check failed.
    """
    if not isinstance(net, nn.Module):
        raise UsageError(f"convert takes a torch.nn.Module, got {type(net).__name__}")
    if any(is_converted(module) for module in net.modules()):
        raise UsageError("convert takes a 2D network; this one, or a part of it, is converted")
    refuse_unfinished(net)
    base = base_setting(net, fusion, depth_stride, statistics)
    settings = settings_by_name(net, base, overrides or {})
    if example is not None:
        check_settings(net, example, settings).raise_if_failed()
    lifted = copied(net)
    stems = [] if in_channels is None else adapt_stem(lifted, in_channels, stem)
    return lift(lifted, settings, stems=dict.fromkeys(stems, stem))
