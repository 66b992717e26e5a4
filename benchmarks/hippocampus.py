"""Hippocampus MRI: what 2D weights and each fusion operator are worth, few scans or many.

Trains `torchvision:mobilenet_v2` as a U-Net's encoder on the Decathlon's Task04 for so many steps,
once a cell of the table, and writes Dice and HD95 on the held-out patients. Finished cells
are kept, so that it can be stopped and started again.

    python benchmarks/hippocampus.py DATA WEIGHTS --runs runs/ --steps 300 --workers 2
"""

import argparse
import itertools
import os
import platform
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import runs
import tables

FUSIONS = ("slicewise", "i3d", "acs")
FRACTIONS = (0.1, 1.0)
STARTS = ("imagenet", "random")


def train(cell: tuple[float, str, str], told: argparse.Namespace) -> None:
    """Trains one cell in a process of one thread, unless it is done."""
    fraction, start, fusion = cell
    run = told.runs / f"{fusion}-{start}-{fraction}"
    words = [str(told.data), "--network", "torchvision:mobilenet_v2", "--fusion", fusion]
    words += ["--weights", str(told.weights)] if start == "imagenet" else []
    words += ["--epochs", "1", "--set", f"epoch_steps={told.steps}", "--set", "accelerator=cpu"]
    words += ["--set", f"fold={told.fold}", "--set", f"fraction={fraction}"]
    runs.train(run, words)


def row(cell: tuple[float, str, str], folder: Path) -> str:
    """One line of the table."""
    fraction, start, fusion = cell
    told = runs.read(folder / f"{fusion}-{start}-{fraction}" / "metrics.json")
    parts = [told["scores"][name]["dice_mean"] for name in ("Anterior", "Posterior", "mean")]
    mean = told["scores"]["mean"]
    numbers = " | ".join(f"{part:.3f}" for part in parts)
    cases, overall = told["training_cases"], mean["dice_global"]
    return (
        f"| {fusion} | {start} | {cases} | {numbers} | {overall:.3f} | "
        f"{mean['hd95_mm_mean']:.2f} | {told['seconds'] / 60:.1f} |"
    )


def main() -> None:
    """Trains what is missing and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--fold", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    told = parser.parse_args()
    told.runs.mkdir(parents=True, exist_ok=True)
    cells = list(itertools.product(FRACTIONS, STARTS, FUSIONS))
    with ThreadPoolExecutor(told.workers) as pool:
        list(pool.map(lambda cell: train(cell, told), cells))

    versions, held_out = (
        runs.read(told.runs / "acs-imagenet-1.0" / f"{name}.json")
        for name in ("versions", "metrics")
    )
    command = [told.data.name, told.weights.name, "--runs", "runs", "--steps", str(told.steps)]
    command += ["--fold", str(told.fold), "--workers", str(told.workers)]
    lines = [
        f"Python {versions['python']}, torch {versions['torch']}, MONAI {versions['monai']}, "
        f"Lightning {versions['lightning']}; {platform.machine()}, one thread a run, "
        f"{os.cpu_count()} cores shared by {told.workers} runs.",
        "",
        f"`torchvision:mobilenet_v2` as a U-Net's encoder, {told.steps} steps of 2 patches, fold "
        f"{told.fold} of 5, {held_out['held_out_cases']} held-out patients, one seed. Dice and "
        "HD95 are means over patients on the scans' own grid.",
        "",
        "| fusion | start | training scans | Dice anterior | Dice posterior | Dice mean | "
        "Dice over all voxels | HD95 mm | minutes |",
        "|---|---|---|---|---|---|---|---|---|",
        *(row(cell, told.runs) for cell in cells),
        "",
    ]
    tables.leave("hippocampus", "Hippocampus", lines, command)


if __name__ == "__main__":
    main()
