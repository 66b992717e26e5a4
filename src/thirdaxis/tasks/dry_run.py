"""A run without its data, of every task: the network counted, one step on stand-ins."""

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml

from thirdaxis.tasks.classification import dry as dry_classify
from thirdaxis.tasks.cost import cost_of
from thirdaxis.tasks.detection import dry as dry_detect
from thirdaxis.tasks.locating import dry as dry_locate
from thirdaxis.tasks.pretraining.classify import dry as dry_pretrain_classify
from thirdaxis.tasks.pretraining.detect import dry as dry_pretrain_detect
from thirdaxis.tasks.segmentation import dry as dry_segment
from thirdaxis.tasks.settings import RunSettings

TASKS: dict[str, Any] = {
    "segment": dry_segment,
    "classify": dry_classify,
    "detect": dry_detect,
    "pretrain-classify": dry_pretrain_classify,
    "pretrain-detect": dry_pretrain_detect,
    "locate": dry_locate,
}
SMALL: dict[str, Any] = {
    "batch": 2,
    "epochs": 1,
    "epoch_steps": 1,
    "folds": 2,
    "fold": 0,
    "fraction": 1.0,
    "cache": None,
    "workers": 0,
    "devices": 1,
    "nodes": 1,
    "accelerator": "cpu",
}


def dry_run(settings: RunSettings, say: Callable[[str], None], *, step: bool = True) -> None:
    """Tells the settings in full, what the network costs, and what one small step gave.

    Nothing is left behind. The network is the run's own at its full size on the meta device; the
    step is taken by it in the smallest patches that it allows, on random scans.

    Args:
        settings: of the run; its data need not exist, its weights need not be there.
        say: told line by line.
        step: whether to train and predict besides counting.

    Raises:
        ThirdaxisError: whatever would stop the run, but for absent data and weights.
    """
    task = TASKS[settings.task]
    say(yaml.safe_dump(settings.plain(), sort_keys=False).rstrip())
    with torch.device("meta"):
        net, size = task.network_of(settings)
    batch = (settings.batch, 1, *size)
    cost = cost_of(net, batch, settings.optimiser)
    say(f"network: {settings.network} by {settings.fusion}: {cost}")
    say(f"batch: {batch} to {cost.answer}")
    if not step:
        return
    small = task.small_of(net, size)
    absent = settings.weights is not None and not Path(settings.weights).is_file()
    if absent:
        say(f"weights: {settings.weights} not loaded; a random start stands in")
    told = settings.model_copy(update=SMALL | ({"weights": None} if absent else {}))
    with tempfile.TemporaryDirectory(prefix="thirdaxis-dry-") as place, warnings.catch_warnings():
        # The step is taken without Lightning's trainer, which would keep what is logged.
        warnings.filterwarnings("ignore", message="You are trying to `self.log")
        loss, answer = task.step(told, small, Path(place))
    say(f"one step on stand-ins of {'×'.join(map(str, small))}: loss {loss:.4f}")
    say(f"prediction of a held-out stand-in: {answer}")
