"""The quick start's page: what was done, two pictures, the numbers."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from thirdaxis.atomic import write_text
from thirdaxis.data.shapes import CUBES_AND_BALLS
from thirdaxis.tasks.page import (
    DARK,
    INK,
    LIGHT,
    Cell,
    Facts,
    Fixed,
    Picture,
    Section,
    Table,
    Text,
    drawn,
    photographed,
    plain_axes,
    write_page,
)
from thirdaxis.tasks.shapes.quickstart import STARTS, Outcome

PAGE_FILE, RESULTS_FILE = "report.html", "results.json"
COLOURS = ListedColormap(["#e69f00", "#56b4e9", "#23282d"])
SHOWN = 4


def write_report(outcome: Outcome, folder: Path) -> Path:
    """Writes the page and the numbers; each file appears whole.

    Args:
        outcome: what `thirdaxis.tasks.shapes.quickstart.run` gave.
        folder: an existing folder.

    Returns:
        The page's path.

    Raises:
        OSError: the disk is full or the folder not writable.
    """
    write_text(folder / RESULTS_FILE, results_text(outcome))
    lead = "A 2D U-Net learnt squares and circles; converted with one call, it learns solids."
    return write_page(folder / PAGE_FILE, "A 2D network goes 3D", lead, sections(outcome))


def sections(outcome: Outcome) -> list[Section]:
    """What the page says."""
    budget, pretrained, random = outcome.budget, *(outcome.curves[start] for start in STARTS)
    steps = budget.epochs_3d * budget.volumes // budget.batch_3d
    facts = [
        ("pretrained start", f"{pretrained[-1]:.3f}", f"mean Dice, {budget.test_volumes} volumes"),
        ("random start", f"{random[-1]:.3f}", "the same network, volumes and steps"),
        ("before training in 3D", f"{pretrained[0]:.3f}", "with the 2D weights as they are"),
        ("in 2D", f"{outcome.dice_2d[-1]:.3f}", "mean Dice on new images"),
    ]
    said = (
        f"The 2D U-Net learnt from {budget.images} noisy images of squares and circles. "
        'thirdaxis.convert(net, "acs") made it a 3D network with as many parameters, which then '
        f"learnt from {budget.volumes} noisy volumes of cubes and balls. So did the same network "
        f"from a random start: the same volumes, order and number of steps ({steps})."
    )
    rows: list[list[Cell]] = [
        [name, *(outcome.per_class[start][name] for start in STARTS)]
        for name in outcome.per_class[STARTS[0]]
    ]
    rows += [
        ["mean of the two", pretrained[-1], random[-1]],
        ["any solid against background", *(outcome.any_solid[start][-1] for start in STARTS)],
    ]
    about = (
        f"Each class over the voxels of all test volumes together. Seed {outcome.seed}, "
        f"{outcome.seconds:.0f} s. The protocol is a small relative of the proof of concept in "
        'Yang et al., "Reinventing 2D Convolutions for 3D Images", 2021.'
    )
    return [
        Section("What came out", [Facts(facts), Text(said)]),
        Section(
            "One new volume, four slices",
            [
                Picture(
                    photographed(slices_figure(outcome)), "Slices: image, truth, both predictions"
                )
            ],
        ),
        Section(
            "Dice on new volumes",
            [
                Picture(drawn(curves_figure(outcome)), "Dice before training and after each epoch"),
                Table(["Dice", *(f"{start} start" for start in STARTS)], rows, about),
            ],
        ),
        Section("All numbers", [Fixed(RESULTS_FILE, results_text(outcome))]),
    ]


def results_text(outcome: Outcome) -> str:
    """All numbers of the outcome as JSON: the Dice of a class never seen is null."""
    numbers = {
        "seed": outcome.seed,
        "budget": dataclasses.asdict(outcome.budget),
        "dice_2d": outcome.dice_2d,
        "curves": outcome.curves,
        "any_solid": outcome.any_solid,
        "per_class": {
            start: {name: None if math.isnan(dice) else dice for name, dice in finals.items()}
            for start, finals in outcome.per_class.items()
        },
        "seconds": outcome.seconds,
    }
    return json.dumps(numbers, indent=2) + "\n"


def slices_figure(outcome: Outcome) -> Figure:
    """Slices of one test volume, a column each: image, truth, prediction from either start."""
    lines = list(outcome.example)
    figure = Figure(figsize=(2.3 * SHOWN, 2.3 * len(lines) + 0.4), layout="constrained")
    figure.set_facecolor(DARK)
    axes = figure.subplots(len(lines), SHOWN, squeeze=False)
    filled = (
        (outcome.example["truth"] != len(CUBES_AND_BALLS) - 1).flatten(1).any(1).nonzero().flatten()
    )
    for row, line in zip(axes, lines, strict=True):
        for column, axis in enumerate(row):
            at = int(filled[int((column + 0.5) * len(filled) / SHOWN)])
            values = outcome.example[line][at].numpy()
            if line == "image":
                axis.imshow(values, cmap="gray", vmin=-1, vmax=2)
                axis.set_title(f"slice {at}", color=LIGHT, fontsize=10)
            else:
                axis.imshow(values, cmap=COLOURS, vmin=-0.5, vmax=2.5, interpolation="nearest")
            if column == 0:
                axis.set_ylabel(line, color=LIGHT)
            axis.set_xticks([])
            axis.set_yticks([])
    handles = [axes[0, 0].scatter([], [], color=c, label=n) for c, n in _legend()]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=2, frameon=False, labelcolor=LIGHT
    )
    return figure


def curves_figure(outcome: Outcome) -> Figure:
    """Dice on the test volumes before training and after each epoch, a line for each start."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    titles = {"mean Dice of cubes and balls": outcome.curves, "any solid": outcome.any_solid}
    for axis, (title, curves) in zip(plain_axes(figure, 1, 2), titles.items(), strict=True):
        for start, curve in curves.items():
            axis.plot(range(len(curve)), curve, marker="o", label=f"{start} start")
        axis.set(title=title, xlabel="epoch", ylabel="Dice on new volumes", ylim=(0, 1))
        axis.legend(frameon=False, labelcolor=INK)
    return figure


def _legend() -> list[tuple[Any, str]]:
    return [(COLOURS(i), name) for i, name in enumerate(CUBES_AND_BALLS[:-1])]
