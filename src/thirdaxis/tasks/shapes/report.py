"""The proof of concept's table beside the published one, and its curves."""

import statistics
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from thirdaxis.atomic import atomic_path, write_text
from thirdaxis.tasks.shapes.fit import FOREGROUND, State, best_row, mean_of
from thirdaxis.tasks.shapes.recipe import Recipe, Row

TABLE_FILE, CURVES_FILE = "table.md", "curves.png"
ALL_BUT_FIRST = slice(1, None)  # the classes that the paper's code averages

HEAD = """\
| network | parameters | MB | mAUC | Dice | mIoU | published: mAUC | Dice | mIoU | \
code's mean: Dice | mIoU | best epoch | epochs | hours |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|
"""
NOTES = """
Percent, of the test volumes at the epoch of the highest Dice, as published; over several seeds
mean ± standard deviation. mAUC: features before training in 3D. Dice and mIoU: mean over the five
solids. Code's mean: over all classes but the first, background included, as the paper's code has
it, at the epoch of the highest such Dice. Hours: of training and testing, as far as it is.
"""


def write_report(recipe: Recipe, states: Mapping[str, Sequence[State]], folder: Path) -> Path:
    """Writes the table and the curves; each file appears whole.

    Args:
        recipe: the experiment.
        states: of each row by its name, one a seed, finished or not.
        folder: an existing folder.

    Returns:
        The table's path.

    Raises:
        OSError: the disk is full or the folder not writable.
    """
    buffer = BytesIO()
    FigureCanvasAgg(curves_figure(recipe, states)).print_png(buffer)
    with atomic_path(folder / CURVES_FILE) as temporary:
        temporary.write_bytes(buffer.getvalue())
    write_text(folder / TABLE_FILE, table_text(recipe, states))
    return folder / TABLE_FILE


def table_text(recipe: Recipe, states: Mapping[str, Sequence[State]]) -> str:
    """The table as Markdown."""
    lines = [line(recipe, row, states.get(row.name, ())) for row in recipe.rows]
    told = sorted({one for row in states.values() for state in row for one in state["on"]})
    return HEAD + "\n".join(lines) + "\n" + NOTES + "".join(f"\nRan on {one}.\n" for one in told)


def line(recipe: Recipe, row: Row, states: Sequence[State]) -> str:
    """One row of the table; what has not been measured is a dash."""
    begun = [state for state in states if state["history"]]
    published = row.published
    cells = [
        row.name,
        *(
            [f"{states[0]['parameters']:,}", f"{states[0]['parameters'] * 4e-6:.1f}"]
            if states
            else ["–", "–"]
        ),
        percent([state["untrained"] for state in states]),
        *measured(begun, FOREGROUND),
        *(
            [f"{number:.1f}" for number in (published.mauc, published.dice, published.miou)]
            if published
            else ["–"] * 3
        ),
        *measured(begun, ALL_BUT_FIRST),
        ", ".join(str(best_row(state["history"])["epoch"]) for state in begun) or "–",
        ", ".join(f"{state['epoch']} of {recipe.training.epochs}" for state in states) or "–",
        ", ".join(
            f"{sum(epoch['seconds'] for epoch in state['history']) / 3600:.1f}" for state in begun
        )
        or "–",
    ]
    return f"| {' | '.join(cells)} |"


def measured(states: Sequence[State], of: slice) -> tuple[str, str]:
    """Dice and mIoU over these classes at the epoch that is best in this Dice."""
    best = [best_row(state["history"], of) for state in states]
    return (
        percent([mean_of(epoch["dice"], of) for epoch in best]),
        percent([mean_of(epoch["iou"], of) for epoch in best]),
    )


def percent(values: Sequence[float]) -> str:
    """A number or its mean ± standard deviation, as percent."""
    if not values:
        return "–"
    mean = f"{100 * statistics.fmean(values):.1f}"
    return f"{mean} ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else mean


def curves_figure(recipe: Recipe, states: Mapping[str, Sequence[State]]) -> Figure:
    """Training loss and Dice on the test volumes over the epochs, a colour a row."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    loss_axes, dice_axes = figure.subplots(1, 2)
    for number, row in enumerate(recipe.rows):
        for state in states.get(row.name, ()):
            epochs = [epoch["epoch"] for epoch in state["history"]]
            label = row.name if state is states[row.name][0] else None
            style = {"color": f"C{number % 10}", "linestyle": "-" if number < 10 else "--"}
            loss_axes.plot(epochs, [epoch["loss"] for epoch in state["history"]], **style)
            dice = [100 * mean_of(epoch["dice"]) for epoch in state["history"]]
            dice_axes.plot(epochs, dice, label=label, **style)
    loss_axes.set(xlabel="epoch", ylabel="training loss")
    dice_axes.set(xlabel="epoch", ylabel="Dice of the solids in test volumes, %", ylim=(0, 100))
    for axes in (loss_axes, dice_axes):
        axes.grid(alpha=0.3)
    if dice_axes.get_legend_handles_labels()[0]:
        dice_axes.legend(fontsize="small")
    return figure
