"""First-layer kernels of pretrained 3D networks: do they learn differences along depth?

Draws the first kernels of every file, slice by slice, and tells the share of their energy that is
outside their mean over depth: 0 for kernels inflated from 2D, (D - 1) / D on average for a random
start. Three slices that are all kept never meet the first and the last of seven taps, so the share
is told of the five in between too.

    python benchmarks/kernels.py runs/pretrain/3d/pretrained.safetensors OTHER --out pictures/
"""

import argparse
from pathlib import Path

import tables

from thirdaxis.nets.kernels import energy_by_tap, first_kernels, outside_mean
from thirdaxis.nets.weights import read_tensors
from thirdaxis.tasks.kernel_pictures import draw_kernels


def line(name: str, file: Path, out: Path) -> str:
    """The row of a file; its picture is drawn."""
    kernels = first_kernels(read_tensors(file))
    size = "×".join(map(str, kernels.shape))
    if kernels.ndim == 4:
        return f"| {name} | {size} | – | – | – | – |"
    depth = kernels.shape[2]
    draw_kernels(kernels, out / f"{name.replace('/', '-')}.png", name)
    inner = outside_mean(kernels, range(1, depth - 1)) if depth > 3 else outside_mean(kernels)
    taps = " ".join(f"{100 * share:.1f}" for share in energy_by_tap(kernels))
    cells = [f"{outside_mean(kernels):.3f}", f"{1 - 1 / depth:.3f}", f"{inner:.3f}", taps]
    return f"| {name} | {size} | {' | '.join(cells)} |"


def main() -> None:
    """Draws every file and leaves the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", type=Path, nargs="+", help="weights, such as of `pretrain`")
    parser.add_argument("--out", type=Path, default=Path("kernels"), help="folder of the pictures")
    told = parser.parse_args()
    told.out.mkdir(parents=True, exist_ok=True)
    heads = "| file | kernels | share outside the mean over depth | of a random start | "
    heads += "without the outer taps | energy by tap, % |"
    names = [f"{file.resolve().parent.name}/{file.stem}" for file in told.files]
    lines = [line(name, file, told.out) for name, file in zip(names, told.files, strict=True)]
    about = [f"{tables.versions('torch')}.", "", heads, "|---|---|---|---|---|---|"]
    tables.leave("kernels", "First kernels along depth", [*about, *lines])


if __name__ == "__main__":
    main()
