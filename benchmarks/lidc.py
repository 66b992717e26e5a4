"""Lung nodules: what ImageNet weights are worth to each fusion operator, few patients or many.

Classifies the nodules of LIDC-IDRI (malignancy 1 and 2 against 4 and 5, 3 dropped, split by patient)
from crops of 32 mm, once for each row of the table and seed, in one process. A finished run is a line
of `results.csv` in `--runs` and is not repeated; the table is written again after each. Where the mask
alone tells the answer to AUC 0.93 by its volume, a network has to be judged beside it: the table also
has the AUC among pairs of nodules of like volume, and that of scores out of which the volume was
regressed.

    python benchmarks/lidc.py DATA WEIGHTS --runs runs/ --seeds 0,1,2
"""

import argparse
import csv
import itertools
import json
import math
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tables
import torch
from torch import Tensor

from thirdaxis.metrics.auc import roc_auc
from thirdaxis.metrics.bootstrap import bootstrap
from thirdaxis.tasks import runs
from thirdaxis.tasks.classify_table import read_answers
from thirdaxis.tasks.settings_files import make_settings

NETWORKS = ("squeezenet1_0", "mobilenet_v2")
FUSIONS = ("slicewise", "i3d", "acs", "tsm", "a3d")
STARTS = ("imagenet", "random")
FRACTIONS = (0.25, 1.0)
LIKE_VOLUMES = 1.25
Row = tuple[str, str, str, float]
FIELDS = ("network", "fusion", "start", "fraction", "seed", "auc", "matched", "residual")


def settings_of(row: Row, seed: int, told: argparse.Namespace) -> dict[str, Any]:
    """One run: the same number of steps whatever the fraction, as many patients in each fold."""
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
        "size": [32, 32, 32],
        "spacing": [1.0, 1.0, 1.0],
        "intensity": "window",
        "window": [-1024, 400],
        "augment": "lidc",
        "network": f"torchvision:{network}",
        "weights": str(weights) if start == "imagenet" else None,
        "fusion": fusion,
        "fraction": fraction,
        "fold": seed % 5,
        "seed": seed,
        "batch": 16,
        "epochs": 4,
        "epoch_steps": told.steps // 4,
        "learning_rate": 3e-4 if start == "imagenet" else 1e-3,
        # The last network is judged: no sample is set aside, none has a say in the choice.
        "selection": 0,
        "precision": "bf16-mixed" if told.precision == "bf16" else "32",
        "accelerator": told.accelerator,
        "cache": str(told.runs / "crops"),
        "draws": 100,
    }


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


def run(row: Row, seed: int, told: argparse.Namespace) -> Path:
    """Trains one run, or goes on with it, and returns its folder."""
    network, fusion, start, fraction = row
    folder = told.runs / f"{network}-{fusion}-{start}-{fraction}-{seed}"
    torch.set_num_threads(told.threads)
    if (folder / "settings.yaml").exists():
        runs.resume(folder)
    else:
        runs.train(make_settings(settings_of(row, seed, told), "benchmark"), folder)
    # Eighty megabytes a run of momentum and weights are of no further use.
    for checkpoint in folder.glob("*.ckpt"):
        checkpoint.unlink()
    return folder


def pooled(rows: Sequence[Path], volumes: dict[str, float]) -> str:
    """AUC over the held-out nodules of several folds together, with its interval by patient."""
    parts = [read_answers(folder / "predictions.csv") for folder in rows]
    # Folds of other seeds overlap: each run is a stratum of pairs of its own, its mean is told.
    patients = [f"{n}/{p}" for n, part in enumerate(parts) for p in part.patients]
    scores = torch.cat([part.answers[:, 1] for part in parts])
    truth = torch.cat([part.truth for part in parts if part.truth is not None])
    runs_of = torch.cat([torch.full((len(part.samples),), n) for n, part in enumerate(parts)])

    def mean(chosen: np.ndarray) -> dict[str, float]:
        numbers = torch.from_numpy(chosen)
        found = [
            roc_auc(
                scores[numbers][runs_of[numbers] == n], truth[numbers][runs_of[numbers] == n] == 1
            )
            for n in range(len(parts))
        ]
        return {"auc": statistics.fmean(found)}

    low, high = bootstrap(mean, len(scores), cases=patients, draws=500)["auc"]
    return f"{low:.3f} to {high:.3f}"


