"""Peak memory and time of `thirdaxis predict` on a CT of 512 x 512 x 1000 voxels.

    python benchmarks/large_ct.py --folder large_ct [--slices 1000] [--only "own grid"]

Makes a synthetic CT and, for each row, a run whose network is next to nothing (one convolution of
single pixels to three classes), so that what is measured is reading, preprocessing, blending,
resampling back and writing. Each row is a process of its own; its peak resident memory is what the
kernel tells when it ends.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import nibabel
import numpy as np
from torch import nn

COMMON = {
    "network": "large_ct:next_to_nothing",
    "fusion": "slicewise",
    "patch": [32, 256, 256],
    "overlap": 0.25,
    "epochs": 1,
    "epoch_steps": 1,
    "batch": 1,
    "folds": 2,
    "augment": False,
    "accelerator": "cpu",
}
WINDOW = {"intensity": "window", "window": [-150, 250]}
ROWS: dict[str, tuple[dict[str, object], list[str]]] = {
    "own grid, window": (WINDOW, []),
    "own grid, z-score": ({}, []),
    "own grid, percentiles": ({"intensity": "percentiles"}, []),
    "resampled to 1 mm": (WINDOW | {"spacing": [1, 1, 1]}, []),
    "resampled to 0.6 mm": (WINDOW | {"spacing": [0.6, 0.6, 0.6]}, []),
    "own grid, probabilities, picture": (WINDOW, ["--probabilities", "--picture"]),
    "own grid, largest component, bf16": (WINDOW, ["--largest", "all", "--precision", "bf16"]),
}


def next_to_nothing(in_channels: int, classes: int) -> nn.Module:
    """A 2D network of one convolution, of single pixels."""
    return nn.Conv2d(in_channels, classes, 1)


def write_ct(path: Path, slices: int) -> None:
    """A cylinder of a body with a bright rod in it, in noise; int16 HU, 0.8 x 0.8 x 0.7 mm."""
    y, x = np.mgrid[:512, :512] - 255.5
    body = np.where((x / 200) ** 2 + (y / 140) ** 2 < 1, 40, -1000)
    body[(x - 60) ** 2 + y**2 < 30**2] = 300
    noise = np.random.default_rng(0).normal(0, 20, (8, 512, 512))
    array = np.empty((512, 512, slices), np.int16, order="F")
    for z in range(slices):
        array[:, :, z] = np.round((body + noise[z % 8]) / 4).T * 4
    nibabel.save(nibabel.Nifti1Image(array, np.diag([-0.8, -0.8, 0.7, 1])), path)


def write_training(folder: Path) -> None:
    """Four tiny scans to train on, that a run can begin."""
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    names = [f"tiny_{n}.nii.gz" for n in range(4)]
    for n, name in enumerate(names):
        labels = np.random.default_rng(n).integers(0, 3, (16, 16, 8)).astype(np.uint8)
        affine = np.diag([-0.8, -0.8, 0.7, 1])
        image = labels.astype(np.int16) * 100
        nibabel.save(nibabel.Nifti1Image(image, affine), folder / "imagesTr" / name)
        nibabel.save(nibabel.Nifti1Image(labels, affine), folder / "labelsTr" / name)
    about = {
        "labels": {"0": "background", "1": "body", "2": "rod"},
        "modality": {"0": "CT"},
        "training": [{"image": f"imagesTr/{n}", "label": f"labelsTr/{n}"} for n in names],
    }
    (folder / "dataset.json").write_text(json.dumps(about), encoding="utf-8")


def measured(words: list[str]) -> tuple[float, float, float]:
    """Seconds, CPU-seconds and peak GiB of `thirdaxis WORDS...`, a process of its own."""
    here = Path(__file__).resolve().parent
    paths = [str(here), str(here.parent / "src"), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "thirdaxis", *words], env=environment)
    _, status, used = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        sys.exit(f"failed: thirdaxis {' '.join(words)}")
    spent = used.ru_utime + used.ru_stime
    return time.perf_counter() - began, spent, used.ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--slices", type=int, default=1000)
    parser.add_argument("--only", action="append")
    told = parser.parse_args()
    told.folder.mkdir(parents=True, exist_ok=True)
    ct, data = told.folder / f"ct-{told.slices}.nii.gz", told.folder / "data"
    if not ct.exists():
        write_ct(ct, told.slices)
    if not data.exists():
        write_training(data)
    for name in told.only or ROWS:
        settings, flags = ROWS[name]
        stem = name.replace(" ", "-").replace(",", "")
        run, file = told.folder / f"run-{stem}", told.folder / f"{stem}.json"
        if not run.exists():
            file.write_text(json.dumps({"data": str(data), **COMMON, **settings}), "utf-8")
            measured(["train", "-c", str(file), "-o", str(run)])
        out = told.folder / f"out-{stem}.nii.gz"
        words = ["predict", str(run), str(ct), "-o", str(out), "--overwrite", *flags]
        seconds, spent, peak = measured(words)
        print(f"| {name} | {peak:.1f} | {seconds:.0f} | {spent:.0f} |", flush=True)


if __name__ == "__main__":
    main()
