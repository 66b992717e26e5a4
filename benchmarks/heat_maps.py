"""Lesions by heat maps: AH-Net with an encoder from slices, from scratch, and a U-Net by ACS.

Liu et al., "3D Anisotropic Hybrid Network", MICCAI 2018, look for lesions in volumes by the peaks
of a heat map, with an encoder that first learned stacks of three slices. Here AH-Net does that,
begins at random, and is compared with a U-Net of the same ResNet by ACS, on phantoms or any other
folder of volumes with boxes and official parts. Finished runs are kept, so that it can be stopped
and started again; the table is written again after each run.

    thirdaxis prepare phantoms VOLUMES --series 120 --size 64 --volumes
    python benchmarks/heat_maps.py VOLUMES --runs runs/ --seeds 0,1
    python benchmarks/heat_maps.py VOLUMES --runs runs/ --time
"""

import argparse
import statistics
import time
from functools import lru_cache
from pathlib import Path

import numpy as np
import runs
import tables
import torch

from thirdaxis.data.lesions.points import read_points
from thirdaxis.data.lesions.volumes import BoxedVolume
from thirdaxis.data.phantoms.sets import phantom_note
from thirdaxis.metrics.bootstrap import bootstrap
from thirdaxis.metrics.froc import HEADLINE, Froc
from thirdaxis.metrics.froc import RATES as USUAL
from thirdaxis.metrics.froc_paired import froc_difference
from thirdaxis.tasks.locating.evaluate import find_truth, matched
from thirdaxis.tasks.locating.module import LocateModule
from thirdaxis.tasks.locating.network import make_locator_network
from thirdaxis.tasks.locating.plan import plan_of
from thirdaxis.tasks.settings_files import make_settings, read_assignments

SLICES, SCRATCH, UNET = "AH-Net from slices", "AH-Net from scratch", "ACS U-Net"
ROWS = {SLICES: "slices", SCRATCH: "scratch", UNET: "unet"}
PAIRS = ((SLICES, SCRATCH), (SLICES, UNET), (SCRATCH, UNET))
SHOWN = (0.25, 0.5, 1.0, 2.0, 4.0)
PATCH, WINDOW, DEPTH = (16, 48, 48), (16, 64, 64), 8
COMMON = (
    *("task=locate", "boxes=boxes.csv", "spacing=1,own,own", "intensity=window"),
    *("window=-1000,200", "suppress=4,6,6", "augment=flips", "schedule=cosine", "batch=2"),
    *("predict_patch=" + ",".join(map(str, WINDOW)), "overlap=0.25", "epochs=4", "focal_from=3"),
    "validate_every=2",
)
GCN = ("fusion=slicewise", "stem=depth", "depth_stride=false", "loss_rim=1", "learning_rate=3e-3")


def own_words(row: str, told: argparse.Namespace) -> list[str]:
    """What the network of a row is told for itself."""
    patch = "patch=" + ",".join(map(str, PATCH))
    if row == UNET:
        return [f"network=torchvision:{told.resnet}", "fusion=acs", patch, "learning_rate=1e-3"]
    return [f"network=ahnet:{told.resnet}", patch, "learning_rate=1e-3"]


def train(row: str, seed: int, told: argparse.Namespace) -> Path:
    """Trains one network, and before it the first stage that it begins with, unless done."""
    run = told.runs / f"{ROWS[row]}-{seed}"
    own = own_words(row, told)
    if row == SLICES:
        first = told.runs / f"gcn-{seed}"
        plane = ",".join(map(str, PATCH[1:]))
        gcn = [f"network=gcn:{told.resnet}", f"patch={DEPTH},{plane}", *GCN]
        _train(first, [*gcn, "validate_every=4"], told.slice_steps, seed, told)
        own += [f"weights={first}", "freeze=encoder", "unlock_at=0.5"]
    _train(run, own, told.steps, seed, told)
    return run


def _train(run: Path, own: list[str], steps: int, seed: int, told: argparse.Namespace) -> None:
    words = [str(told.data), "--precision", told.precision, "--accelerator", told.accelerator]
    more = [f"epoch_steps={max(1, steps // 4)}", f"seed={seed}", f"cache={told.runs / 'cache'}"]
    for word in (*COMMON, *more, *own, *told.set):
        words += ["--set", word]
    runs.train(run, words, told.threads)


@lru_cache
def truth_of(run: Path) -> tuple[BoxedVolume, ...]:
    """The test volumes, the same ones for all runs."""
    return find_truth(run).volumes


def scored_of(row: str, seed: int, told: argparse.Namespace) -> Froc | None:
    """What a finished run found in the test volumes, matched; none while it is not."""
    run = told.runs / f"{ROWS[row]}-{seed}"
    if not (run / "metrics.json").exists():
        return None
    volumes = truth_of(run)
    return matched(volumes, read_points(run / "points.json", volumes)[0])


