"""The fusion that a network is meant to be converted with, by its name."""

NATURAL = {"resnet3d": "i3d", "p3d": "i3d"}


def natural_fusion(network: str) -> str:
    """`i3d` for networks that are published in 3D, `acs` for 2D ones.

    Args:
        network: its name, see `thirdaxis.nets.build.build`.
    """
    return NATURAL.get(network.partition(":")[0], "acs")
