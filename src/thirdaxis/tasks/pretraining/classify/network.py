"""The network of pretraining by classification: converted to volumes, or in 2D as it is."""

from pathlib import Path

import torch

from thirdaxis.convert.lift import beside
from thirdaxis.errors import InputError, UsageError
from thirdaxis.nets.build import build, weights_named
from thirdaxis.nets.frozen import freeze
from thirdaxis.nets.pretrained import holds_volumes
from thirdaxis.nets.starts import start_anew
from thirdaxis.tasks.network import Made, converted, from_run
from thirdaxis.tasks.pretraining.classify.settings import ClassifyPretrainSettings


def make_pretrainee(settings: ClassifyPretrainSettings, classes: int, *, load: bool = True) -> Made:
    """Builds, loads and converts the network of a run, from the run's seed.

    Args:
        settings: of the run.
        classes: outputs of the last layer.
        load: whether to load the weights that the settings name; a checkpoint follows otherwise.

    Returns:
        (N, 1, 3, H, W) to (N, classes), or (N, 3, H, W) in 2D, in training mode.

    Raises:
        ThirdaxisError: an unknown network or fusion, weights that do not fit, or pictures too small
            for the network.
    """
    if settings.in_3d:
        made = converted(settings, "classify", classes=classes, channels=1, depth=3, load=load)
    else:
        made = _flat(settings, classes, load)
    try:
        with torch.no_grad():
            picture = torch.zeros(1, *settings.sample)
            out = made.net.eval()(picture, **beside(made.net, picture))
    except (RuntimeError, AssertionError, InputError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UsageError(
            f"a picture of {settings.size} pixels does not go through {settings.network}: {reason}"
        ) from error
    given = tuple(getattr(out, "shape", ())) or type(out).__name__
    if given != (1, classes):
        raise UsageError(
            f"{settings.network} gives {given} for a picture, expected (1, {classes}): it is no "
            "classifier"
        )
    made.net.train()
    return made


def _flat(settings: ClassifyPretrainSettings, classes: int, load: bool) -> Made:
    torch.manual_seed(settings.seed)
    weights = weights_named(settings.weights) if load else None
    run = weights if isinstance(weights, Path) and weights.is_dir() else None
    if isinstance(weights, Path) and run is None and holds_volumes(weights):
        raise InputError(
            f"{weights}: holds 3D kernels, and transform 'none' trains a 2D network; name 2D "
            "weights, or leave the transform out"
        )
    built = build(
        settings.network,
        classes=classes,
        in_channels=3,
        weights=None if run else weights,
        task="classify",
    )
    if settings.start:
        start_anew(built.net, settings.start, zero_last_norm=settings.zero_last_norm)
    report = from_run(built.net, run) if run is not None else built.weights
    freeze(built.net, settings.freeze)
    return Made(built.net, report)