def told_rows(path: Path) -> list[dict[str, str]]:
    """The finished runs."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def write_table(told: argparse.Namespace, chosen: Sequence[Row], volumes: dict[str, float]) -> None:
    """Writes the table of what is finished."""
    done = told_rows(told.runs / "results.csv")
    lines = []
    for row in chosen:
        mine = [one for one in done if (one["network"], one["fusion"], one["start"]) == row[:3]]
        mine = [one for one in mine if float(one["fraction"]) == row[3]]
        if not mine:
            continue
        folders = [told.runs / "-".join(map(str, (*row, one["seed"]))) for one in mine]
        cells = []
        for name in ("auc", "matched", "residual"):
            values = [float(one[name]) for one in mine]
            spread = statistics.stdev(values) if len(values) > 1 else math.nan
            cells.append(f"{statistics.fmean(values):.3f} ± {spread:.3f}")
        cells.insert(1, pooled(folders, volumes))
        seconds = statistics.fmean(float(one["seconds"]) for one in mine)
        lines.append(
            f"| {' | '.join(map(str, row))} | {len(mine)} | {' | '.join(cells)} | {seconds:.0f} |"
        )
    base = baseline(told, sorted({one["seed"] for one in done}, key=int), done, volumes)
    head = [
        f"{tables.versions('torch', 'torchvision', 'lightning', 'monai')}, {told.threads} thread, "
        f"precision {told.precision}.",
        "",
        f"523 nodules (307 benign, 216 malignant) of 335 patients, boxes of 32 mm around the mask's "
        f"centre at 1 mm, {told.steps} steps of 16 boxes whatever the share of the training patients, "
        "the last network judged on the held-out fifth of the patients (seed s holds out fold s). "
        "Mean and standard deviation over the seeds; the interval is a bootstrap of the mean over "
        f"patients. *Like volume*: among pairs whose volumes differ by a factor of {LIKE_VOLUMES} at most. "
        "*Without volume*: of the log odds, log volume regressed out.",
        "",
        base,
        "",
        "| network | fusion | start | share of patients | runs | AUC | 95 % | like volume | "
        "without volume | seconds |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    tables.leave("lidc", "Lung nodules", [*head, *lines, ""], told.command)


def baseline(
    told: argparse.Namespace,
    seeds: Sequence[str],
    done: Sequence[dict[str, str]],
    volumes: dict[str, float],
) -> str:
    """What the volume of the mask alone tells of the same held-out nodules."""
    found = []
    for seed in seeds:
        one = next(line for line in done if line["seed"] == seed)
        name = "-".join(one[key] for key in ("network", "fusion", "start", "fraction", "seed"))
        answers = read_answers(told.runs / name / "predictions.csv")
        size = torch.tensor([volumes[sample] for sample in answers.samples])
        assert answers.truth is not None
        found.append((roc_auc(size, answers.truth == 1), matched_auc(size, answers.truth, size)))
    whole, like = (statistics.fmean(column) for column in zip(*found, strict=True))
    return (
        f"Volume of the mask alone, on the same nodules: AUC {whole:.3f}, among those of like volume "
        f"{like:.3f}."
    )


def main() -> None:
    """Runs what is missing and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with labels.csv, images and masks")
    parser.add_argument("weights", type=Path, help="folder with NETWORK.safetensors")
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument(
        "--rows", default="", help="only rows with one of these words, such as acs,i3d"
    )
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--precision", choices=("32", "bf16"), default="32")
    parser.add_argument("--accelerator", choices=("auto", "cpu", "gpu"), default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    told = parser.parse_args()
    told.command = [told.data.name, told.weights.name, "--runs", "runs", "--seeds", told.seeds]
    told.command += ["--steps", str(told.steps), "--precision", told.precision]
    told.runs.mkdir(parents=True, exist_ok=True)
    volumes = volumes_of(told.data)
    words = [word for word in told.rows.split(",") if word]
    every = list(itertools.product(NETWORKS, FUSIONS, STARTS, FRACTIONS))
    chosen = [row for row in every if not words or all(word in map(str, row) for word in words)]
    results = told.runs / "results.csv"
    # By seed first, so that a table of one seed is there early.
    for seed, row in itertools.product(map(int, told.seeds.split(",")), chosen):
        key = dict(zip(FIELDS, (*map(str, row), str(seed)), strict=False))
        if any(
            all(one[name] == value for name, value in key.items()) for one in told_rows(results)
        ):
            continue
        started = time.process_time()
        folder = run(row, seed, told)
        line = (
            key | measured(folder, volumes) | {"seconds": round(time.process_time() - started, 1)}
        )
        fresh = not results.exists()
        with results.open("a", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, [*FIELDS, "seconds"], lineterminator="\n")
            if fresh:
                writer.writeheader()
            writer.writerow(line)
        print(json.dumps(line), flush=True)
        write_table(told, every, volumes)


if __name__ == "__main__":
    main()
