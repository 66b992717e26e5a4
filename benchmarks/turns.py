"""Which public 2D networks run under `planecycle`, each in a process of its own.

For every network, with random weights in double precision: the blocks that are found and their
planes; whether slices alone (``order=("HW",)``) equal `slicewise` to rounding; whether the tokens
and pixels of the first block of each size lie where they are taken to lie (their gradient in the
picture is largest there); and which volumes run: of an odd number of slices, or cubes of tokens
alone.

    python benchmarks/turns.py --suite timm --limit 200 --out benchmarks/results
"""

import argparse
import copy
import platform
from collections import Counter
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import nn
from zoo import judge_apart
from zoo_networks import SUITES, NotIn2D, network_and_side

import thirdaxis
from thirdaxis.convert import turned
from thirdaxis.convert.check import tensors
from thirdaxis.convert.grids import Grid

COLUMNS = ("model", "status", "side", "blocks", "planes", "places", "seconds", "reason")


class WrongPlace(Exception):
    """A token does not lie where it is taken to lie."""


def run(net: nn.Module, fusion: Any, depth: int, side: int) -> list[torch.Tensor]:
    """What a network answers to a volume of noise."""
    lifted = thirdaxis.convert(net, fusion, depth_stride=False)
    torch.manual_seed(1)
    volume = torch.randn(1, 3, depth, side, side, dtype=torch.float64)
    with torch.no_grad():
        answers = tensors(lifted(volume))
    if not all(answer.isfinite().all() for answer in answers):
        raise OverflowError("the answer is not finite")
    return answers


def recorded(net: nn.Module, side: int) -> dict[str, Grid]:
    """How each block's tensors hold a slice, as it was told in a run on slices."""
    found: dict[str, Grid] = {}
    original = turned.grid_of

    def noting(tensors: Any, told: Any, turn: Any, call: Any) -> Grid:
        found[turn.name] = original(tensors, told, turn, call)
        return found[turn.name]

    turned.grid_of = noting
    try:
        run(net, thirdaxis.PlaneCycle(order=("HW",)), 2, side)
    finally:
        turned.grid_of = original
    return found


