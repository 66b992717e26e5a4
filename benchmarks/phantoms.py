"""Lesions that one slice cannot tell from vessels: which operators find them, thin and thick.

Trains the same small detector with each fusion operator, at 3 and 7 slices, on a set that
`thirdaxis prepare phantoms` wrote, and judges the last network on its test part. Finished runs are
kept, so that it can be stopped and started again; the table is written again after each.

    thirdaxis prepare phantoms PHANTOMS --series 400
    python benchmarks/phantoms.py PHANTOMS --runs runs/ --seeds 0,1 --steps 600
"""

import argparse
import itertools
import statistics
from pathlib import Path

import numpy as np
import runs
import tables
import yaml
from phantom_scores import (
    THIN,
    between,
    closed_line,
    covered_lesions,
    means_of,
    test_slices,
)

from thirdaxis.data.lesions.detections import read_detections
from thirdaxis.data.phantoms.sets import phantom_note
from thirdaxis.metrics.bootstrap import bootstrap
from thirdaxis.metrics.froc import RATES, Froc, froc
from thirdaxis.tasks.froc.plot import draw_froc, froc_line

Row = tuple[str, int]
FUSIONS = ("slicewise", "i3d", "p3d", "acs", "tsm", "alignshift", "a3d")
EVERY: list[Row] = [(fusion, depth) for depth in (3, 7) for fusion in FUSIONS]


