"""Networks published in 3D, by name; each is written in 2D and converted by ``"i3d"``."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torchvision import models

from thirdaxis.errors import UsageError, did_you_mean
from thirdaxis.nets.p3d63 import LAYOUTS, P3D
from thirdaxis.nets.resnet3d import DEPTHS, resnet

MARKS: dict[str, dict[str, Any]] = {
    "v1c": {"stem": "v1c"},
    "gn": {"norm": "group"},
    "a": {"shortcut": "A"},
    "dilated": {"dilated": True},
}


def flat(name: str, *, in_channels: int, classes: int) -> nn.Module:
    """The 2D network of that name.

    Args:
        name: ``resnet3d:18``, ``34`` or ``50``, with marks behind it: ``-v1c`` (three convolutions
            for a stem), ``-gn`` (group norms), ``-a`` (shortcuts without parameters) and
            ``-dilated``, such as ``resnet3d:18-a-dilated`` for Med3D's weights; ``p3d:63`` or
            ``p3d:18ba``, with ``-gn``.
        in_channels: of the pictures.
        classes: outputs of the last layer.

    Raises:
        UsageError: an unknown name.
    """
    library, _, rest = name.partition(":")
    size, *marks = rest.split("-")
    sizes = tuple(LAYOUTS) if library == "p3d" else tuple(map(str, DEPTHS))
    known = ("gn",) if library == "p3d" else tuple(MARKS)
    if size not in sizes:
        raise UsageError(f"unknown network {name!r}{did_you_mean(size, sizes)}")
    told: dict[str, Any] = {"in_channels": in_channels, "classes": classes}
    for mark in marks:
        if mark not in known:
            raise UsageError(f"unknown network {name!r}: {mark!r}{did_you_mean(mark, known)}")
        told |= MARKS[mark]
    return P3D(size, **told) if library == "p3d" else resnet(int(size), **told)


def library_tensors(name: str) -> Mapping[str, Tensor]:
    """Pretrained 2D weights of torchvision for a ``resnet3d`` of that name."""
    size = name.partition(":")[2].partition("-")[0]
    return models.get_model(f"resnet{size}", weights="DEFAULT").state_dict()
