"""Lung nodules: what ImageNet weights are worth to each fusion operator, few patients or many.

Classifies the nodules of LIDC-IDRI (malignancy 1 and 2 against 4 and 5, 3 dropped, split by
patient) from crops of 34 mm, once for each row of the table and seed, in one process. A finished
run is a line of `results.csv` in `--runs` and is not repeated; the table is written again after
each. The volume of the mask alone tells the answer to AUC 0.93, so a network has to be judged
beside it: the table also has the AUC among pairs of nodules of like volume, and that of scores out
of which the volume was regressed.

    python benchmarks/lidc.py DATA WEIGHTS --runs runs/ --seeds 0,1,2
"""

import argparse
import csv
import itertools
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import classified
import tables
import torch
from torch import Tensor

from thirdaxis.metrics.auc import roc_auc
from thirdaxis.tasks.classification.table import read_answers

Row = tuple[str, str, str, float]
EVERY: list[Row] = list(
    itertools.product(classified.NETWORKS, classified.FUSIONS, ("imagenet", "random"), (0.25, 1.0))
)
SCORES = ("auc", "matched", "residual")
FIELDS = ("network", "fusion", "start", "fraction", "seed", *SCORES, "seconds")
LIKE_VOLUMES = 1.25


def settings_of(row: Row, seed: int, told: argparse.Namespace) -> dict[str, Any]:
    """One run: as many steps whatever the fraction; the seed is also that of the split."""
    network, fusion, start, fraction = row
    weights = told.weights / f"{network}.safetensors"
    return {
        "task": "classify",
        "data": str(told.data / "labels.csv"),
        "image_folder": "images",
        "mask_folder": "masks",
        "label_columns": "malignancy",
        "patient_column": "patient_id",
        "mask_column": "file",
        "drop": [3],
        "classes": {1: 0, 2: 0, 4: 1, 5: 1},
        "around": "mask",
        # Halved five times, 34 leaves two voxels a side; batch norms of single ones are too noisy.
        "size": [34, 34, 34],
        "spacing": [1.0, 1.0, 1.0],
        "intensity": "window",
        "window": [-1024, 400],
        "augment": "lidc",
        "network": f"torchvision:{network}",
        "weights": str(weights) if start == "imagenet" else None,
        "fusion": fusion,
        "fraction": fraction,
        "seed": seed,
        "batch": 16,
        "epochs": 4,
        "epoch_steps": told.steps // 4,
        # The last network is judged: no sample is set aside, none has a say in the choice.
        "selection": 0,
        "precision": "bf16-mixed" if told.precision == "bf16" else "32",
        "accelerator": told.accelerator,
        "cache": str(told.runs / "crops"),
        "learning_rate": classified.RATE,
        "draws": 100,
        **classified.NETWORKS.get(network, {}),
    }


def key_of(line: dict[str, str]) -> Row:
    """The row of the table that a finished run is of."""
    return line["network"], line["fusion"], line["start"], float(line["fraction"])


def folder_of(row: Row, seed: int | str, told: argparse.Namespace) -> Path:
    """The folder of a run."""
    return told.runs / "-".join(map(str, (*row, seed)))


