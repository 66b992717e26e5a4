"""A classification run on stand-ins for its data: one step of training, one prediction."""

from pathlib import Path

import torch
from torch import nn

from thirdaxis.data.medmnist import SETS
from thirdaxis.data.stand_in import write_stand_in, write_table
from thirdaxis.tasks.classification.cases import read_cases
from thirdaxis.tasks.classification.crops import prepare
from thirdaxis.tasks.classification.network import make_classifier
from thirdaxis.tasks.classification.plan import ClassifyPlan
from thirdaxis.tasks.classification.run import CLASSIFY
from thirdaxis.tasks.classification.settings import ClassifySettings
from thirdaxis.tasks.cost import smallest_patch
from thirdaxis.tasks.engine import no_watch

WHOLE = (32, 32, 32)
OF_EACH = 4
TABLE, IMAGES, MASKS = "samples.csv", "imagesTr", "labelsTr"


def written_labels(settings: ClassifySettings) -> list[list[str]]:
    """Labels of the stand-ins as a table holds them, `OF_EACH` of each class."""
    if settings.kind == "labels":
        return [[str(n % 2)] * len(settings.label_columns) for n in range(2 * OF_EACH)]
    if settings.kind == "grade":
        return [[str(n % 5)] for n in range(2 * OF_EACH)]
    known = SETS.get(Path(settings.data).stem.removesuffix("_64"))
    usual = known.labels if known else ("0", "1")
    classes = list(settings.classes or settings.class_names or usual)
    return [[label] for label in classes * OF_EACH]


def answers(settings: ClassifySettings) -> tuple[str, ...]:
    """What the network is asked for, by name."""
    if settings.kind != "classes":
        return settings.label_columns
    told = (settings.classes or {}).values() or (one for (one,) in written_labels(settings))
    return settings.class_names or tuple(sorted(set(told)))


def box_of(settings: ClassifySettings) -> tuple[int, int, int]:
    """The size of what the network sees, where the settings tell it."""
    if settings.size is None and settings.size_mm is not None and settings.spacing is not None:
        sides = zip(settings.size_mm, settings.spacing, strict=True)
        d, h, w = (max(1, round(length / step)) for length, step in sides)
        return d, h, w
    return settings.size or WHOLE


def write_data(settings: ClassifySettings, size: tuple[int, int, int], root: Path) -> None:
    """Writes scans a little larger than a box, masks, and a table with every column asked for.

    Args:
        settings: name the columns and labels.
        size: (d, h, w) of a box.
        root: an empty folder.
    """
    labels = written_labels(settings)
    shape = [side + 4 for side in size]
    names = write_stand_in(
        root,
        shape,
        {0: "background", 1: "place"},
        cases=len(labels),
        spacing=settings.spacing or (1.0, 1.0, 1.0),
        between=settings.window or (0.0, 1000.0),
    )
    steps = tuple(reversed(settings.spacing or (1.0, 1.0, 1.0)))
    middle = [side / 2 for side in reversed(shape)]
    sign = {"voxel": None, "ras": 1, "lps": -1}[settings.centre_unit]
    if sign is not None:  # x and y of LPS run the other way
        signs = (sign, sign, 1)
        middle = [s * m * step for s, m, step in zip(signs, middle, steps, strict=True)]
    told = settings.columns()
    rows = []
    for number, (name, label) in enumerate(zip(names, labels, strict=True)):
        row = {told.file: name, **dict(zip(told.labels, label, strict=True))}
        row |= dict.fromkeys(filter(None, [told.patient]), f"patient {number}")
        row |= dict.fromkeys(filter(None, [told.mask]), name)
        row |= dict(zip(told.centre or (), map(str, middle), strict=False))
        row |= dict(zip(told.spacing or (), map(str, steps), strict=False))
        row |= dict.fromkeys(filter(None, [told.part]), ("train", "test")[number * 2 // len(names)])
        rows.append(row)
    write_table(root / TABLE, list(rows[0]), [list(row.values()) for row in rows])


def network_of(settings: ClassifySettings) -> tuple[nn.Module, tuple[int, int, int]]:
    """The network of a run as it would be, and the size of its boxes."""
    size, names = box_of(settings), answers(settings)
    plan = ClassifyPlan(settings.kind, names, (1,) * len(names), 1, size)
    return make_classifier(settings, plan, load=False).net, size


def small_of(net: nn.Module, size: tuple[int, int, int]) -> tuple[int, int, int]:
    """The size of stand-ins: the smallest that the network trains on."""
    return smallest_patch(net, 1, size)


def step(settings: ClassifySettings, size: tuple[int, int, int], root: Path) -> tuple[float, str]:
    """Trains one step on stand-ins and judges a held-out one.

    Args:
        settings: of the run, made small.
        size: (d, h, w) of a box.
        root: an empty folder, for the stand-ins.

    Returns:
        The loss, and the answer in words.
    """
    write_data(settings, size, root)
    told = {
        "data": str(root / TABLE),
        "image_folder": IMAGES,
        "mask_folder": MASKS,
        "size": size,
        "size_mm": None,
        "spacing": None if settings.around == "whole" else settings.spacing,
        "selection": 0.0,
    }
    settings = settings.model_copy(update=told)
    cases = read_cases(settings)
    first = CLASSIFY.first_step(settings, cases, root)
    plan, module = first.run.plan, first.module.eval()
    held = prepare(cases.named(first.run.test[:1], settings.data), settings, no_watch, "")
    with torch.no_grad():
        answer = plan.answers(module(held.image(0)[None].float(), held.thickness[0]))
    told_of = zip(plan.names, answer.flatten().tolist(), strict=False)
    return first.loss, ", ".join(f"{name} {value:.3f}" for name, value in told_of)
