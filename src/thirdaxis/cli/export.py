"""`thirdaxis export`: a converted or trained network becomes one file that needs no thirdaxis."""

from pathlib import Path
from typing import Annotated

import typer


def export(
    folder: Annotated[
        Path, typer.Argument(help="Folder that `thirdaxis convert` or `thirdaxis train` made.")
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="File to write: .onnx, or .pt2 for torch.export.load."),
    ],
    depth: Annotated[int, typer.Option(min=1, help="Slices of the volume to trace with.")] = 8,
    side: Annotated[int, typer.Option(min=1, help="Its height and width.")] = 64,
    fixed: Annotated[
        list[str] | None,
        typer.Option(help="Axis of one size: batch, depth, height or width; repeatable."),
    ] = None,
) -> None:
    """Export a network for volumes of any size, checked against the network at three sizes."""
    import torch
    from torch import nn

    import thirdaxis
    from thirdaxis.errors import UsageError, did_you_mean
    from thirdaxis.export.program import AXES
    from thirdaxis.nets.saved import RECIPE_FILE, load_converted
    from thirdaxis.tasks.segment_predict import load_segmenter

    for axis in fixed or []:
        if axis not in AXES:
            raise UsageError(f"--fixed: unknown axis {axis!r}{did_you_mean(axis, AXES)}")
    if (folder / RECIPE_FILE).is_file():
        net = load_converted(folder)
    else:
        net = load_segmenter(folder, "cpu").net
    channels = next(m.in_channels for m in net.modules() if isinstance(m, nn.Conv2d))
    example = torch.randn(1, channels, depth, side, side, generator=torch.manual_seed(0))
    dynamic = [axis for axis in AXES if axis not in (fixed or [])]
    thirdaxis.export(net, example, out, dynamic=dynamic)
    free = ", ".join(dynamic) or "none"
    typer.echo(f"wrote {out}, checked against the network; axes of any size: {free}")
