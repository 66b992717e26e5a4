"""What 3D pretraining on photographs is worth: SVD-Net's comparison, small.

Stage 1 pretrains a ResNet3D-18 on photographs whose colours are three slices, one without the
modification that keeps these slices, one with the V1c stem, and a 2D ResNet-18, all for as many
steps. Stage 2 trains from each of these files, from the 2D one by I3D and by ACS, and from random
starts, and judges on held-out patients: lung nodules (malignancy, outlines) and the hippocampus.
Finished runs are kept, so that it can be stopped and started again; the table is written again
after each.

    python benchmarks/transfer.py DATA --runs runs/ --seeds 0,1,2
    python benchmarks/transfer.py DATA --runs runs/ --stage transfer --tasks lidc-classify \
        --rows random,pretrained --fractions 0.2,0.4,0.6,0.8,1.0

DATA holds `natural_images_cifar10_subset.zip`, `lidc_nodules` and `msd_hippocampus`.
"""

import argparse
import itertools
import shutil
import zipfile
from pathlib import Path
from typing import Any

import classified
import kernels
import lidc
import runs
import tables

from thirdaxis.tasks.comparison.compare import compare
from thirdaxis.tasks.comparison.written import about, table_lines, write_comparison

PHOTOGRAPHS = "natural_images_cifar10_subset.zip"
FILE = "pretrained.safetensors"
PRETRAININGS: dict[str, dict[str, Any]] = {
    "3d": {"network": "resnet3d:18"},
    "3d-unmodified": {"network": "resnet3d:18", "depth_stride": True},
    "3d-v1c": {"network": "resnet3d:18-v1c"},
    "2d": {"network": "torchvision:resnet18", "transform": "none", "shuffle_channels": False},
}
# Network, fusion and what it is begun from; names end in a letter, as the seed follows.
ROWS: dict[str, tuple[str, str, str | None]] = {
    "random": ("resnet3d:18", "i3d", None),
    "pretrained": ("resnet3d:18", "i3d", "3d"),
    "unmodified": ("resnet3d:18", "i3d", "3d-unmodified"),
    "random-v1c": ("resnet3d:18-v1c", "i3d", None),
    "pretrained-v1c": ("resnet3d:18-v1c", "i3d", "3d-v1c"),
    "i3d-of-2d": ("resnet3d:18", "i3d", "2d"),
    "acs-of-2d": ("resnet3d:18", "acs", "2d"),
}
TASKS = {"lidc-classify": "auc", "lidc-segment": "dice_mean", "hippocampus": "dice_mean"}


def photographs(told: argparse.Namespace) -> Path:
    """The folder of photographs, unpacked once."""
    folder = told.runs / "photographs"
    if not folder.exists():
        partial = told.runs / ".photographs"
        shutil.rmtree(partial, ignore_errors=True)
        with zipfile.ZipFile(told.data / PHOTOGRAPHS) as archive:
            archive.extractall(partial)
        partial.rename(folder)
    return folder


def pretraining_of(name: str, told: argparse.Namespace) -> dict[str, Any]:
    """One pretraining; all see as many pictures."""
    return {
        "task": "pretrain-classify",
        "data": str(photographs(told) / "train"),
        "validation": str(photographs(told) / "test"),
        "data_name": "CIFAR-10, a part of it",
        "size": told.size,
        "augment": "padded_crop",
        "batch": told.pictures,
        "epochs": told.pretrain_epochs,
        "epoch_steps": told.pretrain_steps // told.pretrain_epochs,
        "precision": told.precision,
        "accelerator": told.accelerator,
        "workers": told.workers,
        **PRETRAININGS[name],
    }


