"""Classifiers as encoders: the head goes, the last feature map of each resolution comes out."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from thirdaxis.errors import UsageError

HEADS = ("classifier", "fc", "head", "heads")
POOLS_TO_ONE = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
DRY_RUN_SIZE = (128, 192)


class Encoder(Protocol):
    """What a decoder asks of an encoder: it is an `nn.Module` with these and a forward."""

    in_channels: int
    channels: tuple[int, ...]
    strides: tuple[int, ...]

    def __call__(self, image: Tensor) -> list[Tensor]:
        """Feature maps ``(N, C, h, w)`` from the finest to the coarsest."""
        ...


def last_of_each_size(maps: Sequence[Any], what: str) -> list[int]:
    """Where the last feature map of each resolution stands.

    Args:
        maps: what a network's layers gave, in order, for an image of `DRY_RUN_SIZE`.
        what: the network's name, for the error.

    Raises:
        UsageError: these are not feature maps of at least three falling resolutions.
    """
    kept: list[int] = []
    for i, x in enumerate(maps):
        height, width = x.shape[-2:]
        if kept and maps[kept[-1]].shape[-2:] == x.shape[-2:]:
            kept[-1] = i
        elif not kept or height < maps[kept[-1]].shape[-2]:
            kept.append(i)
        else:
            raise UsageError(f"{what} cannot be an encoder: its feature maps grow on the way down")
        # A map with channels last, as some transformers keep it, has no such sides.
        if not 1 <= width / height <= 2.5:
            raise UsageError(f"{what} cannot be an encoder: its layers do not give (N, C, H, W)")
    if len(kept) < 3:
        raise UsageError(
            f"{what} cannot be an encoder: it has feature maps of {len(kept)} resolutions, "
            "a U-Net needs at least 3; choose a convolutional network"
        )
    return kept


def _no_dry_run(name: str, error: Exception) -> UsageError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    height, width = DRY_RUN_SIZE
    return UsageError(
        f"{name} cannot be an encoder: it takes no image of {height} x {width} pixels ({reason})"
    )


def _steps(module: nn.Module, prefix: str = "") -> list[tuple[str, nn.Module]]:
    """The layers of a network in the order of their definition, containers opened."""
    found: list[tuple[str, nn.Module]] = []
    for name, child in module.named_children():
        plain = type(child).forward in (nn.Sequential.forward, nn.ModuleList.forward)
        if plain and len(child):  # type: ignore[arg-type]
            found += _steps(child, f"{prefix}{name}.")
        else:
            found.append((prefix + name, child))
    return found


def _chain(net: nn.Module, image: Tensor) -> list[tuple[str, Tensor]]:
    """The unbroken chain of layers from the image on, watched in the network's own forward."""
    calls: list[tuple[str, Any, Any]] = []
    names = {step: name for name, step in _steps(net)}

    def watch(step: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        calls.append((names[step], args[0] if args else None, output))

    hooks = [step.register_forward_hook(watch) for step in names]
    was_training = net.training
    try:
        with torch.no_grad():
            net.eval()(image)
    finally:
        net.train(was_training)
        for hook in hooks:
            hook.remove()

    chain: list[tuple[str, Tensor]] = []
    for name, given, output in calls:
        follows = not chain or given is chain[-1][1]
        is_map = isinstance(output, Tensor) and output.ndim == 4
        is_head = name.split(".")[0] in HEADS or isinstance(net.get_submodule(name), POOLS_TO_ONE)
        if not follows or not is_map or is_head:
            break
        chain.append((name, output))
    return chain


def _prune(module: nn.Module, keep: set[str], prefix: str = "") -> None:
    """Drops every layer that is neither in `keep` nor holds one that is."""
    for name, child in list(module.named_children()):
        path = prefix + name
        if path in keep:
            continue
        if any(kept.startswith(path + ".") for kept in keep):
            _prune(child, keep, path + ".")
        else:
            delattr(module, name)


class ChainEncoder(nn.Module):
    """The feature maps of a classifier whose layers follow one another.

    The classifier's own forward is watched once on a small image; its layers are then run one by
    one up to the last feature map, and the last map of each resolution is kept. The head goes.

    Args:
        net: the classifier, e.g. of torchvision; it is taken over and cut, under its own names.
        name: what to call it in errors.
        in_channels: channels of its image.

    Raises:
        UsageError: the network is no such chain, as vision transformers are not.
    """

    def __init__(self, net: nn.Module, name: str, in_channels: int = 3) -> None:
        super().__init__()
        try:
            chain = _chain(net, torch.zeros(1, in_channels, *DRY_RUN_SIZE))
        except (RuntimeError, AssertionError, ValueError) as e:
            raise _no_dry_run(name, e) from e
        taps = last_of_each_size([output for _, output in chain], name)
        chain = chain[: taps[-1] + 1]
        self.in_channels = in_channels
        self.channels = tuple(chain[i][1].shape[1] for i in taps)
        self.strides = tuple(round(DRY_RUN_SIZE[0] / chain[i][1].shape[-2]) for i in taps)
        self.steps = tuple(name for name, _ in chain)
        self.taps = frozenset(taps)
        _prune(net, set(self.steps))
        self.body = net

    def only(self, strides: Sequence[int]) -> None:
        """Leaves the levels of these strides, and of the layers those that they need.

        Raises:
            UsageError: there is no level of such a stride.
        """
        taps = sorted(self.taps)
        places = _places(self, strides)
        self.taps = frozenset(taps[i] for i in places)
        self.steps = self.steps[: max(self.taps) + 1]
        _prune(self.body, set(self.steps))

    def forward(self, image: Tensor) -> list[Tensor]:
        """Feature maps ``(N, C, h, w)`` of an image ``(N, in_channels, H, W)``, finest first."""
        maps = []
        x = image
        for i, step in enumerate(self.steps):
            x = self.body.get_submodule(step)(x)
            if i in self.taps:
                maps.append(x)
        return maps


class TimmEncoder(nn.Module):
    """The feature maps of a timm network, through its own `forward_intermediates`.

    Args:
        net: the timm network; it is taken over and its head cut, under its own names.
        name: what to call it in errors.
        in_channels: channels of its image.

    Raises:
        UsageError: the network gives no maps of falling resolution.
    """

    def __init__(self, net: Any, name: str, in_channels: int = 3) -> None:
        super().__init__()
        image = torch.zeros(1, in_channels, *DRY_RUN_SIZE)
        was_training = net.training
        try:
            with torch.no_grad():
                maps = net.eval().forward_intermediates(image, intermediates_only=True)
        except (RuntimeError, AssertionError, ValueError) as e:
            raise _no_dry_run(name, e) from e
        taps = last_of_each_size(maps, name)
        self.in_channels = in_channels
        self.channels = tuple(maps[i].shape[1] for i in taps)
        self.strides = tuple(round(DRY_RUN_SIZE[0] / maps[i].shape[-2]) for i in taps)
        self.taps = list(taps)
        net.prune_intermediate_layers(self.taps, prune_norm=True)
        self.body: Any = net.train(was_training)

    def only(self, strides: Sequence[int]) -> None:
        """Leaves the levels of these strides, and of the layers those that they need.

        Raises:
            UsageError: there is no level of such a stride.
        """
        self.taps = [self.taps[i] for i in _places(self, strides)]
        self.body.prune_intermediate_layers(self.taps, prune_norm=True)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Feature maps ``(N, C, h, w)`` of an image ``(N, in_channels, H, W)``, finest first."""
        return self.body.forward_intermediates(image, indices=self.taps, intermediates_only=True)


def _places(encoder: Encoder, strides: Sequence[int]) -> list[int]:
    """Where the levels of these strides stand; the encoder's account is cut down to them.

    A network that does not pad all its kernels gives maps a little coarser, which will do.
    """
    nearest = [min(encoder.strides, key=lambda has: abs(has - stride)) for stride in strides]
    if any(abs(has - stride) > stride // 4 for has, stride in zip(nearest, strides, strict=True)):
        came = ", ".join(map(str, encoder.strides))
        wanted = ", ".join(map(str, strides))
        raise UsageError(f"the network has maps at strides {came}, needed are those at {wanted}")
    places = [encoder.strides.index(stride) for stride in nearest]
    encoder.channels = tuple(encoder.channels[i] for i in places)
    encoder.strides = tuple(nearest)
    return places
