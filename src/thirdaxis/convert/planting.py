"""Giving convolutions the parameters that their operators ask for: kernels in 3D, operators."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import nn

from thirdaxis.axes import DEPTH, Geometry, pair
from thirdaxis.convert.carrier import Hidden, Setting
from thirdaxis.convert.copies import copied
from thirdaxis.convert.entry import logged
from thirdaxis.errors import UsageError
from thirdaxis.fusion.base import Layer, Operator
from thirdaxis.fusion.slicewise import Slicewise

PLANES = (64, 224)
CONVOLUTIONS = nn.Conv2d, nn.ConvTranspose2d


def fixed_depth(settings: Mapping[str, Setting]) -> int | None:
    """Slices of the volumes that a network's operators ask for, if any do.

    Raises:
        UsageError: they differ.
    """
    every = {setting.fusion.fixed_depth() for setting in settings.values()}
    asked = [depth for depth in every if depth is not None]
    if len(asked) > 1:
        depths = " and ".join(map(str, sorted(asked)))
        raise UsageError(f"convert: operators are set to volumes of {depths} slices; choose one")
    return asked[0] if asked else None


def without_operators(settings: Mapping[str, Setting]) -> dict[str, Setting]:
    """The same with no fusion, which leaves all sizes as they are."""
    return {name: replace(setting, fusion=Slicewise()) for name, setting in settings.items()}


def slices_met(flat: nn.Module, depth: int) -> dict[str, int]:
    """Slices that reach each convolution of a converted network, found by running its shapes.

    Args:
        flat: the network, converted without operators that fix the number of slices.
        depth: slices of the volumes.

    Raises:
        UsageError: the network does not run on volumes of that depth, or a convolution gets
            different numbers of slices in one call.
    """
    stem = next((m for m in flat.modules() if isinstance(m, CONVOLUTIONS)), None)
    channels = stem.in_channels if stem is not None else 3
    dtype = next((p.dtype for p in flat.parameters() if p.is_floating_point()), torch.float32)
    trouble = ""
    for device in ("meta", "cpu"):
        for side in PLANES:
            probe = copied(flat).to(device).eval()
            met = _watched(probe)
            volume = torch.zeros(1, channels, depth, side, side, device=device, dtype=dtype)
            try:
                with torch.no_grad(), logged():  # in a log of its own
                    probe(volume)
            except Exception as error:  # a network may say in any way that it takes no such shape
                trouble = (str(error).strip() or type(error).__name__).splitlines()[0]
                continue
            return _one_each(met)
    raise UsageError(
        f"convert: the network was run to find how many slices of {depth} reach each layer, and "
        f"failed: {trouble}"
    )


def _watched(net: nn.Module) -> dict[str, set[int]]:
    """Collects, as the network runs, the slices that each convolution gets."""
    met: dict[str, set[int]] = {}
    for name, module in net.named_modules():
        if isinstance(module, CONVOLUTIONS):

            def note(module: nn.Module, args: tuple, name: str = name) -> None:
                with Hidden.bare():
                    if args and args[0].dim() == 5:  # the network itself may be a convolution
                        axis = 0 if isinstance(args[0], Hidden) else DEPTH
                        met.setdefault(name, set()).add(args[0].shape[axis])

            module.register_forward_pre_hook(note)
    return met


def _one_each(met: dict[str, set[int]]) -> dict[str, int]:
    for name, slices in met.items():
        if len(slices) > 1:
            raise UsageError(
                f"convert: {name!r} runs on {' and '.join(map(str, sorted(slices)))} slices, and "
                "its operator mixes one number of them: keep depth with depth_stride=False, or "
                'leave that layer out by overrides={name: "slicewise"}'
            )
    return {name: next(iter(slices)) for name, slices in met.items()}


def plant(net: nn.Module, settings: Mapping[str, Setting], slices: Mapping[str, int]) -> set[str]:
    """Puts 3D kernels and operators where the fusion asks for them; sharing of kernels is kept.

    Args:
        net: a copy of the caller's 2D network, changed in place.
        settings: the setting of every module, by name.
        slices: slices that reach each convolution; those it lacks get no operator that fixes them.

    Returns:
        Names of the convolutions that own an operator.
    """
    stored: dict[int, nn.Parameter] = {}
    owners = set()
    for name, module in list(net.named_modules()):
        if not isinstance(module, CONVOLUTIONS) or module.weight is None:
            continue
        fusion = settings[name].fusion
        side, weight = pair(module.kernel_size), module._parameters.get("weight")
        flat = module.weight.dim() == 4
        if not flat or not fusion.reaches(Geometry(side, dilation=pair(module.dilation))):
            continue
        operator: Operator | None = None
        if fusion.fixed_depth() is None or name in slices:
            operator = fusion.operator(layer_of(module, slices.get(name, 0)))
        if operator is not None:
            _refuse_taken(name, module)
            module.fusion = operator.train(module.training)
            operator.adopt(module)
            owners.add(name)
        if weight is None:
            if operator is not None and operator.replaces_kernel:
                raise UsageError(
                    f"convert: the weight of {name!r} is computed (a parametrisation), and "
                    f"{fusion.name!r} needs another one: remove it before converting"
                )
            continue
        if id(weight) not in stored:
            kernel = (operator or fusion).stored(weight.detach())
            same = kernel.shape == weight.shape
            stored[id(weight)] = weight if same else nn.Parameter(kernel, weight.requires_grad)
        module.weight = stored[id(weight)]
    return owners


def layer_of(conv: nn.Conv2d | nn.ConvTranspose2d, slices: int = 0) -> Layer:
    """A convolution as its operator is told of it."""
    return Layer(
        conv.in_channels,
        conv.out_channels,
        pair(conv.kernel_size),
        conv.groups,
        isinstance(conv, nn.ConvTranspose2d),
        slices,
        conv.weight.detach(),
    )


def own_parameters(net: nn.Module) -> set[str]:
    """Names of what checkpoints hold that belongs to operators, not to the 2D network."""
    return {
        f"{name}.{own}" if name else own
        for name, module in net.named_modules()
        if isinstance(module, Operator)
        for own in module.state_dict()
    }


def _refuse_taken(name: str, module: nn.Module) -> None:
    if hasattr(module, "fusion"):
        raise UsageError(
            f"convert: {name!r} has an attribute 'fusion' already, the name of its operator's "
            "parameters: rename it in the 2D network"
        )
