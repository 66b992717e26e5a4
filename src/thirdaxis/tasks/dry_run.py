"""A run without its data, of every task: the network counted, one step on stand-ins."""

import warnings
from collections.abc import Callable

import yaml

from thirdaxis.tasks import dry_classify, dry_segment
from thirdaxis.tasks.settings import RunSettings

DRY_RUNS: dict[str, Callable[..., None]] = {
    "segment": dry_segment.dry_run,
    "classify": dry_classify.dry_run,
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
    say(yaml.safe_dump(settings.plain(), sort_keys=False).rstrip())
    with warnings.catch_warnings():
        # The step is taken without Lightning's trainer, which would keep what is logged.
        warnings.filterwarnings("ignore", message="You are trying to `self.log")
        DRY_RUNS[settings.task](settings, say, step=step)
