"""Training runs of every task, by the `task` of their settings."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thirdaxis.tasks import segment_run
from thirdaxis.tasks.engine import Display
from thirdaxis.tasks.run_folder import read_run
from thirdaxis.tasks.settings import RunSettings

Metrics = dict[str, object]


@dataclass(frozen=True)
class Runner:
    """How a task trains, and goes on with a run; both return what `metrics.json` holds."""

    train: Callable[[Any, Path, Display | None], Metrics]
    resume: Callable[[Path, Display | None], Metrics]


RUNNERS = {"segment": Runner(segment_run.train, segment_run.resume)}


def train(settings: RunSettings, out: Path, display: Display | None = None) -> Metrics:
    """Trains and leaves a run folder.

    Args:
        settings: of the run; their `task` decides what is done.
        out: the run folder to make.
        display: how the run shows itself; none keeps it silent.

    Returns:
        What `metrics.json` holds.

    Raises:
        ThirdaxisError: a fault in the settings or the data; no run folder is left then.
        OSError: the run folder cannot be written.
    """
    return RUNNERS[settings.task].train(settings, out, display)


def resume(out: Path, display: Display | None = None) -> Metrics:
    """Goes on with a run from its last whole epoch, to what the unbroken run would have given.

    Args:
        out: the run folder.
        display: how the run shows itself; none keeps it silent.

    Returns:
        What `metrics.json` holds.

    Raises:
        ThirdaxisError: not a run folder, a damaged checkpoint, or data that is gone.
    """
    return RUNNERS[read_run(out).settings.task].resume(out, display)
