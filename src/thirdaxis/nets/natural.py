"""The fusion that a network is meant to be converted with, by its name."""

VOLUMETRIC = ("resnet3d", "p3d")


def is_volumetric(network: str) -> bool:
    """Whether a network is one that was published in 3D.

    Args:
        network: its name, see `thirdaxis.nets.build.build`.
    """
    return network.partition(":")[0] in VOLUMETRIC


def natural_fusion(network: str) -> str:
    """`i3d` for networks that are published in 3D, `acs` for 2D ones.

    Args:
        network: its name, see `thirdaxis.nets.build.build`.
    """
    return "i3d" if is_volumetric(network) else "acs"
