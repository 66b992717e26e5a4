"""Parts of a network that training leaves as they are."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

from torch import nn

from thirdaxis.errors import UsageError, did_you_mean


def freeze(net: nn.Module, patterns: Iterable[str]) -> list[str]:
    """Freezes the weights of the parts that patterns name, all inside them included.

    Args:
        net: changed in place.
        patterns: names of modules as in a shell, such as ``"*layer1"``.

    Returns:
        Names of the frozen parts.

    Raises:
        UsageError: a pattern that names no part with weights.
    """
    parts = _parts_named(net, patterns)
    for part in parts.values():
        part.requires_grad_(False)
    return list(parts)


def thaw(net: nn.Module, patterns: Iterable[str]) -> list[nn.Parameter]:
    """Makes the parts that patterns name trainable, all inside them included.

    Args:
        net: changed in place.
        patterns: as for `freeze`.

    Returns:
        Their weights.

    Raises:
        UsageError: a pattern that names no part with weights.
    """
    parts = _parts_named(net, patterns).values()
    weights = {id(weight): weight for part in parts for weight in part.parameters()}
    return [weight.requires_grad_() for weight in weights.values()]


def _parts_named(net: nn.Module, patterns: Iterable[str]) -> dict[str, nn.Module]:
    parts = {name: m for name, m in net.named_modules() if name and list(m.parameters())}
    found = []
    for pattern in patterns:
        names = [name for name in parts if fnmatchcase(name, pattern)]
        if not names:
            guess = did_you_mean(pattern, [name for name in parts if name.count(".") < 2])
            raise UsageError(f"freeze: no part of the network is called {pattern!r}{guess}")
        found += names
    return {name: parts[name] for name in found}


def hold_frozen(net: nn.Module) -> None:
    """Puts every part whose weights are all frozen into evaluation mode.

    So norms of frozen stages keep the statistics that they were trained with. To be called after
    each ``net.train()``.

    Args:
        net: changed in place.
    """
    for module in net.modules():
        weights = list(module.parameters())
        if weights and not any(weight.requires_grad for weight in weights):
            module.eval()
