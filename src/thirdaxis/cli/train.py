"""`thirdaxis train`: fine-tune a converted network on a folder of scans."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from thirdaxis.cli.display import say, watched
from thirdaxis.cli.faults import show
from thirdaxis.errors import UsageError
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
    from thirdaxis.tasks import runs
    from thirdaxis.tasks.dry_run import dry_run
    from thirdaxis.tasks.engine import Display
    from thirdaxis.tasks.rows import check_data, published, with_row
    from thirdaxis.tasks.run_folder import STAGES
    from thirdaxis.tasks.settings_files import (
        SUFFIXES,
        merged,
        read_assignments,
        read_settings_file,
    )
    from thirdaxis.tasks.stages import check_reached, resume_stages, runs_of, train_stages

    if data is not None and data.suffix in SUFFIXES and not data.is_dir():
        if settings is not None:
            raise UsageError(f"two settings files: {data} and {settings}; name one")
        data, settings = None, data
    origin = str(settings or "settings")
    told: dict[str, Any] = with_row(read_settings_file(settings) if settings else {}, row, origin)
    words = read_assignments(assignments or ())
    told = merged(told, words)
    flags = {
        "data": None if data is None else str(data),
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
    flags = {name: value for name, value in flags.items() if value is not None}
    told |= flags
    check_reached(told, words | flags, origin)
    if str(told.get("data")).endswith((".csv", ".npz")):
        told.setdefault("task", "classify")  # a table of samples, or a set of MedMNIST
    elif data is not None and (data / "DL_info.csv").is_file():
        told.setdefault("task", "detect")  # a folder of DeepLesion
    if window is not None and told.get("task") != "detect":
        told["intensity"] = "window"
    chosen = {} if resume and not dry else runs_of({"data": "data", **told}, out, origin)
    if dry:
        for one in chosen.values():
            dry_run(one, say)
        return
    display = Display(say=say, watch=watched, bar=sys.stdout.isatty())
    if resume:
        _refuse_changes(out, told)
    elif "data" not in told:
        check_data(told, None, origin)
        raise UsageError("no data folder; name it, as in: thirdaxis train DATA --out run")
    try:
        if resume:
            (resume_stages if (out / STAGES).is_file() else runs.resume)(out, display)
        else:
            last = list(chosen.values())[-1]
            check_data(told, last, origin)
            if "stages" in told:
                train_stages(chosen, out, display)
            else:
                runs.train(last, out, display)
            if line := published(last):
                say(line)
    except KeyboardInterrupt:
        hint = f"; go on with: thirdaxis train --resume --out {out}" if out.exists() else ""
        show(f"interrupted{hint}")
        raise typer.Exit(130) from None


def _refuse_changes(out: Path, told: dict[str, Any]) -> None:
    """A resumed run keeps its settings: changed ones could not give the unbroken run's result."""
    from thirdaxis.tasks.run_folder import STAGES, read_run
    from thirdaxis.tasks.settings_files import make_settings
    from thirdaxis.tasks.stages import read_stages, runs_of

    if (out / STAGES).is_file():
        plain = [one.plain() for one in read_stages(out).values()]
        if (
            told
            and [one.pinned().plain() for one in runs_of(told, out, "settings").values()] != plain
        ):
            raise UsageError(f"--resume keeps the settings in {out / STAGES}; leave others out")
        return
    kept = read_run(out).settings.plain()
    given = {
        name: str(Path(value).resolve()) if name in ("data", "cache") and value else value
        for name, value in told.items()
    }
    asked = make_settings(kept | given, "settings").plain()
    asked["weights"] = kept["weights"] if "weights" not in told else _whole(asked["weights"])
    for name in told:
        if asked[name] != kept[name]:
            raise UsageError(
                f"--resume keeps the run's settings: {name} is {kept[name]!r} there, not "
                f"{asked[name]!r}; leave it out, or begin a new run"
            )


def _whole(weights: str | None) -> str | None:
    return weights if weights in (None, "library") else str(Path(weights).resolve())
