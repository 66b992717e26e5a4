"""What a network is meant to be converted with, by its name."""

VOLUMETRIC = ("resnet3d", "p3d")


def is_volumetric(network: str) -> bool:
    """Whether a network is one that was published in 3D.

    Args:
        network: its name, see `thirdaxis.nets.build.build`.
    """
    return network.partition(":")[0] in VOLUMETRIC


def natural_fusion(network: str) -> str:
    """`i3d` for networks that are published in 3D, `slicewise` for AH-Net, `acs` for 2D ones.

    Args:
        network: its name, see `thirdaxis.nets.build.build`.
    """
    if network.partition(":")[0] == "ahnet":
        return "slicewise"
    return "i3d" if is_volumetric(network) else "acs"


def natural_settings(network: str) -> dict[str, str]:
    """The conversion's settings that a network brings along: the fusion, and AH-Net's stem.

    Args:
        network: its name, see `thirdaxis.nets.build.build`.
    """
    stem = {"stem": "depth"} if network.partition(":")[0] == "ahnet" else {}
    return {"fusion": natural_fusion(network), **stem}