def line_of(row: str, scored: list[Froc], volumes: tuple[BoxedVolume, ...]) -> str:
    """A line of the table; intervals draw patients, each with all its volumes in all runs."""

    def mean(weights: np.ndarray) -> float:
        curves = [one.curve(weights) for one in scored]
        return float(np.mean([np.interp(USUAL[:HEADLINE], *curve).mean() for curve in curves]))

    def drawn(chosen: np.ndarray) -> dict[str, float]:
        return {"mean": mean(np.bincount(chosen, minlength=len(volumes)).astype(float))}

    low, high = bootstrap(drawn, len(volumes), cases=[one.patient for one in volumes], draws=500)[
        "mean"
    ]
    each = [one.mean for one in scored]
    spread = f" ± {statistics.stdev(each):.3f}" if len(each) > 1 else ""
    at = np.mean([one.sensitivity_at(SHOWN) for one in scored], axis=0)
    cells = [row, str(len(each)), f"{statistics.fmean(each):.3f}{spread}"]
    cells += [f"{low:.3f} to {high:.3f}", *(f"{value:.3f}" for value in at)]
    return f"| {' | '.join(cells)} |"


def write_table(seeds: list[int], told: argparse.Namespace) -> None:
    """Writes the table of what is finished."""
    done = {row: {seed: scored_of(row, seed, told) for seed in seeds} for row in ROWS}
    kept = {
        row: {seed: one for seed, one in found.items() if one is not None}
        for row, found in done.items()
    }
    first = next(f"{ROWS[row]}-{seed}" for row, found in kept.items() for seed in found)
    volumes = truth_of(told.runs / first)
    patients = {one.name: one.patient for one in volumes}
    note = phantom_note(told.data)
    lines = [
        f"{tables.versions('torch', 'monai', 'lightning')}; {told.threads} threads, "
        f"{told.accelerator}, {told.precision}.",
        "",
        *([f"**{note}**", ""] if note else []),
        f"{told.resnet}; {told.steps} steps of 2 patches of {'×'.join(map(str, PATCH))} voxels, "
        f"squared error, focal for the last quarter. First stage: MC-GCN for {told.slice_steps} "
        f"steps of 2 patches of {DEPTH} slices, of which the inner {DEPTH - 2} count, from a "
        "random start; its encoder is locked for the first half of the second. "
        f"Test part: {len(volumes)} volumes, {sum(len(one.boxes) for one in volumes)} lesions; a "
        "point in a box finds that lesion. FROC is the mean sensitivity at 0.5, 1, 2 and 4 false "
        "positives a volume, mean ± standard deviation over seeds; intervals (95 %) are "
        "bootstrapped over patients.",
        "",
        "| network | runs | FROC | 95 % | " + " | ".join(f"at {rate:g}" for rate in SHOWN) + " |",
        "|" + "---|" * (4 + len(SHOWN)),
        *(line_of(row, list(found.values()), volumes) for row, found in kept.items() if found),
        "",
        "| difference | seed | FROC | 95 % | p |",
        "|---|---|---|---|---|",
    ]
    for one, other in PAIRS:
        for seed in kept[one].keys() & kept[other].keys():
            apart = froc_difference(kept[one][seed], kept[other][seed], patients)
            lines.append(
                f"| {one} − {other} | {seed} | {apart.mean:+.3f} | {apart.low:+.3f} to "
                f"{apart.high:+.3f} | {apart.p:.2g} |"
            )
    tables.leave("heat-maps", "Lesions by heat maps", lines, script="heat_maps")


def step_times(told: argparse.Namespace) -> None:
    """Prints the seconds a training step takes, the median of five, in 32 bits and in bf16."""
    for row in (SCRATCH, UNET):
        words = read_assignments([*COMMON, *own_words(row, told)])
        settings = make_settings({"data": str(told.data), **words}, "times")
        plan = plan_of(settings, 1)  # type: ignore[arg-type]
        for last in (False, True):
            made = make_locator_network(settings, plan, load=False)  # type: ignore[arg-type]
            tried = settings.model_copy(update={"channels_last": last})
            module = LocateModule(made.net, tried, plan, 10)  # type: ignore[arg-type]
            for precise in (True, False):
                seconds = statistics.median(_steps(module, precise))
                kind = "32 bits" if precise else "bf16"
                print(f"{row}, {kind}, channels {'last' if last else 'first'}: {seconds:.2f} s")


def _steps(module: LocateModule, precise: bool) -> list[float]:
    (optimiser,), _ = module.configure_optimizers()
    image, thickness = torch.randn(2, 1, *PATCH), torch.ones(2)
    found = []
    for _ in range(6):
        start = time.process_time()
        with torch.autocast("cpu", torch.bfloat16, enabled=not precise):
            heat = module(image, thickness)
        module.loss(heat, torch.zeros_like(image)).backward()
        optimiser.step()
        optimiser.zero_grad()
        found.append(time.process_time() - start)
    return found[1:]


def main() -> None:
    """Trains what is missing, and writes the table after each run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="as `prepare phantoms --volumes` wrote it")
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--resnet", default="resnet18")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--slice-steps", type=int, default=600)
    parser.add_argument("--precision", default="32")
    parser.add_argument("--accelerator", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--time", action="store_true", help="tell seconds a step, train nothing")
    parser.add_argument("--set", action="append", default=[], help="settings of every run")
    told = parser.parse_args()
    told.runs.mkdir(parents=True, exist_ok=True)
    if told.time:
        torch.set_num_threads(told.threads)
        step_times(told)
        return
    seeds = [int(seed) for seed in told.seeds.split(",")]
    for seed in seeds:
        for row in ROWS:
            train(row, seed, told)
            write_table(seeds, told)


if __name__ == "__main__":
    main()
