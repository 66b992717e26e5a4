"""AdrenalMNIST3D on its official split, beside the published benchmark of MedMNIST.

Trains a network once for each row of the table and seed, in one process, and judges on the official
test part the epoch with the best AUC on the official validation part. A finished run is a line of
`results.csv` in `--runs` and is not repeated; the table is written again after each.

    python benchmarks/adrenal.py adrenalmnist3d_64.npz WEIGHTS --runs runs/ --seeds 0,1,2
"""

import argparse
import itertools
import json
import statistics
from pathlib import Path
from typing import Any

import classified
import tables

from thirdaxis.data.medmnist import read_medmnist
from thirdaxis.metrics.auc import roc_auc

Row = tuple[str, str, str]
EVERY: list[Row] = list(
    itertools.product(classified.NETWORKS, classified.FUSIONS, ("imagenet", "random"))
)
FIELDS = ("network", "fusion", "start", "seed", "auc", "accuracy", "seconds")
SIDE = 28
# AUC and accuracy of Yang et al., "MedMNIST v2 - A large-scale lightweight benchmark for 2D and 3D
# biomedical image classification", Scientific Data 10:41, 2023, as on medmnist.com.
PUBLISHED = {
    "ResNet-18 + 2.5D": (0.718, 0.772),
    "ResNet-18 + 3D": (0.827, 0.721),
    "ResNet-18 + ACS": (0.839, 0.754),
    "ResNet-50 + 2.5D": (0.732, 0.763),
    "ResNet-50 + 3D": (0.828, 0.745),
    "ResNet-50 + ACS": (0.828, 0.758),
    "auto-sklearn": (0.828, 0.802),
    "AutoKeras": (0.804, 0.705),
}


def settings_of(row: Row, seed: int, told: argparse.Namespace) -> dict[str, Any]:
    """One run."""
    network, fusion, start = row
    weights = told.weights / f"{network}.safetensors"
    return {
        "task": "classify",
        "data": str(told.data),
        "size": [SIDE] * 3,
        "augment": "lidc",
        "jitter": 2,
        "network": f"torchvision:{network}",
        "weights": str(weights) if start == "imagenet" else None,
        "fusion": fusion,
        "balance": "none",
        "seed": seed,
        "batch": 16,
        "epochs": 6,
        "epoch_steps": told.steps // 6,
        "precision": "bf16-mixed" if told.precision == "bf16" else "32",
        "accelerator": told.accelerator,
        "learning_rate": classified.RATE,
        "draws": 100,
        **classified.NETWORKS.get(network, {}),
    }


def folder_of(row: Row, seed: int | str, told: argparse.Namespace) -> Path:
    """The folder of a run."""
    return told.runs / "-".join(map(str, (*row, seed)))


def baselines(data: Path) -> list[str]:
    """What the volume alone and the larger class tell of the test part."""
    found = read_medmnist(data)
    truth = found.truth["test"]
    auc = roc_auc((found.images["test"] > 0).flatten(1).sum(1), truth)
    share = max(truth.bincount().tolist()) / len(truth)
    return [
        f"| volume of the gland alone | | | | {max(auc, 1 - auc):.3f} | | | |",
        f"| always the larger class | | | | 0.500 | | {share:.3f} | |",
    ]


def write_table(told: argparse.Namespace, base: list[str]) -> None:
    """Writes the table of what is finished."""
    lines = []
    for row in EVERY:
        done = classified.finished(told.runs)
        mine = [one for one in done if (one["network"], one["fusion"], one["start"]) == row]
        if not mine:
            continue
        auc, accuracy = (
            classified.spread([float(one[name]) for one in mine]) for name in ("auc", "accuracy")
        )
        ends = classified.interval([folder_of(row, one["seed"], told) for one in mine])
        seconds = statistics.fmean(float(one["seconds"]) for one in mine)
        words = " | ".join(row)
        lines.append(f"| {words} | {len(mine)} | {auc} | {ends} | {accuracy} | {seconds:.0f} |")
    published = [
        f"| {name} (published) | | random | | {auc:.3f} | | {accuracy:.3f} | |"
        for name, (auc, accuracy) in PUBLISHED.items()
    ]
    head = [
        f"{tables.versions('torch', 'torchvision', 'lightning', 'monai')}, {told.threads} thread, "
        f"precision {told.precision}.",
        "",
        f"AdrenalMNIST3D, official split of 1188, 98 and 298, 64³ averaged to {SIDE}³; "
        f"{told.steps} steps of 16, the epoch of the best validation AUC of six judged on the test "
        "part. Mean and standard deviation over the seeds; the interval is a bootstrap of the mean "
        "over samples. Published rows: Yang et al., MedMNIST v2, Scientific Data 10:41, 2023, "
        "trained for 100 epochs on 28³. MobileNetV2 keeps depth in the "
        "last two of its five strides.",
        "",
        "| network | fusion | start | runs | AUC | 95 % | accuracy | seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    tables.leave("adrenal", "AdrenalMNIST3D", [*head, *lines, *base, *published], told.command)


def main() -> None:
    """Runs what is missing and writes the table."""
    told, words = classified.told_by(__doc__, "adrenalmnist3d_64.npz or adrenalmnist3d.npz", 600)
    base = baselines(told.data)
    chosen = [row for row in EVERY if all(word in row for word in words)]
    for seed, row in itertools.product(map(int, told.seeds.split(",")), chosen):
        key = dict(zip(FIELDS, (*row, str(seed)), strict=False))
        if any(key.items() <= one.items() for one in classified.finished(told.runs)):
            continue
        folder = folder_of(row, seed, told)
        seconds = classified.train(settings_of(row, seed, told), folder, told.threads)
        scores = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["scores"]
        line = key | {"auc": scores["auc"], "accuracy": scores["accuracy"], "seconds": seconds}
        classified.keep(told.runs, line)
        write_table(told, base)
    write_table(told, base)


if __name__ == "__main__":
    main()
