"""`thirdaxis export`: a converted or trained network becomes one file that needs no thirdaxis."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from thirdaxis.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from torch import Tensor, nn


def export(
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="File to write: .onnx, or .pt2 for torch.export.load."),
    ],
    folder: Annotated[
        str | None,
        typer.Argument(help="Folder that `thirdaxis convert` or `thirdaxis train` made."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", help="Trained model instead: folder, .zip or hf://USER/NAME."
        ),
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Call the package.module:factory that a model names.")
    ] = False,
    depth: Annotated[
        int | None,
        typer.Option(min=1, help="Slices of the volume to trace with; default: 8, or the patch's."),
    ] = None,
    side: Annotated[
        int | None, typer.Option(min=1, help="Its height and width; default: 64, or the patch's.")
    ] = None,
    fixed: Annotated[
        list[str] | None,
        typer.Option(help="Axis of one size: batch, depth, height or width; repeatable."),
    ] = None,
) -> None:
    """Export a network for volumes of any size, checked against the network at three sizes."""
    import thirdaxis
    from thirdaxis.export.program import AXES
    from thirdaxis.nets.saved import RECIPE_FILE, load_converted
    from thirdaxis.tasks.model import config_texts, load_model

    source = folder or model
    if source is None or (folder and model):
        raise UsageError("name one network, as in: thirdaxis export run --out net.onnx")
    for axis in fixed or []:
        if axis not in AXES:
            raise UsageError(f"--fixed: unknown axis {axis!r}{did_you_mean(axis, AXES)}")
    patch: Sequence[int] = (8, 64, 64)
    if folder and (Path(folder) / RECIPE_FILE).is_file():
        net, metadata = load_converted(Path(folder)), {}
    else:
        trained = load_model(source, trust=trust)
        net, metadata = trained.net, config_texts(trained)
        patch = trained.plan.plain().get("patch") or trained.plan.plain().get("size") or patch
    example = _example(net, (depth or patch[0], side or patch[1], side or patch[2]))
    dynamic = [axis for axis in AXES if axis not in (fixed or [])]
    thirdaxis.export(net, example, out, dynamic=dynamic, metadata=metadata)
    free = ", ".join(dynamic) or "none"
    typer.echo(f"wrote {out}, checked against the network; axes of any size: {free}")


def _example(net: "nn.Module", size: Sequence[int]) -> "Tensor":
    import torch
    from torch import nn

    channels = next(m.in_channels for m in net.modules() if isinstance(m, nn.Conv2d))
    return torch.randn(1, channels, *size, generator=torch.manual_seed(0))