def settings_of(row: Row, seed: int, told: argparse.Namespace) -> dict[str, object]:
    """One run: a detector for slices of 128 pixels, as long a training for all rows."""
    fusion, depth = row
    # Lesions with their margins are 10 to 20 of 128 pixels large.
    sides = [round(side * told.size / 128) for side in (8, 12, 16, 24)]
    return {
        "task": "detect",
        "data": str(told.data),
        "network": told.network,
        "weights": told.weights,
        "fusion": fusion,
        "depth": depth,
        "size": told.size,
        "anchors": sides,
        "width": 128,
        "hidden": 256,
        "masks": False,
        "proposals_before": (2000, 1000),
        "proposals_after": (500, 300),
        "augment": "flips",
        "seed": seed,
        "batch": 8,
        "reference_batch": None,
        "optimiser": "adamw",
        "learning_rate": told.rate,
        "schedule": "cosine",
        "milestones": [],
        "warmup": 0.1,
        "epochs": 4,
        "epoch_steps": max(1, told.steps // 4),
        "precision": told.precision,
        "accelerator": told.accelerator,
        "draws": 10,
    } | {name: yaml.safe_load(value) for name, _, value in (w.partition("=") for w in told.set)}


def folder_of(row: Row, seed: int, told: argparse.Namespace) -> Path:
    """The folder of a run."""
    return told.runs / f"{row[0]}-{row[1]}-{seed}"


def train(row: Row, seed: int, told: argparse.Namespace) -> None:
    """Trains one run, unless it is done."""
    folder = folder_of(row, seed, told)
    settings = folder.with_name(f"{folder.name}.yaml")
    settings.write_text(yaml.safe_dump(settings_of(row, seed, told)), encoding="utf-8")
    runs.train(folder, ["--settings", str(settings)], told.threads)


def scored_of(row: Row, seed: int, told: argparse.Namespace) -> Froc:
    """What a finished run found on the test slices, matched."""
    found = read_detections(folder_of(row, seed, told) / "detections.json")
    return froc(found, {one.name: one.boxes for one in test_slices(told.data)})


def finished(told: argparse.Namespace) -> dict[Row, dict[int, Froc]]:
    """The runs of each row that are done, by seed."""
    seeds = [int(seed) for seed in told.seeds.split(",")]
    return {
        row: {
            seed: scored_of(row, seed, told)
            for seed in seeds
            if (folder_of(row, seed, told) / "metrics.json").exists()
        }
        for row in EVERY
    }


def line_of(row: Row, done: dict[Row, dict[int, Froc]], told: argparse.Namespace) -> str:
    """A line of the table; intervals draw patients, each with all its slices in all runs."""
    slices = test_slices(told.data)
    scored = list(done[row].values())
    base = done["slicewise", row[1]]
    means = means_of(scored, slices)
    other = (
        means_of([base[seed] for seed in done[row]], slices)
        if done[row].keys() <= base.keys()
        else None
    )
    ones = np.ones(len(slices))

    def drawn(chosen: np.ndarray) -> dict[str, float]:
        weights = np.bincount(chosen, minlength=len(slices)).astype(float)
        found = means(weights)
        more = {"more": found["all"] - other(weights)["all"]} if other else {}
        return found | more

    ends = bootstrap(drawn, len(slices), cases=[one.patient for one in slices], draws=500)
    whole = means(ones)
    each = [one.mean for one in scored]
    spread = f" ± {statistics.stdev(each):.3f}" if len(each) > 1 else ""
    at = np.mean([one.sensitivity_at() for one in scored], axis=0)
    cells = [
        f"{row[0]} | {row[1]} | {len(scored)} | {whole['all']:.3f}{spread}",
        between(ends["all"]),
    ]
    cells += [" | ".join(f"{value:.3f}" for value in at)]
    cells += [f"{whole[kind]:.3f}, {between(ends[kind])}" for kind in ("thin", "thick", "gap")]
    covered = np.array(covered_lesions(told.data))
    for kept in (~covered, covered):
        some = [one.of_lesions(kept).mean for one in scored] if kept.any() else [np.nan]
        cells += [f"{statistics.fmean(some):.3f}"]
    if other is None or row[0] == "slicewise":
        cells += ["–"]
    else:
        cells += [f"{whole['all'] - other(ones)['all']:+.3f}, {between(ends['more'])}"]
    seconds = [
        runs.read(folder_of(row, seed, told) / "metrics.json")["seconds"] for seed in done[row]
    ]
    return f"| {' | '.join(cells)} | {statistics.fmean(seconds):.0f} |"


def write_table(told: argparse.Namespace) -> None:
    """Writes the table, and a picture of the curves beside the runs, of what is finished."""
    done = finished(told)
    lines = [line_of(row, done, told) for row in EVERY if done[row]]
    if not lines:
        return
    slices = test_slices(told.data)
    note = phantom_note(told.data) or ""
    patients = {one.name: one.patient for one in slices}
    for depth in (3, 7):
        curves = [
            froc_line(f"{row[0]} × {depth}", next(iter(done[row].values())), patients, draws=200)
            for row in EVERY
            if row[1] == depth and done[row]
        ]
        if curves:
            draw_froc(curves, told.runs / f"froc-{depth}.png", note)
    thin = sum(one.spacing[0] <= THIN for one in slices)
    weights = "from ImageNet weights" if told.weights else "from a random start"
    head = [
        f"{tables.versions('torch', 'torchvision', 'lightning')}, {told.threads} threads, "
        f"{told.accelerator}, precision {told.precision}.",
        "",
        f"**{note}**",
        "",
        f"`{told.network}` {weights}, slices of {told.size} pixels, {told.steps} steps of 8 key "
        f"slices for all rows, the epoch chosen on the validation part. Test part: {len(slices)} "
        f"key slices ({thin} thin of 1 mm, {len(slices) - thin} thick of 5 mm), "
        f"{sum(len(one.boxes) for one in slices)} lesions. FROC is the mean sensitivity at 0.5, 1, "
        "2 and 4 false positives an image, mean ± standard deviation over seeds; then the "
        "sensitivity at each rate. Intervals (95 %) are bootstrapped over patients, each with all "
        "its slices in all runs; differences are paired. *Covered* lesions have vessels of their "
        "look over and under them, *open* ones nothing; each on the images with such. Seconds: "
        "training alone.",
        "",
        "| fusion | slices | runs | FROC | 95 % | "
        + " | ".join(f"at {rate:g}" for rate in RATES)
        + " | thin | thick | thin − thick | open | covered | more than slicewise | seconds |",
        "|" + "---|" * (12 + len(RATES)),
    ]
    shifted = [
        closed_line(depth, done["tsm", depth], done["alignshift", depth], slices)
        for depth in (3, 7)
        if done["tsm", depth].keys() & done["alignshift", depth].keys()
    ]
    if shifted:
        lines += [
            "",
            "How much nearer thin and thick are with alignshift than with tsm:",
        ]
        lines += ["", "| slices | runs | nearer by | 95 % |", "|---|---|---|---|", *shifted]
    tables.leave("phantoms", "Lesion phantoms", [*head, *lines], told.command)


def main() -> None:
    """Trains what is missing, and writes the table after each run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="as `thirdaxis prepare phantoms` wrote it")
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--rows", default="", help="rows such as acs-3,tsm-7; none takes all")
    parser.add_argument("--network", default="torchvision:mobilenet_v2")
    parser.add_argument("--weights", help="file of ImageNet weights")
    parser.add_argument("--size", type=int, default=128, help="pixels the network sees")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--rate", type=float, default=1e-3, help="learning rate")
    parser.add_argument("--precision", default="32")
    parser.add_argument("--accelerator", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], help="settings of every run")
    told = parser.parse_args()
    told.command = [told.data.name, "--runs", "runs", "--seeds", told.seeds]
    told.command += ["--steps", str(told.steps), "--network", told.network]
    told.command += ["--rate", f"{told.rate:g}", "--size", str(told.size)]
    told.command += ["--precision", told.precision]
    told.command += ["--weights", Path(told.weights).name] if told.weights else []
    for word in told.set:
        told.command += ["--set", word]
    told.runs.mkdir(parents=True, exist_ok=True)
    words = [word for word in told.rows.split(",") if word]
    chosen = [row for row in EVERY if not words or f"{row[0]}-{row[1]}" in words]
    # By seed first, so that a table of one seed is there early.
    for seed, row in itertools.product(map(int, told.seeds.split(",")), chosen):
        train(row, seed, told)
        write_table(told)
    write_table(told)


if __name__ == "__main__":
    main()
