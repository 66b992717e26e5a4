"""Training runs of every task, by the `task` of their settings."""

import time
from pathlib import Path
from typing import Any

from thirdaxis.tasks.classification.run import CLASSIFY
from thirdaxis.tasks.detection.run import DETECT
from thirdaxis.tasks.engine import Display
from thirdaxis.tasks.hardware import check_launch, rank
from thirdaxis.tasks.locating.run import LOCATE
from thirdaxis.tasks.pretraining.classify.run import PRETRAIN_CLASSIFY
from thirdaxis.tasks.pretraining.detect.run import PRETRAIN_DETECT
from thirdaxis.tasks.run_folder import METRICS, SETTINGS, read_run
from thirdaxis.tasks.run_page import recorded_results, write_run_page
from thirdaxis.tasks.segmentation import summary as segment_summary
from thirdaxis.tasks.segmentation.run import SEGMENT
from thirdaxis.tasks.settings import RunSettings
from thirdaxis.tasks.task import Task

Metrics = dict[str, object]


TASKS: dict[str, Task[Any, Any, Any]] = {
    "segment": SEGMENT,
    "classify": CLASSIFY,
    "detect": DETECT,
    "pretrain-classify": PRETRAIN_CLASSIFY,
    "pretrain-detect": PRETRAIN_DETECT,
    "locate": LOCATE,
}


def train(settings: RunSettings, out: Path, display: Display | None = None) -> Metrics:
    """Trains and leaves a run folder.

    Args:
        settings: of the run; their `task` decides what is done.
        out: the run folder to make.
        display: how the run shows itself; none keeps it silent.

    Returns:
        What `metrics.json` holds; nothing from processes of `torchrun` but the first.

    Raises:
        ThirdaxisError: a fault in the settings or the data; no run folder is left then.
        OSError: the run folder cannot be written.
    """
    check_launch(settings.devices, settings.nodes)
    if rank() > 0:
        _wait_for(out)
        return TASKS[settings.task].resume(out, display)
    return TASKS[settings.task].train(settings, out, display)


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
    settings = read_run(out).settings
    check_launch(settings.devices, settings.nodes)
    return TASKS[settings.task].resume(out, display)


def report(out: Path) -> Path:
    """Writes the page of a run, finished or under way.

    Args:
        out: the run folder.

    Returns:
        The page's path.

    Raises:
        InputError: not a run folder, or the data of a finished run are gone.
        OSError: the page cannot be written.
    """
    run = read_run(out)
    if not (out / METRICS).is_file():
        return write_run_page(run)
    if run.settings.task == "segment":
        return segment_summary.write_report(run)
    return write_run_page(run, recorded_results(out))


def _wait_for(out: Path) -> None:
    """Until the first process has made the run folder; should it fail, torchrun ends this one."""
    while not (out / SETTINGS).is_file():
        time.sleep(0.1)
