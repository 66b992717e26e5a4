"""What heads the dated tables that benchmarks leave, and where these lie."""

import os
import platform
import shlex
import sys
from collections.abc import Iterable
from datetime import date
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def versions(*packages: str) -> str:
    """Versions of Python and of these packages, and the processor."""
    told = [f"Python {platform.python_version()}", *(f"{p} {version(p)}" for p in packages)]
    return f"{', '.join(told)}; {platform.machine()}"


def threads_and_load(threads: int | str, busy: float) -> str:
    """How many threads ran, and how busy the machine was, given the load before."""
    return (
        f"{threads} threads of {os.cpu_count()} cores, load {busy:.1f} at the start and "
        f"{os.getloadavg()[0]:.1f} at the end (1 minute's mean)."
    )


def leave(
    name: str,
    title: str,
    lines: Iterable[str],
    command: list[str] | None = None,
    script: str | None = None,
) -> None:
    """Writes a table under its title, today's date and the command that made it, and prints it."""
    words = [
        "python",
        f"benchmarks/{script or name}.py",
        *(sys.argv[1:] if command is None else command),
    ]
    # Where files lie on this machine is nobody's concern.
    words = [Path(word).name if Path(word).is_absolute() else word for word in words]
    text = [f"# {title}, {date.today()}", "", f"`{shlex.join(words)}`", "", *lines, ""]
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / f"{date.today()}-{name}.md"
    target.write_text("\n".join(text), encoding="utf-8")
    print(target.read_text(encoding="utf-8"))
