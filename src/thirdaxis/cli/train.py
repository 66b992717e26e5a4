"""`thirdaxis train`: fine-tune a converted network on a folder of scans."""

from pathlib import Path
from typing import Annotated

import typer

from thirdaxis.cli.begin import begin, told_by
from thirdaxis.fusion.table import NAMES


def train(
    data: Annotated[
        Path | None,
        typer.Argument(help="Data folder, such as one with dataset.json; or a recipe (.yaml)."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Run folder to make.")] = Path("run"),
    settings: Annotated[
        Path | None,
        typer.Option("--settings", "-c", help="Settings file: .yaml, .toml or .json."),
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(
            help="unet, torchvision:NAME, timm:NAME, smp:ARCH/ENCODER or package.module:factory."
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(help="Pretrained 2D weights: a .safetensors or .pth file, or 'library'."),
    ] = None,
    fusion: Annotated[str | None, typer.Option(help=f"{NAMES}.")] = None,
    depth_stride: Annotated[
        bool | None,
        typer.Option(
            "--depth-stride/--keep-depth",
            help="Reduce depth where height and width are; default: as suits the network.",
        ),
    ] = None,
    spacing: Annotated[
        str | None, typer.Option(help="d,h,w in mm, or 'median'; default: each scan's own.")
    ] = None,
    window: Annotated[
        str | None, typer.Option(help="CT window LOW,HIGH in HU; default: z-score per volume.")
    ] = None,
    patch: Annotated[
        str | None, typer.Option(help="Patch d,h,w in voxels; default: from the scans.")
    ] = None,
    batch: Annotated[int | None, typer.Option(help="Patches a step, all devices together.")] = None,
    epochs: Annotated[int | None, typer.Option()] = None,
    learning_rate: Annotated[float | None, typer.Option("--learning-rate", "--lr")] = None,
    fold: Annotated[int | None, typer.Option(help="Fold held out for validation.")] = None,
    fraction: Annotated[
        float | None, typer.Option(help="Share of the training scans used, 0 to 1.")
    ] = None,
    seed: Annotated[int | None, typer.Option()] = None,
    devices: Annotated[
        int | None, typer.Option(help="Graphics cards, or processes on a CPU.")
    ] = None,
    accelerator: Annotated[str | None, typer.Option(help="auto, cpu or gpu.")] = None,
    precision: Annotated[str | None, typer.Option(help="auto, 32, 16-mixed or bf16-mixed.")] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any other setting as NAME=VALUE; repeatable."),
    ] = None,
    row: Annotated[str | None, typer.Option(help="Row of the recipe, such as 'ACS p.'.")] = None,
    dry: Annotated[
        bool,
        typer.Option("--dry-run", help="Tell settings and costs, take a step on stand-in data."),
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
) -> None:
    """Fine-tune a converted network on a folder of scans; leaves a run folder.

    What is learnt follows the data: label maps of a folder, the labels of a table (.csv, .npz), or
    lesions of a folder of DeepLesion; `--set task=` says otherwise.

    Examples: `thirdaxis train Task04_Hippocampus -o run --network torchvision:mobilenet_v2
    --weights library --fusion acs`; `thirdaxis train recipes/lidc-segment.yaml --row "ACS p."
    --set data=LIDC -o run`
    """
    flags = {
        "network": network,
        "weights": weights,
        "fusion": fusion,
        "depth_stride": depth_stride,
        "spacing": spacing,
        "window": window,
        "patch": patch,
        "batch": batch,
        "epochs": epochs,
        "learning_rate": learning_rate,
        "fold": fold,
        "fraction": fraction,
        "seed": seed,
        "devices": devices,
        "accelerator": accelerator,
        "precision": precision,
    }
    told, origin = told_by(data, settings, row, assignments, flags)
    if str(told.get("data")).endswith((".csv", ".npz")):
        told.setdefault("task", "classify")  # a table of samples, or a set of MedMNIST
    elif data is not None and (data / "DL_info.csv").is_file():
        told.setdefault("task", "detect")  # a folder of DeepLesion
    if window is not None and told.get("task") != "detect":
        told["intensity"] = "window"
    begin(told, origin, out, verb="thirdaxis train", dry=dry, resume=resume)
