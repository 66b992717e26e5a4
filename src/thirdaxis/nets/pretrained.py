"""3D weights, such as SVD-Net's, Med3D's or those of videos, into any network with their layers."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor, nn

from thirdaxis.errors import InputError
from thirdaxis.nets.group_transform import GroupTransform
from thirdaxis.nets.weights import WeightsReport, read_tensors, transfer

# Names of published files, and what the same layers are called here.
LAYOUTS = (
    ("conv1_custom.", "conv1."),  # P3D in SVD-Net's code
    ("stem.0.", "conv1.0."),  # the V1c stem in mmclassification and mmdetection
    ("stem.1.", "conv1.1."),
    ("stem.3.", "conv1.3."),
    ("stem.4.", "conv1.4."),
    ("stem.6.", "conv1.6."),
    ("stem.7.", "bn1."),
)
LEAST_SHARE = 0.25  # of the names of a file or a network that a common prefix has


def load_pretrained(net: nn.Module, file: Path) -> WeightsReport:
    """Fills a network from 3D weights: convolutions and norms follow, whatever strides they had.

    Tensors are matched by name, wherever the layers sit in the file (``module.backbone.layer1``)
    and in the network (``encoder.body.layer1``). A stem of three channels is summed for one, 2D
    kernels are inflated by I3D. What cannot follow keeps its start: layers of other sizes, and the
    group transforms of detectors with another number of slices.

    Files of SVD-Net's code, Med3D (``state_dict`` with names in ``module.``), the 3D ResNets for
    Kinetics and Models Genesis have names that fit `thirdaxis.nets.resnet3d.resnet3d`,
    `thirdaxis.nets.p3d63.p3d` and `thirdaxis.nets.genesis.GenesisUNet`. Those of 18 and 34 layers
    for Med3D and Kinetics have no shortcut convolutions: take ``shortcut="A"``.

    Source: section III-C of Zhang et al., "Advancing 3D Medical Image Analysis with Variable
    Dimension Transform based Supervised 3D Pre-training" (SVD-Net), 2022.

    Args:
        net: filled in place; converted, or 3D by itself.
        file: ``.safetensors``, or a state dict that `torch.save` wrote, alone or in a dictionary.

    Returns:
        What was loaded, adapted, skipped, and what was missing.

    Raises:
        InputError: the file is missing, unreadable, or nothing in it fits.
    """
    tensors = read_tensors(file)
    own = net.state_dict()
    before, instead = _prefixes([*map(_here, tensors)], own)
    source = str(file)
    if before != instead:
        source += f" ({before + '*' if before else 'names'} as {instead}*)"
    named = {_moved(_here(name), before, instead): value for name, value in tensors.items()}
    left = _other_transforms(net, own, named)
    for name in left:
        del named[name]
    try:
        report = transfer(net, named, source)
    except InputError as error:
        flat = [n for n, v in named.items() if n in own and v.ndim == 5 and own[n].ndim == 4]
        if not flat:
            raise
        raise InputError(
            f"{file}: holds 3D kernels, and the network has 2D ones (of {flat[0]}, say): convert "
            "it by 'i3d'"
        ) from error
    report.skipped += left.items()
    report.missing = [name for name in report.missing if name not in left]
    return report


def holds_volumes(file: Path) -> bool:
    """Whether the kernels of a weights file are 3D, so that a converted network takes them.

    Args:
        file: see `load_pretrained`.

    Raises:
        InputError: the file is missing or unreadable.
    """
    return any(value.ndim == 5 for value in read_tensors(file).values())


def _here(name: str) -> str:
    for theirs, ours in LAYOUTS:
        outer, found, rest = name.rpartition(theirs)
        if found and (not outer or outer.endswith(".")):
            return outer + ours + rest
    return name


def _moved(name: str, before: str, instead: str) -> str:
    return instead + name.removeprefix(before) if name.startswith(before) else name


def _prefixes(names: Iterable[str], own: Iterable[str]) -> tuple[str, str]:
    """What to take from the file's names and what to put in its place, so that most fit."""
    theirs, ours = list(names), set(own)
    best, most = ("", ""), 0
    for before in _common(theirs):
        rests = [name.removeprefix(before) for name in theirs if name.startswith(before)]
        for instead in _common(ours):
            hits = sum(instead + rest in ours for rest in rests)
            if hits > most:
                best, most = (before, instead), hits
    return best


def _common(names: Iterable[str]) -> list[str]:
    """Prefixes that many names share, the shortest first."""
    names = list(names)
    counts: Counter[str] = Counter()
    for name in names:
        parts = name.split(".")[:-1]
        counts.update(".".join(parts[:i]) + "." for i in range(1, len(parts)))
    shared = [prefix for prefix, count in counts.items() if count >= LEAST_SHARE * len(names)]
    return ["", *sorted(shared, key=len)]


def _other_transforms(
    net: nn.Module, own: Mapping[str, Tensor], named: Mapping[str, Tensor]
) -> dict[str, str]:
    """Group transforms of another number of slices, and why they are not taken."""
    places = [name for name, module in net.named_modules() if isinstance(module, GroupTransform)]
    keys = [f"{name}.fuse.weight" if name else "fuse.weight" for name in places]
    return {
        key: f"fuses {named[key].shape[1]} slices, here {own[key].shape[1]}"
        for key in keys
        if key in named and named[key].shape != own[key].shape
    }
