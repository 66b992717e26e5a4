"""The quick start's page: what was done, two pictures, the numbers."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import jinja2
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from thirdaxis.atomic import atomic_path, write_text
from thirdaxis.data.shapes import CUBES_AND_BALLS
from thirdaxis.tasks.quickstart import Outcome

PAGE_FILE, RESULTS_FILE = "report.html", "results.json"
SLICES_FILE, CURVES_FILE = "slices.png", "curves.png"
COLOURS = ListedColormap(["#e69f00", "#56b4e9", "#f4f4f4"])
SHOWN = 4

PAGE = jinja2.Template(
    """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>thirdaxis quick start</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
img { max-width: 100% } table { border-collapse: collapse }
td, th { padding: .2rem 1rem .2rem 0; text-align: right; border-bottom: 1px solid #ddd }
td:first-child, th:first-child { text-align: left }
</style>
<h1>A 2D network goes 3D</h1>
<p>A 2D U-Net learnt squares and circles from {{ budget.images }} noisy images
(mean Dice on new images {{ "%.2f"|format(dice_2d[-1]) }}).
<code>thirdaxis.convert(net, "acs")</code> made it a 3D network with as many parameters.
Before any training in 3D it scored {{ "%.2f"|format(curves.pretrained[0]) }} on noisy volumes of
cubes and balls. It then learnt from {{ budget.volumes }} such volumes, and so did the same network
from a random start: the same volumes, order and number of steps
({{ budget.epochs_3d * budget.volumes // budget.batch_3d }}).</p>
<p><b>Mean Dice on {{ budget.test_volumes }} new volumes: {{ "%.3f"|format(curves.pretrained[-1]) }}
from the pretrained start, {{ "%.3f"|format(curves.random[-1]) }} from the random one;
any solid against background {{ "%.3f"|format(any_solid.pretrained[-1]) }} and
{{ "%.3f"|format(any_solid.random[-1]) }}.</b></p>
<p><img src="{{ slices_file }}" alt="Slices: image, truth, both predictions"></p>
<p><img src="{{ curves_file }}" alt="Dice on new volumes before training and after each epoch"></p>
<table>
<tr><th>Dice</th>{% for start in curves %}<th>{{ start }}</th>{% endfor %}</tr>
{% for name in per_class.pretrained %}<tr><td>{{ name }}</td>
{% for start in curves %}{% set dice = per_class[start][name] %}
<td>{{ "–" if dice is none else "%.3f"|format(dice) }}</td>{% endfor %}</tr>
{% endfor %}<tr><td>mean of the two</td>
{% for start in curves %}<td>{{ "%.3f"|format(curves[start][-1]) }}</td>{% endfor %}</tr>
<tr><td>any solid against background</td>
{% for start in curves %}<td>{{ "%.3f"|format(any_solid[start][-1]) }}</td>{% endfor %}</tr>
</table>
<p>Each class over the voxels of all test volumes together.
Seed {{ seed }}, {{ "%.0f"|format(seconds) }} s.
The protocol is a small relative of the proof of concept in Yang et al., "Reinventing 2D
Convolutions for 3D Images", 2021. Numbers: <a href="{{ results_file }}">{{ results_file }}</a>.</p>
</html>
""",
    autoescape=True,
    undefined=jinja2.StrictUndefined,
)


def write_report(outcome: Outcome, folder: Path) -> Path:
    """Writes the page, its two pictures and the numbers; each file appears whole.

    Args:
        outcome: what `thirdaxis.tasks.quickstart.run` gave.
        folder: an existing folder.

    Returns:
        The page's path.

    Raises:
        OSError: the disk is full or the folder not writable.
    """
    _save(slices_figure(outcome), folder / SLICES_FILE)
    _save(curves_figure(outcome), folder / CURVES_FILE)
    results = numbers(outcome)
    write_text(folder / RESULTS_FILE, json.dumps(results, indent=2) + "\n")
    files = {
        "slices_file": SLICES_FILE,
        "curves_file": CURVES_FILE,
        "results_file": RESULTS_FILE,
    }
    write_text(folder / PAGE_FILE, PAGE.render(**results, **files))
    return folder / PAGE_FILE


def numbers(outcome: Outcome) -> dict[str, Any]:
    """All numbers of the outcome, as JSON has them: the Dice of a class never seen is null."""
    return {
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


def slices_figure(outcome: Outcome) -> Figure:
    """Slices of one test volume, a row each: image, truth, prediction from either start."""
    columns = list(outcome.example)
    figure = Figure(figsize=(2.2 * len(columns), 2.2 * SHOWN + 0.6), layout="constrained")
    axes = figure.subplots(SHOWN, len(columns), squeeze=False)
    filled = (
        (outcome.example["truth"] != len(CUBES_AND_BALLS) - 1).flatten(1).any(1).nonzero().flatten()
    )
    for row, line in enumerate(axes):
        at = int(filled[int((row + 0.5) * len(filled) / SHOWN)])
        for column, axis in zip(columns, line, strict=True):
            values = outcome.example[column][at].numpy()
            if column == "image":
                axis.imshow(values, cmap="gray", vmin=-1, vmax=2)
                axis.set_ylabel(f"slice {at}")
            else:
                axis.imshow(values, cmap=COLOURS, vmin=-0.5, vmax=2.5, interpolation="nearest")
            if row == 0:
                axis.set_title(column)
            axis.set_xticks([])
            axis.set_yticks([])
    handles = [axes[0, 0].scatter([], [], color=c, label=n) for c, n in _legend()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    return figure


def curves_figure(outcome: Outcome) -> Figure:
    """Dice on the test volumes before training and after each epoch, a line for each start."""
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    titles = {"mean Dice of cubes and balls": outcome.curves, "any solid": outcome.any_solid}
    for axis, (title, curves) in zip(figure.subplots(1, 2), titles.items(), strict=True):
        for start, curve in curves.items():
            axis.plot(range(len(curve)), curve, marker="o", label=f"{start} start")
        axis.set(title=title, xlabel="epoch", ylabel="Dice on new volumes", ylim=(0, 1))
        axis.grid(alpha=0.3)
        axis.legend(frameon=False)
    return figure


def _legend() -> list[tuple[Any, str]]:
    return [(COLOURS(i), name) for i, name in enumerate(CUBES_AND_BALLS[:-1])]


def _save(figure: Figure, path: Path) -> None:
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)
