"""`thirdaxis check`: does a 2D network convert right, proven by numbers?"""

from typing import Annotated

import typer

from thirdaxis.errors import UsageError
from thirdaxis.fusion.table import NAMES


def check(
    network: Annotated[
        str,
        typer.Argument(
            help="unet, torchvision:NAME, timm:NAME, smp:ARCHITECTURE/ENCODER or "
            "package.module:factory."
        ),
    ],
    fusion: Annotated[
        str, typer.Option(help=f"How 2D convolutions look along depth: {NAMES}.")
    ] = "acs",
    weights: Annotated[
        str | None,
        typer.Option(help="'library', or a .safetensors or .pth file; none is a random start."),
    ] = None,
    depth_stride: Annotated[
        bool | None,
        typer.Option(
            help="Reduce depth wherever height and width are reduced, or keep it. Unless set, it "
            "is reduced, but kept in networks of attention or token mixing."
        ),
    ] = None,
    classes: Annotated[int, typer.Option(min=1, help="Outputs of the network.")] = 2,
    depth: Annotated[int, typer.Option(min=1, help="Slices of the volume to check on.")] = 5,
    side: Annotated[int, typer.Option(min=1, help="Its height and width.")] = 64,
) -> None:
    """Check that identical slices give the 2D answer, and count what is lifted."""
    import torch

    import thirdaxis
    from thirdaxis.nets.build import build, natural_task, weights_named

    built = build(
        network,
        classes=classes,
        weights=weights_named(weights),
        task=natural_task(network),
    )
    if built.lift is not thirdaxis.convert:
        raise UsageError(
            f"{network} has a decoder of its own in 3D, so there is no 2D answer to check it "
            "against; check its encoder's network, such as torchvision:resnet50"
        )
    torch.manual_seed(0)
    channels = 3 if built.rgb else 1
    found = thirdaxis.check(
        built.net,
        torch.randn(2, channels, depth, side, side),
        fusion,
        depth_stride=depth_stride,
    )
    typer.echo(found)
    found.raise_if_failed()
