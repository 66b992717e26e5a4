"""First-layer kernels of pretrained 3D networks: do they learn differences along depth?

Draws the first kernels of every file, slice by slice, and tells the share of their energy that is
outside their mean over depth: 0 for kernels inflated from 2D, (D - 1) / D on average for a random
start. Of a short training the start is most of what there is; a file in the folder of its run is
therefore compared with the start that the run's seed draws, and the share is told of the difference
alone: what was learnt. How far all kernels went from that start is told too, in its length, for the
stem and each stage. Three slices that are all kept never meet the first and the last of seven taps,
so the share is told of the five in between too.

    python benchmarks/kernels.py runs/pretrain/3d/pretrained.safetensors OTHER --out pictures/
"""

import argparse
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import tables
from torch import Tensor

from thirdaxis.nets.kernels import energy_by_tap, first_kernels, outside_mean
from thirdaxis.nets.weights import read_tensors
from thirdaxis.tasks.kernel_pictures import draw_kernels
from thirdaxis.tasks.pretraining.classify.network import make_pretrainee
from thirdaxis.tasks.pretraining.classify.settings import ClassifyPretrainSettings
from thirdaxis.tasks.run_folder import SETTINGS, read_run

Weights = Mapping[str, Tensor]
HEADS = (
    "first kernels: share outside the mean over depth",
    "of a random start",
    "of what was learnt",
    "all kernels: change ÷ start",
)


def start_of(file: Path) -> Weights | None:
    """The weights that the run of a file began with; none of a file without its run."""
    if not (file.parent / SETTINGS).is_file():
        return None
    run = read_run(file.parent)
    if not isinstance(run.settings, ClassifyPretrainSettings):
        return None
    return make_pretrainee(run.settings, len(run.plan.names)).net.state_dict()


def learnt(tensors: Weights, start: Weights | None) -> Tensor | None:
    """First kernels less those of the start; none without a start."""
    return None if start is None else first_kernels(tensors) - first_kernels(start)


def moved(tensors: Weights, start: Weights | None) -> str:
    """How far the kernels of each part of a network went from their start, in its length."""
    if start is None:
        return "–"
    change, length = defaultdict[str, float](float), defaultdict[str, float](float)
    for name, value in tensors.items():
        if value.ndim in (4, 5):
            part = name.partition(".")[0]
            change[part] += float((value - start[name]).square().sum())
            length[part] += float(start[name].square().sum())
    return ", ".join(f"{part} {(change[part] / length[part]) ** 0.5:.2f}" for part in length)


def shares(file: Path) -> list[str]:
    """The cells of `HEADS` for a file; a 2D network has a dash where depth is asked for."""
    return _cells(read_tensors(file), start_of(file))


def _cells(tensors: Weights, start: Weights | None) -> list[str]:
    kernels = first_kernels(tensors)
    if kernels.ndim == 4:
        return ["–", "–", "–", moved(tensors, start)]
    change = learnt(tensors, start)
    told = "–" if change is None else _inner(change)
    by_chance = f"{1 - 1 / kernels.shape[2]:.3f}"
    return [_inner(kernels), by_chance, told, moved(tensors, start)]


def _inner(kernels: Tensor) -> str:
    """Of all taps, and of those between the outer ones where there are more than three slices."""
    every, depth = outside_mean(kernels), kernels.shape[2]
    if depth <= 3:
        return f"{every:.3f}"
    return f"{every:.3f} ({outside_mean(kernels, range(1, depth - 1)):.3f})"


def line(name: str, file: Path, out: Path) -> str:
    """The row of a file; its picture is drawn, and that of what was learnt."""
    tensors, start = read_tensors(file), start_of(file)
    kernels = first_kernels(tensors)
    taps = "–"
    if kernels.ndim == 5:
        stem = name.replace("/", "-")
        draw_kernels(kernels, out / f"{stem}.png", name)
        taps = " ".join(f"{100 * share:.1f}" for share in energy_by_tap(kernels))
        if (change := learnt(tensors, start)) is not None:
            draw_kernels(change, out / f"{stem}-learnt.png", f"{name}: what was learnt")
    size = "×".join(map(str, kernels.shape))
    return f"| {name} | {size} | {' | '.join(_cells(tensors, start))} | {taps} |"


def main() -> None:
    """Draws every file and leaves the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", type=Path, nargs="+", help="weights, such as of `pretrain`")
    parser.add_argument("--out", type=Path, default=Path("kernels"), help="folder of the pictures")
    told = parser.parse_args()
    told.out.mkdir(parents=True, exist_ok=True)
    names = [f"{file.resolve().parent.name}/{file.stem}" for file in told.files]
    lines = [line(name, file, told.out) for name, file in zip(names, told.files, strict=True)]
    about = [
        f"{tables.versions('torch')}.",
        "",
        "In brackets without the first and the last tap.",
        "",
        f"| file | kernels | {' | '.join(HEADS)} | energy by tap, % |",
        "|---" * (len(HEADS) + 3) + "|",
    ]
    tables.leave("kernels", "First kernels along depth", [*about, *lines])


if __name__ == "__main__":
    main()
