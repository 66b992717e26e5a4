"""What the benchmarks of classification share: runs, their lines of results, their intervals."""

import argparse
import csv
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from thirdaxis.metrics.auc import roc_auc
from thirdaxis.metrics.bootstrap import bootstrap
from thirdaxis.tasks import runs
from thirdaxis.tasks.classification.table import read_answers
from thirdaxis.tasks.settings_files import make_settings

RESULTS = "results.csv"
FUSIONS = ("slicewise", "i3d", "acs", "tsm", "a3d")
# One of 1e-3, 3e-4 and 1e-4, tried on other splits of lung nodules; SqueezeNet, which has no norms,
# learns little from a random start at 1e-3.
RATE = 3e-4
# What networks are told besides. MobileNetV2 strides five times, which leaves `slicewise` one or
# two slices, outside the nodule: so the last two strides keep depth.
NETWORKS: dict[str, dict[str, Any]] = {
    "squeezenet1_0": {},
    "mobilenet_v2": {
        "learning_rate": 1e-3,
        "overrides": {f"*features.{part}.*": {"depth_stride": False} for part in (7, 14)},
        "channels_last": True,
    },
}


def told_by(doc: str, data: str, steps: int) -> tuple[argparse.Namespace, list[str]]:
    """What the command line of a benchmark tells, and the words that its rows have to have.

    Args:
        doc: of the benchmark.
        data: what its data are.
        steps: of a run, where nothing else is told.
    """
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("data", type=Path, help=data)
    parser.add_argument("weights", type=Path, help="folder with NETWORK.safetensors")
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--rows", default="", help="rows with all of these, such as acs,imagenet")
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--precision", choices=("32", "bf16"), default="32")
    parser.add_argument("--accelerator", choices=("auto", "cpu", "gpu"), default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    told = parser.parse_args()
    told.command = [told.data.name, told.weights.name, "--runs", "runs", "--seeds", told.seeds]
    told.command += ["--steps", str(told.steps), "--precision", told.precision]
    told.runs.mkdir(parents=True, exist_ok=True)
    return told, [word for word in told.rows.split(",") if word]


def train(settings: dict[str, Any], folder: Path, threads: int) -> float:
    """Trains one run, or goes on with it, and returns the seconds of the processor it took."""
    torch.set_num_threads(threads)
    started = time.process_time()
    if (folder / "settings.yaml").exists():
        runs.resume(folder)
    else:
        runs.train(make_settings(settings, "benchmark"), folder)
    # Their weights are of no further use, and of a hundred runs fill the disk.
    for checkpoint in folder.glob("*.ckpt"):
        checkpoint.unlink()
    return round(time.process_time() - started, 1)


def finished(folder: Path) -> list[dict[str, str]]:
    """The lines of the finished runs."""
    if not (folder / RESULTS).exists():
        return []
    with (folder / RESULTS).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def keep(folder: Path, line: dict[str, Any]) -> None:
    """Adds the line of a finished run."""
    fresh = not (folder / RESULTS).exists()
    with (folder / RESULTS).open("a", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(line), lineterminator="\n")
        if fresh:
            writer.writeheader()
        writer.writerow(line)
    print(json.dumps(line), flush=True)


def mean_auc(folders: Sequence[Path]) -> tuple[Callable[[np.ndarray], float], list[str]]:
    """The mean AUC of runs by which of all their held-out nodules are drawn, and the patients."""
    parts = [read_answers(folder / "predictions.csv") for folder in folders]
    scores = torch.cat([part.answers[:, 1] for part in parts])
    truth = torch.cat([part.truth for part in parts if part.truth is not None])
    of = torch.cat([torch.full((len(part.samples),), n) for n, part in enumerate(parts)])

    def mean(chosen: np.ndarray) -> float:
        numbers = torch.from_numpy(chosen)
        each = [numbers[of[numbers] == n] for n in range(len(parts))]
        return statistics.fmean(roc_auc(scores[some], truth[some] == 1) for some in each)

    return mean, [patient for part in parts for patient in part.patients]


def interval(folders: Sequence[Path], others: Sequence[Path] = ()) -> str:
    """The 95 % interval of the mean AUC, or of how far it is above that of other runs.

    Patients are drawn, each with all nodules in all runs; runs of one seed hold out the same ones,
    so that the difference is paired.
    """
    mean, patients = mean_auc(folders)
    base = mean_auc(others)[0] if others else None

    def drawn(chosen: np.ndarray) -> dict[str, float]:
        return {"auc": mean(chosen) - (base(chosen) if base else 0.0)}

    low, high = bootstrap(drawn, len(patients), cases=patients, draws=500)["auc"]
    return f"{low:.3f} to {high:.3f}"


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation."""
    mean = f"{statistics.fmean(values):.3f}"
    return f"{mean} ± {statistics.stdev(values):.3f}" if len(values) > 1 else mean
