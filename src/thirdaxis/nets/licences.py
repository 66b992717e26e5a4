"""Under which terms pretrained 2D weights come, as far as their libraries tell."""

from pathlib import Path

import torchvision
from safetensors import SafetensorError, safe_open

from thirdaxis.nets.build import Weights
from thirdaxis.nets.lidc import LIDC
from thirdaxis.nets.published import NETWORKS

UNKNOWN = "unknown, ask the source"
# torchvision licenses its code and leaves the terms of most weights to their training data.
TORCHVISION = (
    "torchvision is BSD-3-Clause; its weights may carry terms of their training data "
    "(ImageNet: non-commercial research)"
)


def licence_of(network: str, weights: Weights) -> str:
    """The licence of the pretrained weights a 2D network was loaded with.

    Args:
        network: name of the network, see `thirdaxis.nets.build.build`.
        weights: `library`, a file, or None for a random start.

    Returns:
        What the library says of its weights, or the header of a safetensors file under
        `license`, in one line; `UNKNOWN` where nothing is said.
    """
    if weights is None:
        return "none: random start"
    library, _, name = network.partition(":")
    if weights != "library":
        return _told_in(Path(weights)) or UNKNOWN
    # Networks of the papers take torchvision's weights, under its name.
    if network in NETWORKS:
        library, name = "torchvision", NETWORKS[network].weights
    elif library == "lidc" and name in LIDC:
        library, name = "torchvision", LIDC[name][1]
    elif library == "resnet3d":
        library, name = "torchvision", f"resnet{name.partition('-')[0]}"
    if library == "torchvision":
        try:
            told = torchvision.models.get_model_weights(name).DEFAULT.meta.get("license")
        except (ValueError, AttributeError):
            return UNKNOWN
        return told or TORCHVISION
    if library == "timm":
        import timm

        about = timm.get_pretrained_cfg(name, allow_unregistered=True)
        known = None if about is None else about.license
        return known if known and known != "unknown" else UNKNOWN
    return UNKNOWN


def _told_in(file: Path) -> str | None:
    if file.suffix != ".safetensors" or not file.is_file():
        return None
    try:
        with safe_open(file, "pt") as opened:
            return (opened.metadata() or {}).get("license")
    except SafetensorError:
        return None