def volumes_of(data: Path) -> dict[str, float]:
    """Volume of each nodule's mask in mm³, from the table."""
    with (data / "labels.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return {row["file"].removesuffix(".nii.gz"): float(row["volume_mm3"]) for row in rows}


def matched_auc(scores: Tensor, truth: Tensor, volumes: Tensor) -> float:
    """How often, of a malignant and a benign nodule of like volume, the malignant scores higher."""
    positive, negative = truth == 1, truth == 0
    gap = (volumes[positive].log()[:, None] - volumes[negative].log()[None]).abs()
    like = gap <= math.log(LIKE_VOLUMES)
    above = scores[positive][:, None] - scores[negative][None]
    wins = (above > 0).double() + 0.5 * (above == 0).double()
    return float(wins[like].mean()) if bool(like.any()) else math.nan


def residual_auc(scores: Tensor, truth: Tensor, volumes: Tensor) -> float:
    """AUC of what of the log odds a line through log volume leaves over."""
    odds = torch.logit(scores.double().clamp(1e-6, 1 - 1e-6))
    line = torch.stack([torch.ones_like(odds), volumes.double().log()], 1)
    left = odds - line @ torch.linalg.lstsq(line, odds[:, None]).solution[:, 0]
    return roc_auc(left, truth == 1)


def measured(folder: Path, volumes: dict[str, float]) -> dict[str, float]:
    """The numbers of one finished run."""
    found = read_answers(folder / "predictions.csv")
    assert found.truth is not None
    size = torch.tensor([volumes[name] for name in found.samples])
    scores = found.answers[:, 1]
    return {
        "auc": roc_auc(scores, found.truth == 1),
        "matched": matched_auc(scores, found.truth, size),
        "residual": residual_auc(scores, found.truth, size),
    }


def baseline(folders: Sequence[Path], volumes: dict[str, float]) -> str:
    """What the volume of the mask alone tells of the nodules that these runs held out."""
    found = {}
    for folder in folders:
        answers = read_answers(folder / "predictions.csv")
        assert answers.truth is not None
        size = torch.tensor([volumes[sample] for sample in answers.samples])
        whole, like = roc_auc(size, answers.truth == 1), matched_auc(size, answers.truth, size)
        found[answers.samples] = whole, like  # once for each split
    whole, like = (statistics.fmean(column) for column in zip(*found.values(), strict=True))
    return (
        f"Volume of the mask alone, on the same nodules: AUC {whole:.3f}, among those of like "
        f"volume {like:.3f}."
    )


def write_table(told: argparse.Namespace, volumes: dict[str, float]) -> None:
    """Writes the table of what is finished."""
    of = {
        row: [one for one in classified.finished(told.runs) if key_of(one) == row] for row in EVERY
    }
    folders = {row: [folder_of(row, one["seed"], told) for one in of[row]] for row in EVERY}
    lines, gains = [], []
    for row, mine in of.items():
        if not mine:
            continue
        cells = [classified.spread([float(one[name]) for one in mine]) for name in SCORES]
        cells.insert(1, classified.interval(folders[row]))
        seconds = statistics.fmean(float(one["seconds"]) for one in mine)
        words = " | ".join(map(str, row))
        lines.append(f"| {words} | {len(mine)} | {' | '.join(cells)} | {seconds:.0f} |")
        network, fusion, start, fraction = row
        other = (network, fusion, "random", fraction)
        if start == "imagenet" and len(of[other]) == len(mine):
            means = [[float(one["auc"]) for one in of[which]] for which in (row, other)]
            gain = statistics.fmean(means[0]) - statistics.fmean(means[1])
            ends = classified.interval(folders[row], folders[other])
            gains.append(f"| {network} | {fusion} | {fraction} | {gain:+.3f} | {ends} |")
    head = [
        f"{tables.versions('torch', 'torchvision', 'lightning', 'monai')}, {told.threads} thread, "
        f"precision {told.precision}.",
        "",
        "523 nodules (307 benign, 216 malignant) of 335 patients, boxes of 34 mm around the mask's "
        f"centre at 1 mm, {told.steps} steps of 16 boxes whatever the share of the training "
        "patients, the last network judged on a fifth of the patients, another one for each seed. "
        "MobileNetV2 keeps depth in the last two of its five strides. "
        "Mean and standard deviation over the seeds; the interval is a bootstrap of the mean over "
        "patients. *Like volume*: among pairs whose volumes differ by a factor of "
        f"{LIKE_VOLUMES} at most. *Without volume*: of the log odds, log volume regressed out.",
        "",
        baseline(list(itertools.chain.from_iterable(folders.values())), volumes),
        "",
        "| network | fusion | start | share of patients | runs | AUC | 95 % | like volume | "
        "without volume | seconds |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    middle = [
        "",
        "What ImageNet weights add to the AUC, paired by nodule:",
        "",
        "| network | fusion | share of patients | AUC more | 95 % |",
        "|---|---|---|---|---|",
    ]
    tables.leave(
        "lidc", "Lung nodules", [*head, *lines, *(middle if gains else []), *gains], told.command
    )


def main() -> None:
    """Runs what is missing and writes the table."""
    told, words = classified.told_by(__doc__, "folder with labels.csv, images and masks", 200)
    volumes = volumes_of(told.data)
    chosen = [row for row in EVERY if all(word in map(str, row) for word in words)]
    # By seed first, so that a table of one seed is there early.
    for seed, row in itertools.product(map(int, told.seeds.split(",")), chosen):
        if any(
            key_of(one) == row and one["seed"] == str(seed)
            for one in classified.finished(told.runs)
        ):
            continue
        folder = folder_of(row, seed, told)
        seconds = classified.train(settings_of(row, seed, told), folder, told.threads)
        numbers = measured(folder, volumes).values()
        line = dict(zip(FIELDS, (*row, seed, *numbers, seconds), strict=True))
        classified.keep(told.runs, line)
        write_table(told, volumes)
    write_table(told, volumes)


if __name__ == "__main__":
    main()
