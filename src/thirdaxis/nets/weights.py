"""Weights from a file into a network, and an account of every tensor."""

import pickle
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from thirdaxis.errors import InputError
from thirdaxis.fusion.i3d import I3D

Weights = Literal["library"] | Path | None
PREFIXES = ("", "module.", "model.", "net.", "encoder.", "backbone.")
NESTS = ("state_dict", "model_state_dict", "model", "net")
# The DenseNet files that torchvision publishes say norm.1 for what its networks call norm1.
_OLD_DENSE = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")


@dataclass
class WeightsReport:
    """What became of every tensor of a weights file and of the network.

    Args:
        source: the file, or the library the weights came from.
        loaded: names taken as they are.
        adapted: names taken after a change, and which.
        skipped: names of the file that were not taken, and why.
        missing: names of the network for which the file had nothing; they keep their start.
    """

    source: str
    loaded: list[str] = field(default_factory=list)
    adapted: list[tuple[str, str]] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [
            f"weights from {self.source}: {len(self.loaded)} tensors loaded, "
            f"{len(self.adapted)} adapted, {len(self.skipped)} skipped, {len(self.missing)} missing"
        ]
        lines += [f"  adapted {name}: {why}" for name, why in self.adapted]
        lines += [f"  skipped {name}: {why}" for name, why in self.skipped]
        lines += [f"  missing {name}: left at its start" for name in self.missing]
        return "\n".join(lines)

    def keep(self, names: set[str], why_not: str) -> "WeightsReport":
        """The same account once the network was cut down to the tensors called `names`."""
        gone = [n for n in [*self.loaded, *(n for n, _ in self.adapted)] if n not in names]
        return WeightsReport(
            source=self.source,
            loaded=[name for name in self.loaded if name in names],
            adapted=[(name, why) for name, why in self.adapted if name in names],
            skipped=self.skipped + [(name, why_not) for name in gone],
            missing=[name for name in self.missing if name in names],
        )


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The named tensors of a weights file, on the CPU. Nothing in the file is ever executed.

    Args:
        path: ``.safetensors``, or what `torch.save` wrote of a state dict or of a dictionary
            with one under ``state_dict``, ``model_state_dict``, ``model`` or ``net``.

    Raises:
        InputError: no such file, or not one of these.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such weights file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as e:
        what = str(e).strip().splitlines()[0] if str(e).strip() else type(e).__name__
        raise InputError(
            f"{path}: not readable as weights ({what}); "
            "expected safetensors or a state dict saved by torch.save"
        ) from e
    for nest in NESTS:
        if isinstance(content, dict) and isinstance(content.get(nest), dict):
            content = content[nest]
            break
    tensors = content if isinstance(content, dict) else {}
    tensors = {
        _OLD_DENSE.sub(r"\1\2", name): value
        for name, value in tensors.items()
        if isinstance(value, Tensor)
    }
    if not tensors:
        raise InputError(f"{path}: holds no named tensors; expected a state dict")
    return tensors


def _without_prefix(tensors: Mapping[str, Tensor], wanted: set[str]) -> tuple[str, dict[str, str]]:
    """The prefix whose removal makes most names fit, and the file's name for each new name."""
    names = [{name.removeprefix(prefix): name for name in tensors} for prefix in PREFIXES]
    hits = [len(wanted & renamed.keys()) for renamed in names]
    best = hits.index(max(hits))
    return PREFIXES[best], names[best]


def _adapt(given: Tensor, shape: torch.Size) -> tuple[Tensor, str] | None:
    """A tensor of another shape made to fit, with the reason; None where it cannot."""
    if _same_but_ones(given.shape, shape) and not _colours_as_taps(given.shape, shape):
        return given.reshape(shape), f"shape {tuple(given.shape)} to {tuple(shape)}"
    changes = []
    if given.ndim == 4 and len(shape) == 5:
        given = I3D(taps=shape[2]).stored(given)
        changes.append("2D kernel inflated by I3D")
    is_kernel = given.ndim == len(shape) in (4, 5)
    same_but_inputs = is_kernel and given.shape[0] == shape[0] and given.shape[2:] == shape[2:]
    if same_but_inputs and given.shape[1] == 3 and shape[1] == 1:
        given = given.sum(1, keepdim=True)
        changes.append("RGB kernel summed for one grey channel")
    return (given, ", ".join(changes)) if changes and given.shape == shape else None


def _same_but_ones(given: torch.Size, shape: torch.Size) -> bool:
    return [n for n in given if n != 1] == [n for n in shape if n != 1]


