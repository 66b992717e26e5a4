"""The network of a run that locates lesions, tried on one patch."""

import torch

from thirdaxis.convert.lift import beside
from thirdaxis.errors import InputError, UsageError
from thirdaxis.tasks.locating.plan import LocatePlan
from thirdaxis.tasks.locating.settings import LocateSettings
from thirdaxis.tasks.locating.start import quieten
from thirdaxis.tasks.network import Made, converted


def make_locator_network(settings: LocateSettings, plan: LocatePlan, *, load: bool = True) -> Made:
    """Builds, loads and converts the network of a run, from the run's seed.

    Args:
        settings: of the run.
        plan: of the run; gives the channels.
        load: whether to load the weights the settings name; a checkpoint follows otherwise.

    Returns:
        The 3D network, (N, channels, D, H, W) to (N, 1, D, H, W), in training mode.

    Raises:
        ThirdaxisError: an unknown network or fusion, weights that do not fit, or a patch the
            network cannot take.
    """
    made = converted(
        settings, "segment", classes=1, channels=plan.channels, depth=plan.patch[0], load=load
    )
    if not load:  # a checkpoint comes from a run whose patch went through
        return made
    size = "×".join(map(str, plan.patch))
    advice = "take a larger patch, or one divisible by the network's strides"
    try:
        with torch.no_grad():
            patch = torch.zeros(1, plan.channels, *plan.patch)
            shape = tuple(made.net.eval()(patch, **beside(made.net, patch)).shape)
    except (RuntimeError, InputError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UsageError(
            f"a patch of {size} voxels does not go through {settings.network}: {reason}; {advice}"
        ) from error
    if shape != (1, 1, *plan.patch):
        raise UsageError(
            f"{settings.network} gives {shape} for a patch of {size} voxels, expected one map of "
            f"that size; {advice}"
        )
    quieten(made.net, plan.channels, plan.patch)
    made.net.train()
    return made
