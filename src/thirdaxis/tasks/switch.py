"""When a run changes its way: after some epochs, or when its training loss falls no further."""

import math
from collections.abc import Iterable, Sequence

from thirdaxis.tasks.schedule import in_steps
from thirdaxis.tasks.settings import When


def has_begun(when: When, losses: Sequence[float], *, epochs: int, plateau: int) -> bool:
    """Whether a change is made before an epoch; once made, it stays.

    It follows from the epochs before alone, which a checkpoint holds, so that a run that was
    stopped changes its way where the unbroken one does.

    Args:
        when: the change is made: after how many epochs, or on a plateau.
        losses: mean training loss of each epoch before this one.
        epochs: of the whole run.
        plateau: epochs without a lower loss after which the change is made.
    """
    if when is None:
        return False
    if when == "plateau":
        return longest_wait(losses) >= plateau
    return len(losses) >= in_steps(when, epochs)


def longest_wait(losses: Iterable[float]) -> int:
    """The most epochs in a row of which none had a lower loss than all before; nan is no loss."""
    lowest, waited, longest = math.inf, 0, 0
    for loss in losses:
        waited = 0 if loss < lowest else waited + 1
        lowest = loss if loss < lowest else lowest
        longest = max(longest, waited)
    return longest
