"""How any run steps: the optimiser, and the learning rate at each step."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from thirdaxis.tasks.settings import RunSettings

Schedule = Literal["poly", "cosine", "step", "constant"]


def rate_at(
    step: int,
    steps: int,
    schedule: Schedule,
    *,
    rising: int = 0,
    first: float | None = None,
    least: float = 0.0,
    milestones: Sequence[int] = (),
    gamma: float = 0.1,
) -> float:
    """The learning rate at a step, as a share of the highest one.

    Args:
        step: counted from 0.
        steps: of the whole run.
        schedule: `poly`, (1 - t)^0.9 (Chen et al., DeepLab, 2017), `cosine` (Loshchilov and Hutter,
            SGDR, 2017), `step`, or `constant`.
        rising: first steps, in which the rate rises linearly.
        first: share that the first step has; none rises from zero, before the first step.
        least: share that `poly` and `cosine` end on.
        milestones: steps at which `step` multiplies the rate by `gamma`.
        gamma: see `milestones`.

    Returns:
        A number from 0 to 1.
    """
    if step < rising:
        return (step + 1) / (rising + 1) if first is None else first + (1 - first) * step / rising
    if schedule == "constant":
        return 1.0
    if schedule == "step":
        return gamma ** sum(step >= milestone for milestone in milestones)
    done = min((step - rising) / max(steps - rising, 1), 1.0)
    falling = (1 - done) ** 0.9 if schedule == "poly" else 0.5 * (1 + math.cos(math.pi * done))
    return least + (1 - least) * falling


def in_steps(told: float, whole: int, unit: int = 1) -> int:
    """A share of the run (below 1), or a count of units (from 1), in steps.

    Args:
        told: the share or the count.
        whole: steps of the run.
        unit: steps of a unit.
    """
    return round(told * (whole if told < 1 else unit))


def optimiser_of(settings: RunSettings, weights: Iterable[nn.Parameter]) -> Optimizer:
    """The optimiser that settings name, over weights."""
    rate, decay = settings.rate, settings.weight_decay
    if settings.optimiser == "sgd":
        return SGD(
            weights,
            rate,
            momentum=settings.momentum,
            nesterov=settings.nesterov and settings.momentum > 0,
            weight_decay=decay,
        )
    kind = Adam if settings.optimiser == "adam" else AdamW
    return kind(weights, rate, weight_decay=decay)


def stepping(
    settings: RunSettings, net: nn.Module, steps: int
) -> tuple[list[Optimizer], list[dict[str, Any]]]:
    """The optimiser of a run and its schedule over all steps, as Lightning takes them.

    Args:
        settings: of the run.
        net: its trainable weights are optimised.
        steps: of the whole run.
    """
    optimiser = optimiser_of(settings, (w for w in net.parameters() if w.requires_grad))
    milestones = [
        in_steps(milestone, steps, steps // settings.epochs) for milestone in settings.milestones
    ]

    def share(step: int) -> float:
        return rate_at(
            step,
            steps,
            settings.schedule,
            rising=in_steps(settings.warmup, steps),
            first=settings.warmup_from,
            least=settings.lowest_rate / settings.rate,
            milestones=milestones,
            gamma=settings.gamma,
        )

    return [optimiser], [{"scheduler": LambdaLR(optimiser, share), "interval": "step"}]
