"""What a start is worth in segmentation, over all folds: paired over the patients.

Trains the same converted network from a random start, from ImageNet weights, and from the same 2D
network that first learned single slices of the same training scans. Every patient is held out once.
Finished runs are kept, so that it can be stopped and started again; the table holds the folds
that are done.

    python benchmarks/starts.py hippocampus DATA WEIGHTS --runs runs/ --steps 300
"""

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import runs
import tables

from thirdaxis.metrics.paired import paired

STARTS = ("random", "imagenet", "slices")
PAIRS = (("imagenet", "random"), ("slices", "random"), ("imagenet", "slices"))


def train(start: str, fold: int, told: argparse.Namespace) -> Path:
    """Trains one network, and before it the one that learns slices, unless they are done."""
    run = told.runs / f"{start}-{fold}"
    common = [str(told.data), "--network", told.network, "--epochs", "1"]
    common += ["--precision", told.precision, "--accelerator", "cpu", "--fold", str(fold)]
    for word in told.set:
        common += ["--set", word]
    words = ["--fusion", told.fusion, "--set", f"epoch_steps={told.steps}"]
    if start == "imagenet":
        words += ["--weights", str(told.weights)]
    if start == "slices":
        flat = told.runs / f"flat-{fold}"
        height, width = told.flat.split(",")
        words += ["--weights", str(flat)]
        learn = ["--fusion", "slicewise", "--patch", f"1,{height},{width}", "--batch", "32"]
        runs.train(flat, [*common, *learn, "--set", f"epoch_steps={told.flat_steps}"], told.threads)
    runs.train(run, [*common, *words], told.threads)
    return run


def dice_by_patient(run: Path) -> dict[str, float]:
    """Mean foreground Dice of each held-out scan."""
    with (run / "validation" / "scores.csv").open(encoding="utf-8", newline="") as stream:
        return {row["case"]: float(row["mean_dice"]) for row in csv.DictReader(stream)}


def lines(dice: dict[str, dict[str, float]], pairs: Sequence[tuple[str, str]] = PAIRS) -> list[str]:
    """The table of means and the table of paired differences, over patients all starts have."""
    shared = sorted(set.intersection(*map(set, dice.values())))
    column = {start: np.array([of[name] for name in shared]) for start, of in dice.items()}
    found = ["| start | Dice mean | standard deviation | median |", "|---|---|---|---|"]
    for start, values in column.items():
        middle, spread = np.median(values), values.std(ddof=1)
        found.append(f"| {start} | {values.mean():.4f} | {spread:.4f} | {middle:.4f} |")
    found += ["", "| difference | Dice | 95 % interval | better in | Wilcoxon p |"]
    found += ["|---|---|---|---|---|"]
    for one, other in pairs:
        apart = paired(column[one], column[other])
        better = int((column[one] > column[other]).sum())
        found.append(
            f"| {one} − {other} | {apart.mean:+.4f} | {apart.low:+.4f} to {apart.high:+.4f} | "
            f"{better} of {apart.cases} | {apart.p:.2g} |"
        )
    return found


def main() -> None:
    """Trains what is missing, and writes the table after each fold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="of the table")
    parser.add_argument("data", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--network", default="torchvision:mobilenet_v2")
    parser.add_argument("--fusion", default="acs")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--flat", default="48,48", help="height and width of a slice's patch")
    parser.add_argument("--flat-steps", type=int, default=300, help="steps of 32 slices")
    parser.add_argument("--folds", default="0,1,2,3,4")
    parser.add_argument("--precision", default="bf16-mixed")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[], help="settings of every run")
    told = parser.parse_args()
    told.runs.mkdir(parents=True, exist_ok=True)
    dice: dict[str, dict[str, float]] = {start: {} for start in STARTS}
    done: list[str] = []
    for fold in map(int, told.folds.split(",")):
        done.append(str(fold))
        for start in STARTS:
            dice[start] |= dice_by_patient(train(start, fold, told))
        about = [
            f"{tables.versions('torch', 'monai', 'lightning')}; {told.threads} threads.",
            "",
            f"`{told.network}` as a U-Net's encoder, `{told.fusion}`, {told.steps} steps of 2 "
            f"patches in {told.precision}; slices: {told.flat_steps} steps of 32 patches of "
            f"1,{told.flat} voxels before, from a random start, so that it has trained longer. "
            f"Folds {', '.join(done)} of 5, each patient held out once: {len(dice['random'])} "
            "scans. Dice of a scan is the mean over its labels; intervals are bootstrapped over "
            "scans.",
            "",
        ]
        tables.leave(
            f"starts-{told.name}", f"Starts: {told.name}", [*about, *lines(dice)], script="starts"
        )


if __name__ == "__main__":
    main()
