"""`thirdaxis pretrain`: 3D networks from photographs, the weights to begin other runs from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from thirdaxis.cli.begin import begin, told_by
from thirdaxis.errors import UsageError

pretrain = typer.Typer(
    no_args_is_help=True,
    help="Pretrain a 3D network on photographs; ends in a file for `train --weights`.",
)

Out = Annotated[Path, typer.Option("--out", "-o", help="Run folder to make.")]
Settings = Annotated[
    Path | None, typer.Option("--settings", "-c", help="Settings file: .yaml, .toml or .json.")
]
Network = Annotated[
    str | None,
    typer.Option(help="resnet3d:18, resnet3d:18-v1c, p3d:63, torchvision:NAME, timm:NAME, ..."),
]
Weights = Annotated[str | None, typer.Option(help="What to begin from; default: a random start.")]
Fusion = Annotated[str | None, typer.Option(help="How a 2D network is converted.")]
DepthStride = Annotated[
    bool | None,
    typer.Option(
        "--depth-stride/--keep-depth",
        help="Reduce the three slices where height and width are; default: keep them.",
    ),
]
Transform = Annotated[
    str | None,
    typer.Option(help="variable_dimension (colours as slices), or none (the 2D network)."),
]
Size = Annotated[int | None, typer.Option(help="Pixels along each side of what it sees.")]
Batch = Annotated[int | None, typer.Option(help="Pictures a step, all devices together.")]
Epochs = Annotated[int | None, typer.Option()]
LearningRate = Annotated[float | None, typer.Option("--learning-rate", "--lr")]
Seed = Annotated[int | None, typer.Option()]
Workers = Annotated[int | None, typer.Option(help="Processes that decode pictures.")]
Devices = Annotated[int | None, typer.Option(help="Graphics cards, or processes on a CPU.")]
Accelerator = Annotated[str | None, typer.Option(help="auto, cpu or gpu.")]
Precision = Annotated[str | None, typer.Option(help="auto, 32, 16-mixed or bf16-mixed.")]
Assignments = Annotated[
    list[str] | None, typer.Option("--set", help="Any other setting as NAME=VALUE; repeatable.")
]
Row = Annotated[str | None, typer.Option(help="Row of the recipe, such as 'ResNet3D-18'.")]
Dry = Annotated[
    bool, typer.Option("--dry-run", help="Tell settings and costs, take a step on stand-in data.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")]


@pretrain.command("classify")
def classify(
    data: Annotated[
        str | None,
        typer.Argument(
            help="Folder of one folder a class (maybe in train/ and val/), shards as "
            "'train-{000..146}.tar', or a recipe (.yaml)."
        ),
    ] = None,
    out: Out = Path("run"),
    settings: Settings = None,
    network: Network = None,
    weights: Weights = None,
    fusion: Fusion = None,
    depth_stride: DepthStride = None,
    transform: Transform = None,
    validation: Annotated[
        str | None, typer.Option(help="Held-out pictures, as DATA; default: val/, or a share.")
    ] = None,
    size: Size = None,
    batch: Batch = None,
    epochs: Epochs = None,
    learning_rate: LearningRate = None,
    seed: Seed = None,
    workers: Workers = None,
    devices: Devices = None,
    accelerator: Accelerator = None,
    precision: Precision = None,
    assignments: Assignments = None,
    row: Row = None,
    dry: Dry = False,
    resume: Resume = False,
) -> None:
    """Pretrain on pictures with a class each, such as ImageNet.

    Examples: `thirdaxis pretrain classify ImageNet -o run --network resnet3d:18`;
    `thirdaxis pretrain classify recipes/svdnet/imagenet.yaml --row "ResNet3D-18"
    --set data=ImageNet -o run`
    """
    flags = {
        "network": network,
        "weights": weights,
        "fusion": fusion,
        "depth_stride": depth_stride,
        "transform": transform,
        "validation": validation,
        "size": size,
        "batch": batch,
        "epochs": epochs,
        "learning_rate": learning_rate,
        "seed": seed,
        "workers": workers,
        "devices": devices,
        "accelerator": accelerator,
        "precision": precision,
    }
    _begin("classify", data, out, settings, row, assignments, flags, dry, resume)


@pretrain.command("detect")
def detect(
    data: Annotated[
        str | None, typer.Argument(help="Data in COCO's format, or a recipe (.yaml).")
    ] = None,
    out: Out = Path("run"),
    settings: Settings = None,
    network: Network = None,
    weights: Weights = None,
    depth_stride: DepthStride = None,
    batch: Batch = None,
    epochs: Epochs = None,
    learning_rate: LearningRate = None,
    seed: Seed = None,
    workers: Workers = None,
    devices: Devices = None,
    accelerator: Accelerator = None,
    precision: Precision = None,
    assignments: Assignments = None,
    row: Row = None,
    dry: Dry = False,
    resume: Resume = False,
) -> None:
    """Pretrain on pictures with boxes, such as MS-COCO.

    Example: `thirdaxis pretrain detect COCO -o run --network resnet3d:18-gn`
    """
    flags = {
        "network": network,
        "weights": weights,
        "depth_stride": depth_stride,
        "batch": batch,
        "epochs": epochs,
        "learning_rate": learning_rate,
        "seed": seed,
        "workers": workers,
        "devices": devices,
        "accelerator": accelerator,
        "precision": precision,
    }
    _begin("detect", data, out, settings, row, assignments, flags, dry, resume)


def _begin(
    verb: str,
    data: str | None,
    out: Path,
    settings: Path | None,
    row: str | None,
    assignments: list[str] | None,
    flags: Mapping[str, Any],
    dry: bool,
    resume: bool,
) -> None:
    place = None if data is None else Path(data)
    told, origin = told_by(place, settings, row, assignments, flags)
    task = f"pretrain-{verb}"
    if told.setdefault("task", task) != task:
        raise UsageError(f"{origin}: is of the task {told['task']!r}, not of {task!r}")
    begin(told, origin, out, verb=f"thirdaxis pretrain {verb}", dry=dry, resume=resume)