def _colours_as_taps(given: torch.Size, shape: torch.Size) -> bool:
    """Whether (C, 3, 3, 3) would be taken for (C, 1, 3, 3, 3), or the other way round.

    Both have as many numbers. A 3 x 7 x 7 kernel is made of the colours of a 7 x 7 one; a cube is a
    kernel of its own.
    """
    deep = max(given, shape, key=len)
    return {len(given), len(shape)} == {4, 5} and given[1] != shape[1] and deep[2] == deep[3] > 1


def transfer(module: nn.Module, tensors: Mapping[str, Tensor], source: str) -> WeightsReport:
    """Copies every tensor that fits into `module`, by name.

    A tensor of another shape is adapted where that keeps its meaning (a linear layer as a 1 × 1
    convolution; an RGB stem summed for one grey channel; a 2D kernel inflated for a 3D one) and
    skipped otherwise, as a classifier for another number of classes is.

    Args:
        module: filled in place.
        tensors: name to tensor; one common prefix such as ``module.`` may be in the way.
        source: what to call the origin in the report and in errors.

    Raises:
        InputError: no tensor fits.
    """
    own = module.state_dict()
    prefix, names = _without_prefix(tensors, set(own))
    report = WeightsReport(source + (f" (names without {prefix!r})" if prefix else ""))
    fitting: dict[str, Tensor] = {}
    for name, name_in_file in names.items():
        given = tensors[name_in_file]
        if name not in own:
            report.skipped.append((name, "not in the network"))
        elif given.shape == own[name].shape:
            fitting[name] = given
            report.loaded.append(name)
        elif adapted := _adapt(given, own[name].shape):
            fitting[name] = adapted[0]
            report.adapted.append((name, adapted[1]))
        else:
            shapes = f"{tuple(given.shape)} in the file, {tuple(own[name].shape)} in the network"
            report.skipped.append((name, f"shape {shapes}"))
    # Counters of old batch norms are often not saved and matter to nobody.
    report.missing = [n for n in own if n not in names and not n.endswith("num_batches_tracked")]
    if not any(name.endswith("weight") for name in fitting):
        raise InputError(
            f"{source}: no weights fit the network; it has names like {next(iter(own), '(none)')!r}"
            f", the file like {next(iter(tensors), '(none)')!r}"
        )
    module.load_state_dict(fitting, strict=False)
    return report


def load_weights(module: nn.Module, path: Path) -> WeightsReport:
    """Fills a network from a weights file, see `read_tensors` and `transfer`.

    Args:
        module: filled in place.
        path: ``.safetensors`` or ``.pth``/``.pt``.

    Returns:
        What was loaded, adapted, skipped, and what was missing.

    Raises:
        InputError: the file is missing, unreadable, or nothing in it fits.
    """
    return transfer(module, read_tensors(path), str(path))


def _fetch(name: str, fetch: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
    """A library's pretrained tensors; whatever goes wrong on the way becomes one line."""
    try:
        return fetch()
    except Exception as e:  # the libraries raise what their downloaders raise
        reason = (str(e).strip() or type(e).__name__).splitlines()[0]
        raise InputError(
            f"no library weights for {name} ({reason}); "
            "check the network connection, or give the weights as a file"
        ) from e


def tensors_of(
    name: str, weights: Weights, fetch: Callable[[], Mapping[str, Tensor]]
) -> tuple[Mapping[str, Tensor], str] | None:
    """The tensors asked for and what to call their origin.

    Args:
        name: of the network, for its library's weights.
        weights: ``library``, a file, or none.
        fetch: gets the library's tensors.

    Raises:
        InputError: they cannot be fetched or read.
    """
    if weights is None:
        return None
    if weights == "library":
        return _fetch(name, fetch), f"{name} (library)"
    return read_tensors(Path(weights)), str(weights)


def fill(
    net: nn.Module, given: tuple[Mapping[str, Tensor], str] | None, part: str
) -> WeightsReport | None:
    """Fills a network, or only its `part` where the tensors are those of the part alone.

    Args:
        net: filled in place.
        given: from `tensors_of`.
        part: name of a submodule.

    Raises:
        InputError: no tensor fits.
    """
    if given is None:
        return None
    tensors, source = given
    inner = getattr(net, part, None)
    if isinstance(inner, nn.Module):
        of_whole = len(net.state_dict().keys() & tensors.keys())
        of_part = len(inner.state_dict().keys() & tensors.keys())
        if of_part > of_whole:
            return transfer(inner, tensors, f"{source}, for the {part} alone")
    return transfer(net, tensors, source)
