"""Training runs that a benchmark starts, each in a process of its own, and what they leave."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def train(run: Path, words: Sequence[str], threads: int = 1) -> None:
    """Trains with these words of `thirdaxis train`, goes on where it was stopped, or does nothing.

    Args:
        run: folder of the run; what it says goes into a `.log` beside it.
        words: data, settings and options; left out when the run goes on.
        threads: of the process.
    """
    if (run / "metrics.json").exists():
        return
    told = ["--resume"] if run.exists() else list(words)
    count = str(threads)
    environment = os.environ | {"OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count}
    command = [sys.executable, "-m", "thirdaxis", "train", "--out", str(run), *told]
    with run.with_name(f"{run.name}.log").open("a", encoding="utf-8") as log:
        subprocess.run(command, check=True, env=environment, stdout=log, stderr=log)


def read(path: Path) -> dict[str, Any]:
    """A file of numbers that a run left."""
    return json.loads(path.read_text(encoding="utf-8"))
