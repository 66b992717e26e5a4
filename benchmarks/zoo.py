"""The zoo: which public 2D networks convert, each proven in numbers in a process of its own.

Builds every network of a suite with random weights, tries out on it all that
`thirdaxis.convert.proof.prove` claims, and writes a dated table as Markdown and CSV.

    python benchmarks/zoo.py --suite timm --limit 300 --out benchmarks/results
    python benchmarks/zoo.py --suite smp --limit 300 'unet/*'

Suites: torchvision, detection (backbones), smp, timm (the smallest network of each module),
timm-others (a random one of 40 modules), transformers.
"""

import argparse
import csv
import multiprocessing
import platform
import resource
import time
import warnings
from collections import Counter
from collections.abc import Callable
from datetime import date
from fnmatch import fnmatchcase
from importlib import metadata
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from zoo_networks import SUITES, NotIn2D, network_and_side

from thirdaxis.convert.proof import prove

RESULTS = Path(__file__).parent / "results"
COLUMNS = (
    *("model", "status", "side", "parameters", "lifted", "executed", "depth"),
    *("error", "sensitivity", "seconds", "reason"),
)
LIBRARIES = ("torch", "torchvision", "timm", "segmentation-models-pytorch", "transformers")
Judge = Callable[[str, str], dict[str, Any]]
OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "unable to mmap", "MemoryError")


def judge(suite: str, name: str) -> dict[str, Any]:
    """Proves one network, in this process."""
    try:
        net, side = network_and_side(suite, name)
    except NotIn2D as error:
        return {"status": "not in 2D", "reason": str(error)}
    proof = prove(net, torch.randn(2, 3, side, side))
    axial = len(proof.executed) - proof.lifted
    said = [proof.failure] if proof.failure else [f"{axial} kernels not square"] if axial else []
    return {
        "status": "ok" if proof.passed else "FAILED",
        "reason": "; ".join([*said, *proof.notes]),
        "side": side,
        "parameters": proof.parameters,
        "lifted": proof.lifted,
        "executed": len(proof.executed),
        "depth": "strided" if proof.depth_stride else "kept",
        "error": f"{proof.error:.0e}",
        "sensitivity": f"{proof.sensitivity:.0e}",
    }


def judge_apart(judge: Judge, suite: str, name: str, limit: float, memory: float) -> dict[str, Any]:
    """Judges one network in a process of one thread, within so many seconds and GiB."""
    started = time.monotonic()
    row: dict[str, Any] = {"model": name}
    apart = multiprocessing.get_context("fork")  # the libraries are imported once, before it
    receiver, sender = apart.Pipe(duplex=False)
    process = apart.Process(target=tell, args=(sender, judge, suite, name, memory))
    process.start()
    sender.close()
    try:
        if receiver.poll(limit):
            row |= receiver.recv()
        else:
            row |= {"status": "too long", "reason": f"more than {limit:g} s"}
    except EOFError:
        process.join()
        row |= {"status": "FAILED", "reason": f"exit code {process.exitcode}"}
    process.kill()
    process.join()
    if row["status"] == "FAILED" and any(words in row["reason"] for words in OUT_OF_MEMORY):
        row |= {"status": "too large", "reason": f"more than {memory:g} GiB"}
    return row | {"seconds": round(time.monotonic() - started, 1)}


def tell(sender: Connection, judge: Judge, suite: str, name: str, memory: float) -> None:
    """Judges one network within so many GiB, and sends what came of it."""
    most = int(memory * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    warnings.simplefilter("ignore")
    try:
        sender.send(judge(suite, name))
    except Exception as error:
        said = str(error).strip() or repr(error)
        sender.send({"status": "FAILED", "reason": said.splitlines()[0]})


def table(suite: str, rows: list[dict[str, Any]], command: str) -> str:
    """The rows as a page of Markdown."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in LIBRARIES)
    counts = ", ".join(f"{n} {status}" for status, n in Counter(r["status"] for r in rows).items())
    minutes = sum(row["seconds"] for row in rows) / 60
    lines = [
        f"# Zoo: {suite}, {date.today()}",
        "",
        f"`{command}`",
        "",
        f"Python {platform.python_version()}, {versions}; {platform.machine()}, one thread.",
        "",
        f"{len(rows)} networks: {counts}; {minutes:.0f} minutes. Random weights, ACS; what *ok* "
        "means is written in `thirdaxis.convert.proof.prove`. *side*: height and width of the "
        "pictures; *error*: largest deviation from the 2D answers under slicewise, as a share of "
        "the sensitivity; *lifted*: of the spatial convolutions that ran.",
        "",
        "| model | status | side | parameters | lifted | depth | error | seconds | reason |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        shown = {key: row.get(key, "") for key in COLUMNS}
        shown["reason"] = shown["reason"].replace("|", "/")
        if shown["parameters"]:
            shown["parameters"] = f"{shown['parameters'] / 1e6:.1f} M"
            shown["lifted"] = f"{shown['lifted']} / {shown['executed']}"
        wanted = [key for key in COLUMNS if key not in ("executed", "sensitivity")]
        lines.append("| " + " | ".join(str(shown[key]) for key in wanted) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Judges what was asked for, one network after the other, and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="patterns of models; none takes all")
    parser.add_argument("--suite", required=True, choices=SUITES)
    parser.add_argument("--limit", type=float, default=300, help="seconds a network")
    parser.add_argument("--memory", type=float, default=16, help="GiB a network")
    parser.add_argument("--resume", action="store_true", help="keep what today's table has")
    parser.add_argument("--out", type=Path, help="folder for the tables; none only prints")
    told = parser.parse_args()
    torch.set_num_threads(1)
    names = told.names
    if not names or any("*" in name for name in names):
        every = SUITES[told.suite][0]()
        names = [n for n in every if any(fnmatchcase(n, p) for p in names or ["*"])]
    rows = kept(told.suite, told.out, names) if told.resume and told.out is not None else []
    done = {row["model"] for row in rows}
    for name in names:
        if name in done:
            continue
        rows.append(judge_apart(judge, told.suite, name, told.limit, told.memory))
        row = rows[-1]
        print(f"{row['seconds']:7.1f} s  {row['status']:9} {name}  {row['reason']}", flush=True)
        if told.out is not None:
            write(told.suite, rows, told.out, told.limit)


def place(suite: str, out: Path) -> Path:
    """Where the tables of a suite go, without the ending."""
    return out / f"{date.today()}-zoo-{suite}"


def write(suite: str, rows: list[dict[str, Any]], out: Path, limit: float) -> None:
    """Writes the rows so far as Markdown and as CSV."""
    out.mkdir(parents=True, exist_ok=True)
    command = f"python benchmarks/zoo.py --suite {suite} --limit {limit:g} --out benchmarks/results"
    stem = place(suite, out)
    stem.with_suffix(".md").write_text(table(suite, rows, command), encoding="utf-8")
    with stem.with_suffix(".csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(rows)


def kept(suite: str, out: Path, names: list[str]) -> list[dict[str, Any]]:
    """The rows of today's table that hold: of these names, and converted or not in 2D."""
    path = place(suite, out).with_suffix(".csv")
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))
    for row in rows:
        row["seconds"] = float(row["seconds"])
        row["parameters"] = int(row["parameters"]) if row["parameters"] else ""
    return [r for r in rows if r["model"] in names and r["status"] in ("ok", "not in 2D")]


if __name__ == "__main__":
    main()
