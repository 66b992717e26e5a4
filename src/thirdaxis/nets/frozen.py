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
    parts = {name: m for name, m in net.named_modules() if name and list(m.parameters())}
    found = []
    for pattern in patterns:
        names = [name for name in parts if fnmatchcase(name, pattern)]
        if not names:
            guess = did_you_mean(pattern, [name for name in parts if name.count(".") < 2])
            raise UsageError(f"freeze: no part of the network is called {pattern!r}{guess}")
        for name in names:
            parts[name].requires_grad_(False)
        found += names
    return found


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
