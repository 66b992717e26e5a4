"""What a page says of scored points: numbers, the curve, volumes to sort, projections."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from thirdaxis.data.grid import to_grid
from thirdaxis.data.lesions.points import Points
from thirdaxis.data.lesions.volumes import BoxedVolume
from thirdaxis.data.volume import read_volume
from thirdaxis.metrics.froc_images import OneImage
from thirdaxis.tasks.froc.page import comparison, image_table, outcome
from thirdaxis.tasks.froc.plot import Line, froc_figure, froc_line
from thirdaxis.tasks.locating.evaluate import RATES, Evaluation
from thirdaxis.tasks.locating.pictures import projections
from thirdaxis.tasks.page import (
    Cell,
    Facts,
    Picture,
    Section,
    Table,
    drawn,
    photographed,
    write_page,
)

PAGE = "scores.html"
SHOWN = np.geomspace(RATES[0], RATES[-1], 60)
"""False positives a volume at which curves are drawn."""
NOTHING = Points(np.zeros((0, 3)), np.zeros(0))


def write_scores_page(
    scores: Evaluation,
    folder: Path,
    title: str,
    *,
    other: str = "",
    pictures: int = 8,
    watch: Callable[[Sequence[OneImage]], Iterable[OneImage]] = lambda rows: rows,
) -> Path:
    """Writes `scores.html`, one self-contained page.

    Args:
        scores: of a set of points.
        folder: where to.
        title: of the page.
        other: what the points were compared with.
        pictures: how many of the worst volumes are drawn.
        watch: wraps the volumes that are drawn.

    Returns:
        The page's path.

    Raises:
        OSError: the folder is missing, full or not writable.
    """
    told = scores.froc
    patients = len({one.patient for one in scores.truth.volumes})
    lead = (
        f"{told.lesions} lesions in {told.images} volumes of {patients} patients: "
        f"{scores.truth.origin}. {scores.truth.note}"
    )
    if scores.dropped:
        lead += f" {scores.dropped} points in other volumes were dropped."
    worst = [row for row in scores.volumes if row.missed or row.alarms][:pictures]
    anchors = {row.name: f"volume-{number}" for number, row in enumerate(worst)}
    drawings = [_picture(scores, row, anchors[row.name]) for row in watch(worst)]
    table = image_table(scores.volumes, anchors, "volume", scores.threshold, scores.rate)
    sections = [
        Section("FROC", [_facts(scores), _curve(scores), _table(scores)]),
        Section("Compared", comparison(scores.difference, f"These points less {other}.")),
        Section("Volumes", [table]),
        Section("Worst volumes", drawings),
    ]
    return write_page(folder / PAGE, title, lead.strip(), sections)


def curve_of(scores: Evaluation, name: str) -> Line:
    """The FROC curve with its band over patients."""
    patients = {one.name: one.patient for one in scores.truth.volumes}
    return froc_line(name, scores.froc, patients, rates=SHOWN)


def shown_points(scores: Evaluation, name: str) -> Points:
    """What is shown of the points in a volume: those from the threshold on."""
    return scores.found.get(name, NOTHING).from_score(scores.threshold)


def turned_grey(volume: BoxedVolume) -> np.ndarray:
    """The first channel of a volume turned to axial slices, (D, H, W)."""
    return np.asarray(to_grid(read_volume(volume.file)).array[0].numpy())


def _facts(scores: Evaluation) -> Facts:
    low, high = scores.ends.mean
    at = scores.froc.sensitivity_at((0.25, 1.0))
    return Facts(
        [
            ("FROC", f"{scores.froc.mean:.3f}", f"95 % interval {low:.3f} to {high:.3f}"),
            ("sensitivity", f"{at[0]:.3f}", "at 0.25 false positives a volume"),
            ("sensitivity", f"{at[1]:.3f}", "at 1 false positive a volume"),
            ("volumes", str(scores.froc.images), ""),
            ("lesions", str(scores.froc.lesions), ""),
        ]
    )


def _curve(scores: Evaluation) -> Picture:
    caption = (
        "A point in a box finds that lesion, once; any other is a false positive. Shaded: 95 % "
        "bootstrap interval over patients. FROC is the mean sensitivity at 0.5, 1, 2 and 4 false "
        "positives a volume."
    )
    figure = froc_figure([curve_of(scores, "these points")], what="a volume")
    return Picture(drawn(figure), "Sensitivity against false positives a volume", caption)


def _table(scores: Evaluation) -> Table:
    rows: list[list[Cell]] = [
        [rate, value, *scores.ends.at[rate]]
        for rate, value in zip(RATES, scores.froc.sensitivity_at(RATES).tolist(), strict=True)
    ]
    return Table(["false positives a volume", "sensitivity", "95 % from", "to"], rows)


def _picture(scores: Evaluation, row: OneImage, anchor: str) -> Picture:
    volume = next(each for each in scores.truth.volumes if each.name == row.name)
    grey = turned_grey(volume)
    figure = projections(grey, volume.grid.spacing, shown_points(scores, row.name), volume.boxes)
    alt = f"Maximum-intensity projections of {row.name} with points and boxes"
    return Picture(photographed(figure), alt, outcome(row), anchor)