def places(net: nn.Module, side: int, grids: dict[str, Grid]) -> str:
    """Where on the 2D network the tokens of the first block of each size come from.

    Raises:
        WrongPlace: most of those of the first block come from elsewhere.
    """
    firsts: dict[Any, str] = {}
    for name, grid in grids.items():
        firsts.setdefault(grid.sides, name)
    modules, seen = dict(net.named_modules()), {}
    for name in firsts.values():

        def note(module: nn.Module, args: tuple, kwargs: dict, name: str = name) -> None:
            flat = [x for x in (*args, *kwargs.values()) if isinstance(x, list | torch.Tensor)]
            seen.setdefault(name, flat[0][0] if isinstance(flat[0], list) else flat[0])

        modules[name].register_forward_pre_hook(note, with_kwargs=True)
    picture = torch.randn(2, 3, side, side, dtype=torch.float64, requires_grad=True)
    net(picture)  # two, for torch's batch norm has wrong gradients of single pictures
    right = tried = 0
    first = True
    for name, x in seen.items():
        grid = grids[name]
        height, width = grid.sides
        if height * width < 4:
            continue
        at = grid.tokens - 1
        if x.dim() == 4:
            spread = x.movedim((grid.rows - 1, grid.rows), (0, 1))
        else:
            spread = x.narrow(at, grid.prefix, grid.area).unflatten(at, grid.sides)
            spread = spread.movedim((at, at + 1), (0, 1))
        for row, column in {(0, width - 1), (height - 1, 0), (height - 1, width // 3)}:
            value = spread[row, column].flatten()
            heat = torch.zeros(height, width, dtype=torch.float64)
            for _ in range(4):
                weighed = (value * torch.randn_like(value)).sum()
                slope = torch.autograd.grad(weighed, picture, retain_graph=True)[0][:1]
                heat += nn.functional.adaptive_avg_pool2d(slope.square().sum(1), (height, width))[0]
            peak = divmod(int(heat.argmax()), width)
            far = max(abs(peak[0] - row), abs(peak[1] - column))
            swapped = max(abs(peak[0] - column), abs(peak[1] - row))
            near = far <= max(1, 0.35 * max(height, width)) and far < swapped
            right, tried = right + near, tried + 1
        if first and right < 0.7 * tried:  # later ones have met attention to all positions
            raise WrongPlace(f"{tried - right} of {tried} tokens come from elsewhere")
        first = False
    return f"{right} of {tried}"


def judge(suite: str, name: str) -> dict[str, Any]:
    """Tries one network, in this process."""
    try:
        net, side = network_and_side(suite, name)
        net = net.double().eval()
    except NotIn2D as error:
        return {"status": "not in 2D", "reason": str(error)}
    row: dict[str, Any] = {"side": side}
    try:
        turns = thirdaxis.convert(net, "planecycle")._thirdaxis.turns
        counts = Counter(turn.plane for turn in turns.values())
        row["planes"] = ", ".join(f"{plane} {n}" for plane, n in sorted(counts.items())[::-1])
        row["blocks"] = len(turns)
        grids = recorded(net, side)
        one = run(net, thirdaxis.PlaneCycle(order=("HW",)), 3, side)
        other = run(net, "slicewise", 3, side)
        if not all(torch.allclose(a, b, 1e-9, 1e-12) for a, b in zip(one, other, strict=True)):
            return row | {"status": "FAILED", "reason": "slices alone differ from slicewise"}
        row["places"] = places(copy.deepcopy(net), side, grids)
        if len(grids) < len(turns):
            row["reason"] = f"{len(turns) - len(grids)} blocks are not called"
    except Exception as error:
        by_kind = {WrongPlace: "FAILED", OverflowError: "overflows"}
        status = by_kind.get(type(error), "refuses")
        return row | {"status": status, "reason": str(error).splitlines()[0]}
    try:
        cycled = run(net, "planecycle", 3, side)
        if "D" in row["planes"] and all(map(torch.equal, cycled, other)):
            return row | {"status": "FAILED", "reason": "nothing changes"}
        return row | {"status": "any sides"}
    except Exception as error:
        row["reason"] = str(error).splitlines()[0]
    for depth in sorted({grid.sides[0] for grid in grids.values()}):
        try:
            run(net, "planecycle", depth, side)
            return row | {"status": "cubes", "reason": f"{depth} slices; else {row['reason']}"}
        except Exception as error:
            said = str(error).splitlines()[0]
    return row | {"status": "refuses", "reason": said}


def table(suite: str, rows: list[dict[str, Any]], command: str) -> str:
    """The rows as a page of Markdown."""
    libraries = ("torch", "torchvision", "timm", "transformers")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in libraries)
    counts = ", ".join(f"{n} {status}" for status, n in Counter(r["status"] for r in rows).items())
    lines = [
        f"# PlaneCycle on the zoo: {suite}, {date.today()}",
        "",
        f"`{command}`",
        "",
        f"Python {platform.python_version()}, {versions}; AMD EPYC, 2 cores, 24 GiB, one thread.",
        "",
        f"{len(rows)} networks: {counts}. Random weights, double precision, depth kept. "
        "*any sides*: a volume of three slices runs; *cubes*: only one of as many slices as a map "
        'has rows; *refuses*: an error says why. Wherever it runs, `order=("HW",)` equals '
        "`slicewise` to rounding. *places*: tokens or pixels, of those tried, whose gradient in "
        "the picture is largest where the block takes them to lie.",
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|---" * len(COLUMNS) + "|",
    ]
    for row in rows:
        cells = [str(row.get(key, "")).replace("|", "/") for key in COLUMNS]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Tries what was asked for, one network after the other, and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="networks; none takes all")
    parser.add_argument("--suite", required=True, choices=SUITES)
    parser.add_argument("--limit", type=float, default=200, help="seconds a network")
    parser.add_argument("--memory", type=float, default=16, help="GiB a network")
    parser.add_argument("--out", type=Path, help="folder for the table; none only prints")
    told = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name in told.names or SUITES[told.suite][0]():
        rows.append(judge_apart(judge, told.suite, name, told.limit, told.memory))
        row = rows[-1]
        print(*(f"{row.get(key, '')!s:>10}" for key in COLUMNS), flush=True)
        if told.out is not None:
            told.out.mkdir(parents=True, exist_ok=True)
            command = f"python benchmarks/turns.py --suite {told.suite} --limit {told.limit:g}"
            page = told.out / f"{date.today()}-turns-{told.suite}.md"
            page.write_text(table(told.suite, rows, command), encoding="utf-8")


if __name__ == "__main__":
    main()
