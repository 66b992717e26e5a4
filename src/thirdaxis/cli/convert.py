"""`thirdaxis convert`: a 2D network by name becomes a 3D one in a folder."""

from pathlib import Path
from typing import Annotated

import typer

from thirdaxis.fusion.table import NAMES


def convert(
    network: Annotated[
        str,
        typer.Argument(
            help="unet, torchvision:NAME, timm:NAME, smp:ARCHITECTURE/ENCODER or "
            "package.module:factory."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the 3D network.")],
    fusion: Annotated[
        str | None,
        typer.Option(
            help=f"How 2D convolutions look along depth: {NAMES}. Unless set, acs, i3d for "
            "networks published in 3D, and slicewise for ahnet:NAME."
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="'library' for the library's pretrained weights, or a .safetensors or .pth file; "
            "none is a random start."
        ),
    ] = None,
    in_channels: Annotated[
        int | None,
        typer.Option(min=1, help="Channels of the volumes; as the 2D network has them unless set."),
    ] = None,
    stem: Annotated[
        str | None,
        typer.Option(
            help="How an RGB stem is adapted: sum, mean, green or depth. Unless set, sum, and "
            "depth for ahnet:NAME."
        ),
    ] = None,
    depth_stride: Annotated[
        bool | None,
        typer.Option(
            help="Reduce depth wherever height and width are reduced, or keep it. Unless set, it "
            "is reduced, but kept in networks of attention or token mixing."
        ),
    ] = None,
    classes: Annotated[
        int | None,
        typer.Option(min=1, help="Outputs; 1000 for a classifier and 2 for others unless set."),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            help="segment makes a classifier the encoder of a U-Net; classify keeps it. "
            "Unless set, the network stays what it is."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write into a folder of other files too.")
    ] = False,
) -> None:
    """Convert a 2D network by name and save the 3D one with what rebuilds it."""
    import thirdaxis
    from thirdaxis.nets.build import natural_task, weights_named
    from thirdaxis.nets.natural import natural_settings
    from thirdaxis.nets.saved import build_converted, make_recipe, save_converted

    chosen, natural = task or natural_task(network), natural_settings(network)
    is_rgb = network.partition(":")[0] in ("torchvision", "timm", "smp")
    recipe = make_recipe(
        network,
        classes=classes or (1000 if chosen == "classify" else 2),
        in_channels=in_channels or (3 if is_rgb else 1),
        task=chosen,  # type: ignore[arg-type]
        fusion=fusion or natural["fusion"],
        depth_stride=depth_stride,
        stem=stem or natural.get("stem", "sum"),
    )
    net3d, account = build_converted(recipe, weights_named(weights))
    save_converted(out, recipe, net3d, overwrite=overwrite)
    if account is not None:
        typer.echo(account)
    typer.echo(thirdaxis.report(net3d))
    typer.echo(f"saved in {out}; load it with thirdaxis.nets.saved.load_converted({str(out)!r})")