def settings_of(
    task: str, row: str, fraction: float, seed: int, told: argparse.Namespace
) -> dict[str, Any]:
    """One run of stage 2; the seed is also that of the split."""
    network, fusion, start = ROWS[row]
    own = {
        "network": network,
        "fusion": fusion,
        "weights": None if start is None else str(told.runs / "pretrain" / start / FILE),
        "channels_last": False,
    }
    if task == "lidc-classify":
        place = {"data": told.data / "lidc_nodules", "weights": told.runs}
        nodules = argparse.Namespace(**(vars(told) | place))
        common = lidc.settings_of(("", fusion, "random", fraction), seed, nodules)
        return common | own | {"precision": told.precision, "batch": told.batch}
    common = {
        "fraction": fraction,
        "seed": seed,
        "batch": told.boxes,
        "epochs": 4,
        "epoch_steps": told.steps // 4,
        "learning_rate": 1e-3,
        "precision": told.precision,
        "accelerator": told.accelerator,
        "workers": told.workers,
        "cache": str(told.runs / f"{task}-cache"),
        # The last network is judged, and the held-out scans are gone through but once.
        "validate_every": 4,
        "overlap": 0.25,
    }
    if task == "hippocampus":
        return common | own | {"data": str(told.data / "msd_hippocampus"), "patch": [32, 48, 32]}
    outlines = {
        "data": str(told.data / "lidc_nodules"),
        "labels": {"nodule": 1},
        "patient": "labels.csv:patient_id",
        "spacing": [1, 1, 1],
        "intensity": "window",
        "window": [-1024, 400],
        "patch": [34, 34, 34],
        "patches_per_volume": 1,
        "foreground": 0.99,
        "augment": "lidc",
    }
    return common | own | outlines


def folder_of(task: str, row: str, fraction: float, seed: int, told: argparse.Namespace) -> Path:
    """The folder of a run of stage 2."""
    return told.runs / task / f"{fraction:g}" / f"{row}-{seed}"


def train(settings: dict[str, Any], folder: Path, told: argparse.Namespace) -> bool:
    """Trains a run unless it is finished, and says whether anything was done."""
    if (folder / "metrics.json").exists():
        return False
    folder.parent.mkdir(parents=True, exist_ok=True)
    seconds = classified.train(settings, folder, told.threads)
    print(f"{folder.relative_to(told.runs)}: {seconds:.0f} s of the processor", flush=True)
    return True


