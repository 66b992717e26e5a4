"""A segmentation run on stand-ins for its data: one step of training, one prediction."""

from pathlib import Path

from torch import nn

from thirdaxis.data.patients import TABLE
from thirdaxis.data.stand_in import write_stand_in, write_table
from thirdaxis.tasks.cost import smallest_patch
from thirdaxis.tasks.segmentation.network import make_network
from thirdaxis.tasks.segmentation.plan import Plan
from thirdaxis.tasks.segmentation.prepare import LARGEST_PATCH, data_folder
from thirdaxis.tasks.segmentation.regions import scored
from thirdaxis.tasks.segmentation.run import SEGMENT
from thirdaxis.tasks.segmentation.settings import SegmentSettings
from thirdaxis.tasks.segmentation.windows import logits_of

CASES = 4


def classes_of(settings: SegmentSettings) -> dict[int, str]:
    """Label value -> name of a stand-in data set: two classes where the settings name none."""
    values = {value for group in (settings.labels or {}).values() for value in group} or {1, 2}
    return {value: f"value {value}" if value else "background" for value in range(max(values) + 1)}


def write_data(settings: SegmentSettings, patch: tuple[int, int, int], root: Path) -> None:
    """Writes the stand-ins: scans a little larger than a patch, and the table of patients if any.

    Args:
        settings: give spacing, the window of intensities, label values and the table.
        patch: (d, h, w).
        root: an empty folder.
    """
    told = settings.spacing if isinstance(settings.spacing, tuple) else (1.0, 1.0, 1.0)
    names = write_stand_in(
        root,
        (patch[0] + 3, *patch[1:]),
        classes_of(settings),
        cases=CASES,
        spacing=[step or 1.0 for step in told],
        between=settings.window or (0.0, 1000.0),
        seed=settings.seed,
    )
    if table := TABLE.match(settings.patient or ""):
        rows = [(name, f"patient {number}") for number, name in enumerate(names)]
        write_table(root / table["file"], ("file", table["column"]), rows)


def network_of(settings: SegmentSettings) -> tuple[nn.Module, tuple[int, int, int]]:
    """The network of a run as it would be, and the size of its patches."""
    names = classes_of(settings)
    if settings.labels:
        names = dict(enumerate(["background", *settings.labels]))
    scored(settings, names)
    plan = Plan(names, ("stand-in",), None, 1.0, settings.patch or LARGEST_PATCH)
    return make_network(settings, plan, load=False).net, plan.patch


def small_of(net: nn.Module, size: tuple[int, int, int]) -> tuple[int, int, int]:
    """The size of stand-ins: the smallest that the network trains on."""
    return smallest_patch(net, 1, size)


def step(settings: SegmentSettings, patch: tuple[int, int, int], root: Path) -> tuple[float, str]:
    """Trains one step on stand-ins and segments a held-out one.

    Args:
        settings: of the run, made small.
        patch: (d, h, w).
        root: an empty folder, for the stand-ins.

    Returns:
        The loss, and the answer in words.
    """
    listed = TABLE.match(settings.patient or "") is not None
    told = {"data": str(root), "patch": patch, "patient": settings.patient if listed else None}
    settings = settings.model_copy(update=told)
    write_data(settings, patch, root)
    first = SEGMENT.first_step(settings, data_folder(settings), root)
    scan = first.feed.validation[0]
    answer = logits_of(
        first.module.net.eval(),
        scan.image,
        first.run.plan.patch,
        settings.overlap,
        thickness=scan.spacing[0],
        rim=settings.loss_rim,
    )
    return first.loss, str(tuple(answer.shape))
