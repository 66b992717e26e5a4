"""Windows or slabs: what each costs on whole series, and what it changes in FROC.

    thirdaxis prepare phantoms phantoms --series 120
    thirdaxis train RECIPE.yaml --set data=phantoms --out run
    python benchmarks/whole_ct.py run phantoms [--series 18] [--slices 24] [--size 256]

The first table runs a trained detector over every slice of the test series in both modes and scores
the key slices. The second runs the published network, DenseNet-121 with random weights, over a CT
of noise, for speed and memory alone. Each row is a process of its own; its peak memory is the
resident memory that the kernel tells when it ends, or on a card what torch allocated there.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from tables import leave, threads_and_load, versions

from thirdaxis.data.lesions.detections import read_detections, write_detections
from thirdaxis.data.phantoms.sets import phantom_note
from thirdaxis.data.volume import Volume
from thirdaxis.metrics.froc import froc, froc_intervals
from thirdaxis.metrics.froc_paired import froc_difference
from thirdaxis.nets.lesion.detector import make_detector
from thirdaxis.tasks.detection.finder import Finder, load_finder
from thirdaxis.tasks.detection.network import detector_settings
from thirdaxis.tasks.detection.plan import DetectPlan
from thirdaxis.tasks.detection.settings import DetectSettings
from thirdaxis.tasks.detection.slab import Looking
from thirdaxis.tasks.detection.sources import find_sources
from thirdaxis.tasks.detection.truth import find_truth

WAYS = {
    "windows": {"mode": "windows"},
    "slab, context 8": {"mode": "slab", "context": 8},
    "short slab, no context": {"mode": "slab", "slab": 4, "context": 0},
    "short slab, context 2": {"mode": "slab", "slab": 4, "context": 2},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--series", type=int, default=1000, help="test series at most")
    parser.add_argument("--slices", type=int, default=24, help="of the CT of noise; 0 leaves out")
    parser.add_argument("--size", type=int, default=256, help="pixels of the CT of noise")
    parser.add_argument("--depths", type=int, nargs="+", default=[3, 7])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=Path("whole_ct"))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.one:
        print(json.dumps(measured(told, json.loads(told.one))))
        return
    busy = os.getloadavg()[0]
    told.out.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    if told.run is not None:
        lines += trained(told)
    if told.slices:
        lines += published(told)
    lines += [
        "Slices per s of the processor's own time; peak: resident memory of the process, MiB."
        if told.device == "cpu"
        else "Slices per s by the clock; peak: memory that torch allocated on the card, MiB.",
        f"{versions('torch', 'torchvision')}.",
        threads_and_load(torch.get_num_threads(), busy),
    ]
    leave("whole-ct", "Whole series in windows and in slabs", lines, script="whole_ct")


def trained(told: argparse.Namespace) -> list[str]:
    """The table of a trained detector."""
    finder = load_finder(told.run, "cpu")
    truth = find_truth(told.data)
    names = sorted({one.name.split("/")[0] for one in truth.slices})[: told.series]
    slices = [one for one in truth.slices if one.name.split("/")[0] in names]
    wanted = {one.name: one.boxes for one in slices}
    patients = {one.name: one.patient for one in slices}
    parts = {
        "thin": [one.name for one in slices if one.spacing[0] <= 2],
        "thick": [one.name for one in slices if one.spacing[0] > 2],
    }
    lines = [
        f"A detector trained on phantoms ({finder.settings.network}, {finder.settings.fusion}, "
        f"{finder.plan.depth} slices and {finder.plan.context} more at either end, "
        f"{finder.plan.size} pixels) on every slice of {len(names)} "
        f"test series; FROC on their {len(slices)} key slices with "
        f"{sum(map(len, wanted.values()))} lesions. {phantom_note(told.data) or ''}",
        "",
        "| mode | slices | slices per s | peak | FROC (95 %) | thin | thick | against windows |",
        "|---|---|---|---|---|---|---|---|",
    ]
    first = None
    for name, way in WAYS.items():
        target = told.out / f"{name.replace(', ', '-').replace(' ', '-')}.json"
        cost = child(told, {"way": way, "names": names, "target": str(target)})
        found = {name: one for name, one in read_detections(target).items() if name in wanted}
        scored = froc(found, wanted)
        first = first or scored
        low, high = froc_intervals(scored, patients).mean
        apart = froc_difference(scored, first, patients)
        span = f"{apart.mean:+.3f} ({apart.low:+.3f} to {apart.high:+.3f})"
        cells = [
            name,
            str(cost["slices"]),
            f"{cost['slices'] / cost['seconds']:.2f}",
            f"{cost['peak']:.0f}",
            f"{scored.mean:.3f} ({low:.3f} to {high:.3f})",
            *(f"{scored.part(part).mean:.3f}" for part in parts.values()),
            "" if scored is first else span,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def published(told: argparse.Namespace) -> list[str]:
    """The table of the published network on noise."""
    lines = [
        f"The published network (DenseNet-121, ACS in its dense layers, no masks, random weights) "
        f"on noise of {told.slices} slices of {told.size} x {told.size}, their own neighbours.",
        "",
        "| slices seen | mode | slices per s | peak |",
        "|---|---|---|---|",
    ]
    for depth in told.depths:
        for name in ("windows", "slab, context 8"):
            cost = child(told, {"way": WAYS[name], "depth": depth})
            speed = cost["slices"] / cost["seconds"]
            lines.append(f"| {depth} | {name} | {speed:.3f} | {cost['peak']:.0f} |")
    return [*lines, ""]


def child(told: argparse.Namespace, one: dict[str, object]) -> dict[str, float]:
    """What one way costs, in a process of its own."""
    words = [sys.executable, __file__, "--one", json.dumps(one), "--device", told.device]
    words += ["--slices", str(told.slices), "--size", str(told.size)]
    if told.run is not None:
        words += [str(told.run), str(told.data)]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def measured(told: argparse.Namespace, one: dict) -> dict[str, float]:
    """Goes through the series, and tells slices, seconds and peak memory."""
    looking = Looking(**one["way"])
    seconds, slices, boxes = 0.0, 0, {}
    finder = noise_finder(one["depth"], told) if "depth" in one else load_finder(told.run, "cpu")
    finder.net.to(told.device)
    finder = Finder(finder.net, finder.settings, finder.plan, torch.device(told.device))
    # On a CPU that others use too, the process's own time says more than the clock's.
    clock = time.process_time if told.device == "cpu" else time.perf_counter
    for names, turned in scans(told, one):
        started = clock()
        found = finder(turned, looking)
        seconds += clock() - started
        slices += len(names)
        for number, name in enumerate(names):
            here = found.slices == number
            boxes[name] = torch.tensor(found.boxes[here]), torch.tensor(found.scores[here])
    if "target" in one:
        write_detections(one["target"], boxes)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if told.device != "cpu":
        peak = torch.cuda.max_memory_allocated() / 2**20
    return {"slices": slices, "seconds": seconds, "peak": peak}


def scans(told: argparse.Namespace, one: dict) -> Iterator[tuple[list[str], Volume]]:
    """Series as the detector looks at them, and the names of their slices."""
    if "depth" in one:
        random = torch.Generator().manual_seed(0)
        noise = torch.randn(1, told.slices, told.size, told.size, generator=random) * 300
        affine = torch.diag(torch.tensor([2.0, 1.0, 1.0, 1.0], dtype=torch.float64))
        yield [str(n) for n in range(told.slices)], Volume(noise, affine)
        return
    for source in find_sources(told.data):
        if source.name in one["names"]:
            volume = source.read()
            yield source.slice_names(volume.shape[0]), volume


def noise_finder(depth: int, told: argparse.Namespace) -> Finder:
    """The published detector with random weights."""
    settings = DetectSettings(
        data="none", fusion="acs", depth=depth, interval="native", size=told.size, masks=False
    )
    plan = DetectPlan.of(settings)
    net = make_detector(detector_settings(settings, plan)).eval()
    return Finder(net, settings, plan, torch.device("cpu"))


if __name__ == "__main__":
    main()