def pretrained_lines(told: argparse.Namespace) -> list[str]:
    """What became of stage 1: how well photographs are told apart, and the first kernels."""
    heads = ("pretraining", "network", "held-out photographs", *kernels.HEADS)
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, own in PRETRAININGS.items():
        folder = told.runs / "pretrain" / name
        if not (folder / "metrics.json").exists():
            continue
        scores = runs.read(folder / "metrics.json")["scores"]
        shown = ", ".join(f"{key} {value:.3f}" for key, value in scores.items())
        cells = [name, f"`{own['network']}`", shown, *kernels.shares(folder / FILE)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines if len(lines) > 2 else []


def task_lines(task: str, told: argparse.Namespace) -> list[str]:
    """The table of a task, and the files of the comparison beside its runs."""
    place = told.runs / task
    done = [path.parent for path in sorted(place.glob("*/*/metrics.json"))]
    if not done:
        return []
    several = len({folder.parent.name for folder in done}) > 1
    named = any(folder.name.rpartition("-")[0] == "random" for folder in done)
    found = compare(
        done,
        score=TASKS[task],
        by=["name"],
        against="random" if named else None,
        curve="fraction" if several else None,
    )
    write_comparison(found, told.runs / "compared" / task)
    lines = ["", f"## {task}: {TASKS[task]}", "", *table_lines(found), "", about(found), ""]
    return lines + (_beside_volume(done, told) if task == "lidc-classify" else [])


def _beside_volume(done: list[Path], told: argparse.Namespace) -> list[str]:
    """The AUC that the volume of the mask alone has, and what networks tell beyond it."""
    volumes = lidc.volumes_of(told.data / "lidc_nodules")
    lines = [lidc.baseline(done, volumes), ""]
    heads = ("row", "share of patients", "AUC among like volumes", "AUC without volume")
    lines += [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    groups: dict[tuple[str, str], list[Path]] = {}
    for folder in done:
        key = (folder.name.rpartition("-")[0], folder.parent.name)
        groups.setdefault(key, []).append(folder)
    for (row, fraction), some in groups.items():
        each = [lidc.measured(folder, volumes) for folder in some]
        cells = [classified.spread([one[name] for one in each]) for name in lidc.SCORES[1:]]
        lines.append(f"| {row} | {fraction} | {' | '.join(cells)} |")
    return [*lines, ""]


def write_table(told: argparse.Namespace) -> None:
    """Writes the tables of what is finished."""
    shown = told.accelerator if told.accelerator == "cpu" else f"accelerator {told.accelerator}"
    lines = [
        f"{tables.versions('torch', 'torchvision', 'lightning', 'monai')}, {shown}, "
        f"{told.threads} threads, precision {told.precision}.",
        "",
        f"Stage 1: {told.pretrain_steps} steps of {told.pictures} photographs of {told.size} "
        f"pixels. Stage 2: {told.steps} steps of {told.batch} boxes (classification) or "
        f"{told.boxes} patches (segmentation), whatever the share of the training patients, the "
        "last network judged on a fifth of the patients, another fifth for each seed.",
        "",
        *pretrained_lines(told),
        *itertools.chain.from_iterable(task_lines(task, told) for task in TASKS),
    ]
    tables.leave("transfer", "What 3D pretraining on photographs is worth", lines)


def chosen(words: str, known: dict[str, Any], what: str) -> list[str]:
    """Names of a list, or all."""
    names = [word for word in words.split(",") if word] or list(known)
    strange = [name for name in names if name not in known]
    if strange:
        raise SystemExit(f"--{what}: no {strange[0]!r}; there are {', '.join(known)}")
    return names


def told_by_command() -> argparse.Namespace:
    """What the command line tells."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the archive and of both data sets")
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--stage", choices=("pretrain", "transfer", "table", "all"), default="all")
    parser.add_argument("--rows", default="", help=f"of stage 2: {','.join(ROWS)}")
    parser.add_argument("--tasks", default="", help=f"of stage 2: {','.join(TASKS)}")
    parser.add_argument("--fractions", default="1.0", help="of the training patients")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--steps", type=int, default=200, help="of stage 2")
    parser.add_argument("--batch", type=int, default=16, help="boxes a step, classification")
    parser.add_argument("--boxes", type=int, default=4, help="patches a step, segmentation")
    parser.add_argument("--pretrain-steps", type=int, default=400)
    parser.add_argument("--pretrain-epochs", type=int, default=4, help="parts to go on from")
    parser.add_argument("--pictures", type=int, default=32, help="a step of stage 1")
    parser.add_argument("--size", type=int, default=64, help="pixels a side of a photograph")
    parser.add_argument("--precision", choices=("32", "bf16-mixed"), default="32")
    parser.add_argument("--accelerator", choices=("auto", "cpu", "gpu"), default="cpu")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def main() -> None:
    """Runs what is missing and writes the table."""
    told = told_by_command()
    told.runs = told.runs.resolve()
    told.runs.mkdir(parents=True, exist_ok=True)
    rows, tasks = chosen(told.rows, ROWS, "rows"), chosen(told.tasks, TASKS, "tasks")
    wanted = {start for row in rows if (start := ROWS[row][2])}
    if told.stage in ("pretrain", "all"):
        for name in PRETRAININGS:
            if name in wanted and train(
                pretraining_of(name, told), told.runs / "pretrain" / name, told
            ):
                write_table(told)
    if told.stage in ("transfer", "all"):
        seeds = [int(word) for word in told.seeds.split(",")]
        fractions = [float(word) for word in told.fractions.split(",")]
        # By seed first, so that a table of one seed is there early.
        for seed, task, fraction, row in itertools.product(seeds, tasks, fractions, rows):
            folder = folder_of(task, row, fraction, seed, told)
            if train(settings_of(task, row, fraction, seed, told), folder, told):
                write_table(told)
    write_table(told)


if __name__ == "__main__":
    main()
