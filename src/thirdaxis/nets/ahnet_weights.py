"""Weights of others into AH-Net: of the trained first stage, and of MONAI's AHNet."""

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from thirdaxis.convert.planting import own_parameters
from thirdaxis.errors import InputError
from thirdaxis.nets.ahnet import AHNet
from thirdaxis.nets.weights import WeightsReport, read_tensors, transfer

Source = nn.Module | Mapping[str, Tensor] | Path
PART = "encoder."
MONAI_SIGN = "dense4.denselayer1.conv4.weight"
# Tail of a name in MONAI's, and where that stands here.
MONAI = (
    (r"conv1\.weight", r"encoder.conv1.weight"),
    (r"bn0\.(\w+)", r"encoder.bn1.\1"),
    (r"(layer\d\.\d+\.downsample)\.2\.(\w+)", r"encoder.\1.1.\2"),
    (r"(layer\d\..+)", r"encoder.\1"),
    (r"psp\.project_modules\.(.+)", r"decoder.pyramid.project.\1"),
)
WIDENINGS = {"up0": 0, "up1": 1, "up2": 2, "trans1": 3, "up3": 4}
STEPS = ("enter", "plane", "depth", "leave")
OF_TRIPLE = {"norm": 0, "bn": 0, "conv": 2}


def fill_encoder(net: AHNet, stage1: Source) -> WeightsReport:
    """Gives AH-Net the whole encoder of a trained first stage, running statistics included.

    The first stage is a `thirdaxis.nets.gcn.GCN`, in 2D or converted. Every tensor has to be there
    and to fit: the kernels of a 2D encoder are those of the slicewise one, and the red, green and
    blue of its first kernel are three slices (Liu et al., "3D Anisotropic Hybrid Network", 2018,
    equations 1 to 3, whose code leaves the running statistics behind).

    Args:
        net: converted; its encoder is filled in place, its decoder is left alone.
        stage1: the network, its tensors by name, or a file of them.

    Returns:
        What became of every tensor; those outside the encoder are skipped.

    Raises:
        InputError: a tensor is missing or of another shape; nothing is changed then.
    """
    tensors, source = _tensors(stage1)
    given = encoder_tensors(tensors)
    check_encoder(net, given, source)
    report = transfer(net.encoder, given, source)
    begin = _begin(tensors)
    outside = [(n, "not of the encoder") for n in tensors if not n.startswith(begin)]
    return WeightsReport(
        source, report.loaded, report.adapted, report.skipped + outside, report.missing
    )


def encoder_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those of a network's tensors that are of its encoder, by their names in it."""
    begin = _begin(tensors)
    return {n.removeprefix(begin): t for n, t in tensors.items() if n.startswith(begin)}


def check_encoder(net: AHNet, given: Mapping[str, Tensor], source: str) -> None:
    """Checks that an encoder's tensors are all that AH-Net's needs, and of its shapes.

    Args:
        net: converted.
        given: by names inside the encoder; shapes alone are looked at.
        source: what to call their origin.

    Raises:
        InputError: with the first that is missing or of another shape.
    """
    own = net.encoder.state_dict()
    owned = own_parameters(net.encoder)
    for name in (name for name in own if name not in owned):
        came = "none" if name not in given else str(tuple(given[name].shape))
        if name not in given or _sides(given[name]) != _sides(own[name]):
            raise InputError(
                f"{source}: its encoder does not fit AH-Net's: {name!r} should be "
                f"{tuple(own[name].shape)}, and is {came}; train the first stage with 'gcn:' on "
                "the same ResNet, with stem 'depth' and fusions that keep 2D kernels"
            )


def load_monai(net: AHNet, weights: Source) -> WeightsReport:
    """Fills AH-Net from an ``AHNet`` of MONAI, as far as shapes allow.

    With MONAI's ``upsample_mode="trilinear"``, four pools and as many classes the two networks are
    then the same function. Of its other modes, whose steps up have weights, these are skipped.

    Args:
        net: converted or not; filled in place.
        weights: the network, its tensors by name, or a file of them.

    Returns:
        What became of every tensor.

    Raises:
        InputError: not these.
    """
    tensors, source = _tensors(weights)
    if not any(name.endswith(MONAI_SIGN) for name in tensors):
        raise InputError(f"{source}: not the weights of MONAI's AHNet ({MONAI_SIGN!r} is missing)")
    return transfer(net, from_monai(tensors), source)


def from_monai(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Tensors of MONAI's AHNet under this one's names, depth before the plane; others unchanged."""
    sign = next((name for name in tensors if name.endswith(MONAI_SIGN)), None)
    if sign is None:
        return tensors
    prefix = sign.removesuffix(MONAI_SIGN)
    renamed = {}
    for name, value in tensors.items():
        name = _here(name.removeprefix(prefix))
        if value.dim() == 5:
            value = value.movedim(-1, 2)
            in_picture = name.startswith(PART) and value.shape[2] == 1
            value = value.squeeze(2) if in_picture else value
        renamed[name] = value
    return renamed


def _here(name: str) -> str:
    for pattern, ours in MONAI:
        if found := re.fullmatch(pattern, name):
            return found.expand(ours)
    if found := re.fullmatch(r"dense(\d)\.denselayer(\d)\.(bn|conv)(\d)\.(\w+)", name):
        block, layer, kind, step, tail = found.groups()
        place = f"{int(layer) - 1}.{STEPS[int(step) - 1]}.{OF_TRIPLE[kind]}"
        return f"decoder.dense.{block}.{place}.{tail}"
    if found := re.fullmatch(r"(up\d|trans1|final)\.(norm|conv)\.(\w+)", name):
        block, kind, tail = found.groups()
        place = "output" if block == "final" else f"narrow.{WIDENINGS[block]}"
        return f"decoder.{place}.{OF_TRIPLE[kind]}.{tail}"
    return name


def _begin(tensors: Mapping[str, Tensor]) -> str:
    """What names of the encoder begin with."""
    tail = PART + "conv1.weight"
    return next((n[: -len("conv1.weight")] for n in tensors if n.endswith(tail)), PART)


def _tensors(source: Source) -> tuple[Mapping[str, Tensor], str]:
    if isinstance(source, nn.Module):
        return source.state_dict(), f"the given {type(source).__name__}"
    if isinstance(source, Path | str):
        return read_tensors(Path(source)), str(source)
    return source, "the given tensors"


def _sides(tensor: Tensor) -> list[int]:
    return [n for n in tensor.shape if n != 1]
