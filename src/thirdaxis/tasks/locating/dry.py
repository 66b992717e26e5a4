"""A run that locates lesions on stand-ins for its data: one step of training, one prediction."""

from pathlib import Path

from torch import nn

from thirdaxis.data.lesions.points import point_rows
from thirdaxis.data.stand_in import write_stand_in
from thirdaxis.data.volume import read_volume
from thirdaxis.tasks.cost import smallest_patch
from thirdaxis.tasks.hardware import pick_device
from thirdaxis.tasks.locating.locator import Locator
from thirdaxis.tasks.locating.network import make_locator_network
from thirdaxis.tasks.locating.plan import plan_of
from thirdaxis.tasks.locating.prepare import boxed_volumes, named
from thirdaxis.tasks.locating.run import LOCATE
from thirdaxis.tasks.locating.settings import LocateSettings

CASES = 4


def network_of(settings: LocateSettings) -> tuple[nn.Module, tuple[int, int, int]]:
    """The network of a run as it would be, and the size of its patches."""
    plan = plan_of(settings, 1)
    return make_locator_network(settings, plan, load=False).net, plan.patch


def small_of(net: nn.Module, size: tuple[int, int, int]) -> tuple[int, int, int]:
    """The size of stand-ins: the smallest that the network trains on."""
    return smallest_patch(net, 1, size)


def write_data(settings: LocateSettings, patch: tuple[int, int, int], root: Path) -> None:
    """Writes the stand-ins: scans a little larger than a patch, with a lesion in each.

    Args:
        settings: give spacing and the window of intensities.
        patch: (d, h, w).
        root: an empty folder.
    """
    told = settings.spacing or (1.0, 1.0, 1.0)
    write_stand_in(
        root,
        (patch[0] + 3, *patch[1:]),
        {0: "background", 1: "lesion"},
        cases=CASES,
        spacing=[step or 1.0 for step in told],
        between=settings.window or (0.0, 1000.0),
        seed=settings.seed,
    )


def step(settings: LocateSettings, patch: tuple[int, int, int], root: Path) -> tuple[float, str]:
    """Trains one step on stand-ins and searches a held-out one.

    Args:
        settings: of the run, made small.
        patch: (d, h, w).
        root: an empty folder, for the stand-ins.

    Returns:
        The loss, and the answer in words.
    """
    told = {
        **{"data": str(root / "imagesTr"), "boxes": "../labelsTr"},
        **{"patch": patch, "predict_patch": None},
        **{"patient": None, "official": True, "selection": 0.0},
    }
    settings = settings.model_copy(update=told)
    write_data(settings, patch, root)
    volumes = boxed_volumes(settings)
    first = LOCATE.first_step(settings, volumes, root)
    locator = Locator(first.module.net.eval(), settings, first.run.plan, pick_device("cpu"))
    held = named(volumes, first.run.test, "")[0]
    heat = locator.heat(read_volume(held.file))
    points = point_rows(held.name, locator.points(heat), held.grid)
    return first.loss, f"a heat map of {'×'.join(map(str, heat.shape))}, {len(points)} peaks"
