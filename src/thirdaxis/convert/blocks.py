"""The blocks that a network repeats, found by its structure, and which planes each works on."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from types import FunctionType

from torch import nn

from thirdaxis.axes import pair
from thirdaxis.convert.attention import why_depth_is_kept
from thirdaxis.convert.carrier import Setting
from thirdaxis.convert.private import BatchNorm
from thirdaxis.convert.reading import code_names
from thirdaxis.convert.rotary import computes_positions
from thirdaxis.errors import UsageError, did_you_mean
from thirdaxis.fusion.by_block import ByBlock

CONTAINERS = nn.Sequential, nn.ModuleList, nn.ModuleDict
LISTS = nn.ModuleList, nn.ModuleDict
SORTING = {"blockify", "unroll"}  # functions that put windows one after the other
CHAINS = {"blocks", "block", "layers", "layer", "stages", "stage", "branches", "units", "features"}
MOST_PREFIX = 16  # class and register tokens that a sequence may have, if nobody says how many
HOLDS = 0.5  # share of the parameters from which a block is but a stage of smaller blocks


@dataclass(frozen=True)
class Turn:
    """How a block works on volumes.

    Attributes:
        name: of the block.
        plane: the axes that it works on, of D, H and W in order.
        pooling: what becomes of tokens without a place, ``"group"`` or ``"mean"``.
        prefixes: how many tokens may stand before those of the picture.
        number: its place among its siblings.
        widths: numbers of channels that its layers take.
        sequence_first: whether its sequences have the batch second.
        convolves: whether it has convolutions, which take channels first.
        positions: modules of the network that compute rotary positions.
    """

    name: str
    plane: str
    pooling: str
    prefixes: tuple[int, ...]
    number: int
    widths: frozenset[int]
    sequence_first: bool
    convolves: bool
    positions: tuple[nn.Module, ...]


def turns(net: nn.Module, settings: Mapping[str, Setting]) -> dict[str, Turn]:
    """The blocks of a network that an operator of blocks acts on, by name.

    Args:
        net: a 2D network.
        settings: the setting of every module, by name.

    Raises:
        UsageError: such an operator finds no block.
    """
    modules = dict(net.named_modules())
    positions = tuple(m for m in modules.values() if computes_positions(m))
    found: dict[str, Turn] = {}
    for fusion in dict.fromkeys(setting.fusion for setting in settings.values()):
        if not isinstance(fusion, ByBlock):
            continue
        names = named_blocks(net, fusion)
        mine = [name for name in names if settings[name].fusion == fusion]
        alone = not any(net.children()) and fusion.plane(0) == "HW"
        if not mine and not alone:
            raise UsageError(
                f"convert: {fusion.name!r} finds no block to act on"
                + (" that has attention" if fusion.needs_attention else "")
                + f": name them by {type(fusion).__name__}(blocks=...)"
            )
        for name in mine:
            _refuse_other_order(name, modules)
        for number, name in enumerate(mine):
            for part in _callable_parts(name, modules[name]):
                prefixes = _prefixes(part, modules) if fusion.prefix is None else (fusion.prefix,)
                found[part] = _turn(part, modules[part], fusion, number, prefixes, positions)
    return found


def named_blocks(net: nn.Module, fusion: ByBlock) -> list[str]:
    """Names of the blocks of a network, in its order; those that the settings name, if they do.

    A block is one of several parts of the same class in a ``Sequential``, ``ModuleList`` or
    ``ModuleDict`` that neither strides nor upsamples nor leaves out a border. Parts with attention
    that stride and are repeated with the same layers do so within, to look at a coarser grid. Where
    the parts are stages made of smaller blocks, it is those. A network without any takes its
    convolutions that keep sides.

    Raises:
        UsageError: a name that is no part of the network.
    """
    modules = dict(net.named_modules())
    if fusion.blocks is None:
        found = _repeated(net, "")
        if fusion.needs_attention:
            return [name for name in found if why_depth_is_kept(modules[name])]
        return found or [name for name, module in modules.items() if name and keeps_sides(module)]
    for pattern in fusion.blocks:
        if not any(fnmatchcase(name, pattern) for name in modules):
            guess = did_you_mean(pattern, [name for name, _ in net.named_children()])
            raise UsageError(f"{fusion.name}: no module matches {pattern!r}{guess}")
    named = [n for n in modules if any(fnmatchcase(n, pattern) for pattern in fusion.blocks)]
    return [n for n in named if not any(n != m and n.startswith(f"{m}.") for m in named if m)]


def keeps_sides(module: nn.Module) -> bool:
    """Whether this is a convolution larger than 1 x 1 that keeps height and width."""
    if not isinstance(module, nn.Conv2d) or pair(module.kernel_size) == (1, 1):
        return False
    if isinstance(module.padding, str):
        return module.padding == "same"
    sides = zip(
        *(pair(module.kernel_size), pair(module.padding), pair(module.dilation)), strict=True
    )
    return pair(module.stride) == (1, 1) and all(2 * p == d * (k - 1) for k, p, d in sides)


def _repeated(module: nn.Module, name: str) -> list[str]:
    children = [(child, part) for child, part in module.named_children() if any(part.children())]
    kinds = Counter(_kind(part) for _, part in children)
    layers = Counter(_layers(part) for _, part in children)
    found = []
    for child, part in children:
        path = f"{name}.{child}" if name else child
        inner = _repeated(part, path)
        block = isinstance(module, CONTAINERS) and kinds[_kind(part)] > 1 and _mixes(part)
        if not block or _is_stage(part, path, inner):
            found += inner
        elif not _changes_sides(part):
            coarser = layers[_layers(part)] > 1 and why_depth_is_kept(part)
            if coarser or not _strides(part):
                found.append(path)
    return found


def _kind(part: nn.Module) -> tuple[type, ...]:
    """Its class; of a mere container, what it contains."""
    mere = type(part) in CONTAINERS
    return (type(part), *(type(child) for child in part.children())) if mere else (type(part),)


def _mixes(part: nn.Module) -> bool:
    """Whether it has weights, and attention or layers that may look at several positions."""
    layers = [layer for layer in part.modules() if not any(layer.children())]
    weighs = any(parameter.dim() > 1 for parameter in part.parameters())
    return weighs and (bool(why_depth_is_kept(part)) or not all(map(_is_pointwise, layers)))


def _is_pointwise(layer: nn.Module) -> bool:
    if isinstance(layer, nn.Conv2d):
        return pair(layer.kernel_size) == (1, 1)
    alone = nn.Linear, nn.Identity, nn.Dropout, nn.LayerNorm, nn.GroupNorm, BatchNorm
    return isinstance(layer, alone) or type(layer).__module__ == "torch.nn.modules.activation"


def _layers(part: nn.Module) -> tuple:
    """Its layers that have weights, and their strides, which tell apart what looks alike."""
    return (
        type(part),
        *(
            (name, tuple(layer._parameters["weight"].shape), getattr(layer, "stride", 1))
            for name, layer in part.named_modules()
            if not any(layer.children()) and layer._parameters.get("weight") is not None
        ),
    )


def _is_stage(part: nn.Module, path: str, inner: list[str]) -> bool:
    """Whether most of a part are smaller blocks, one after the other."""
    modules = {f"{path}.{name}": module for name, module in part.named_modules() if name}
    chained = []
    for name in inner:
        holder = name.rpartition(".")[0]
        owner = part if holder == path else modules[holder]
        if isinstance(owner, nn.Sequential) or holder.rpartition(".")[2] in CHAINS:
            chained.append(name)
        elif isinstance(owner, LISTS) and type(owner) not in LISTS:
            chained.append(name)  # a container with a forward of its own
    held = {id(p): p.numel() for name in chained for p in modules[name].parameters()}
    whole = sum(p.numel() for p in part.parameters())
    return sum(held.values()) > HOLDS * whole


def _changes_sides(part: nn.Module) -> bool:
    """Whether a layer upsamples, moves pixels into channels, or leaves out a border."""
    for layer in part.modules():
        if isinstance(layer, nn.Upsample | nn.PixelShuffle | nn.PixelUnshuffle):
            return True
        if isinstance(layer, nn.ConvTranspose2d) and max(pair(layer.stride)) > 1:
            return True
        if type(layer) is not nn.Conv2d or max(*pair(layer.stride), *pair(layer.kernel_size)) == 1:
            continue
        if max(pair(layer.stride)) == 1 and not keeps_sides(layer):
            return True
    return False


def _strides(part: nn.Module) -> bool:
    strides = (getattr(layer, "stride", 1) for layer in part.modules())
    return any(max(pair(s)) > 1 for s in strides if isinstance(s, int | tuple | list))


def _callable_parts(name: str, part: nn.Module) -> list[str]:
    """The block itself, or the parts of a mere list, which nobody calls."""
    if type(part) not in LISTS:
        return [name]
    return [f"{name}.{child}" for child, _ in part.named_children()]


def _prefixes(name: str, modules: Mapping[str, nn.Module]) -> tuple[int, ...]:
    """How many tokens may be no part of the picture: what the nearest module around says, or none.

    Some networks put theirs in front of the last blocks alone.
    """
    while name:
        name = name.rpartition(".")[0]
        told = getattr(modules[name], "num_prefix_tokens", None)
        if isinstance(told, int):
            return (told, 0)
    return tuple(range(MOST_PREFIX + 1))


def _refuse_other_order(name: str, modules: Mapping[str, nn.Module]) -> None:
    """Refuses blocks inside code that sorts the tokens by windows, which shapes cannot tell.

    Raises:
        UsageError: it does.
    """
    around = name
    while around:
        around = around.rpartition(".")[0]
        for function in vars(type(modules[around])).values():
            used = (
                set(code_names(function.__code__)) if isinstance(function, FunctionType) else set()
            )
            if used & SORTING:
                raise UsageError(
                    f"convert: {type(modules[around]).__name__} sorts the tokens that {name!r} "
                    f"gets ({', '.join(sorted(used & SORTING))}), so that planes of another "
                    "orientation cannot be found in them: take another fusion, or leave the block "
                    'out by overrides={name: "slicewise"}'
                )


def _turn(
    name: str,
    part: nn.Module,
    fusion: ByBlock,
    number: int,
    prefixes: tuple[int, ...],
    positions: tuple[nn.Module, ...],
) -> Turn:
    place = name.rpartition(".")[2]
    told = ("normalized_shape", "num_features", "num_channels", "in_channels", "in_features")
    widths = set()
    for layer in part.modules():
        for key in told:
            value = vars(layer).get(key)
            value = value[-1] if isinstance(value, tuple | list) and value else value
            widths |= {value} if isinstance(value, int) else set()
    attention = [m for m in part.modules() if isinstance(m, nn.MultiheadAttention)]
    return Turn(
        name,
        fusion.plane(number),
        fusion.pooling,
        prefixes,
        int(place) if place.isdigit() else number,
        frozenset(widths),
        any(not m.batch_first for m in attention),
        any(isinstance(m, nn.Conv2d) for m in part.modules()),
        positions,
    )
