"""What AH-Net's first stage is worth: its encoder from slices, from scratch, and an ACS U-Net.

Liu et al., "3D Anisotropic Hybrid Network", MICCAI 2018, train a network on stacks of three slices,
and begin AH-Net with its encoder, locked at first. Here AH-Net does that, begins at random, and is
compared with a U-Net of the same ResNet by ACS, on the same folds: every patient is held out once,
differences are paired. Finished runs are kept, so that it can be stopped and started again; the
table is written again after each fold.

    python benchmarks/ahnet_starts.py hippocampus DATA/msd_hippocampus --runs runs/hippocampus
    python benchmarks/ahnet_starts.py lidc DATA/lidc_nodules --runs runs/lidc --folds 0,1
"""

import argparse
from pathlib import Path

import runs
import starts
import tables

PATCHES = {"hippocampus": "40,56,40", "lidc": "34,34,34"}
SETTINGS: dict[str, list[str]] = {
    "hippocampus": [],
    "lidc": [
        *("labels={nodule: 1}", "patient=labels.csv:patient_id", "spacing=1,1,1"),
        *("intensity=window", "window=-1024,400", "foreground=0.9"),
    ],
}
DEPTH = 10  # slices of a patch of the first stage; all but two have both neighbours
TRANSFERRED, SCRATCH, UNET = "AH-Net from slices", "AH-Net from scratch", "ACS U-Net"
ROWS = {TRANSFERRED: "transferred", SCRATCH: "scratch", UNET: "unet"}
PAIRS = ((TRANSFERRED, SCRATCH), (TRANSFERRED, UNET), (SCRATCH, UNET))
GCN = ("fusion=slicewise", "stem=depth", "depth_stride=false", "loss_rim=1", "batch=4")


def words_of(told: argparse.Namespace, fold: int, steps: int, *own: str) -> list[str]:
    """What `thirdaxis train` is told for a run of so many steps."""
    epochs = min(steps, 4)
    common = [*SETTINGS[told.name], f"fold={fold}", "accelerator=cpu", "overlap=0.25"]
    # The last network is judged, and the held-out scans are gone through but once.
    common += [
        "channels_last=true",
        f"epochs={epochs}",
        f"validate_every={epochs}",
        f"epoch_steps={steps // epochs}",
    ]
    words = [str(told.data), "--precision", told.precision]
    for word in (*common, f"cache={told.runs / 'cache'}", *own, *told.set):
        words += ["--set", word]
    return words


def train(row: str, fold: int, told: argparse.Namespace) -> Path:
    """Trains one network, and before it the first stage that it begins with, unless done."""
    run = told.runs / f"{ROWS[row]}-{fold}"
    patch = PATCHES[told.name]
    own = [f"network=ahnet:{told.resnet}", f"patch={patch}", "learning_rate=1e-3"]
    if row == UNET:
        own[0] = f"network=torchvision:{told.resnet}"
    if row == TRANSFERRED:
        first = told.runs / f"slices-{fold}"
        plane = patch.partition(",")[2]
        gcn = [f"network=gcn:{told.resnet}", f"patch={DEPTH},{plane}", *GCN]
        gcn += [f"predict_patch={patch}", "learning_rate=5e-4"]
        runs.train(first, words_of(told, fold, told.slice_steps, *gcn), told.threads)
        own += [f"weights={first}", "freeze=encoder", "unlock_at=0.25"]
    runs.train(run, words_of(told, fold, told.steps, *own), told.threads)
    return run


def about(told: argparse.Namespace, folds: str, scans: int) -> list[str]:
    """What was run, above the table."""
    return [
        f"{tables.versions('torch', 'monai', 'lightning')}; {told.threads} threads.",
        "",
        f"All with {told.resnet}, {told.steps} steps of 2 patches of {PATCHES[told.name]} voxels "
        f"in precision {told.precision}, Dice and cross entropy. First stage: {told.slice_steps} "
        f"steps of 4 patches of {DEPTH} slices, of which the inner {DEPTH - 2} count, from a "
        "random start; its encoder is locked for the first quarter of the second stage. Folds "
        f"{folds} of 5, each patient held out once: {scans} scans. Dice of a scan is the mean over "
        "its labels; intervals are bootstrapped over scans.",
        "",
    ]


def main() -> None:
    """Trains what is missing, and writes the table after each fold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=list(PATCHES), help="data set")
    parser.add_argument("data", type=Path)
    parser.add_argument("--resnet", default="resnet18")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--slice-steps", type=int, default=600)
    parser.add_argument("--folds", default="0,1,2,3,4")
    parser.add_argument("--precision", default="32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[], help="settings of every run")
    told = parser.parse_args()
    told.runs.mkdir(parents=True, exist_ok=True)
    dice: dict[str, dict[str, float]] = {row: {} for row in ROWS}
    done: list[str] = []
    for fold in told.folds.split(","):
        for row in ROWS:
            dice[row] |= starts.dice_by_patient(train(row, int(fold), told))
        done.append(fold)
        head = about(told, ", ".join(done), len(dice[UNET]))
        tables.leave(
            f"ahnet-starts-{told.name}",
            f"AH-Net's first stage: {told.name}",
            [*head, *starts.lines(dice, PAIRS)],
            script="ahnet_starts",
        )


if __name__ == "__main__":
    main()
