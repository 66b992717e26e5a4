"""What a page says of scored label maps: numbers, cases to sort, pictures of the worst."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from thirdaxis.data.volume import Volume, read_volume, same_grid
from thirdaxis.errors import InputError
from thirdaxis.metrics.table import SCORES, Row
from thirdaxis.tasks.page import (
    Cell,
    Facts,
    Link,
    Picture,
    Section,
    Table,
    Text,
    photographed,
    write_page,
)
from thirdaxis.tasks.pictures import overlay_figure
from thirdaxis.tasks.segmentation.evaluate import COMPARED, Evaluation
from thirdaxis.tasks.segmentation.label_maps import Regions, read_pair

PAGE = "scores.html"
WORDS = {
    "dice": "Dice",
    "hd95_mm": "HD95 mm",
    "volume_ml": "volume ml",
    "true_volume_ml": "true ml",
    "volume_difference_ml": "difference ml",
    "volume_difference_percent": "difference %",
    "volume_error_ml": "volume error ml",
    "volume_error_percent": "volume error %",
}


def write_scores_page(
    scores: Evaluation,
    folder: Path,
    title: str,
    *,
    other: str = "",
    pictures: int = 8,
    images: Callable[[str], Path | None] | None = None,
) -> Path:
    """Writes `scores.html`, one self-contained page.

    Args:
        scores: of a set of predictions.
        folder: where to.
        title: of the page.
        other: what the predictions were compared with.
        pictures: how many of the worst cases are drawn; the best one is drawn too.
        images: case name -> its scan, to draw on; none takes those of the data set, where known.

    Returns:
        The page's path.

    Raises:
        OSError: the folder is missing, full or not writable.
    """
    lead = f"{len(scores.rows)} cases against their true label maps."
    if scores.unpredicted:
        lead += f" {scores.unpredicted} other label maps have no prediction."
    sections = [
        Section("Scores", numbers(scores)),
        Section("Compared case by case", comparison(scores, other)),
        *case_sections(scores, pictures, images or scores.truth.images.get),
    ]
    return write_page(folder / PAGE, title, lead, sections)


def numbers(scores: Evaluation) -> list[Facts | Table]:
    """Headline numbers, and a line a label with mean, deviation, median and interval."""
    table = scores.summary()
    mean = table["mean"]
    facts = [
        (
            "mean Dice",
            _shown(mean["dice_mean"], 3),
            f"95 % interval {_shown(mean['dice_low'], 3)} to {_shown(mean['dice_high'], 3)}",
        ),
        ("Dice over all voxels", _shown(mean["dice_global"], 3), "large objects weigh more"),
        (
            "mean HD95",
            f"{_shown(mean['hd95_mm_mean'], 2)} mm",
            f"{mean['hd95_infinite']} infinite left out" if mean["hd95_infinite"] else "",
        ),
        ("cases", str(len(scores.rows)), ""),
    ]
    rows: list[list[Cell]] = []
    for name, column in table.items():
        if name == "mean":
            continue
        for score in ("dice", "hd95_mm", "volume_difference_ml", *COMPARED[2:]):
            rows.append(
                [
                    name,
                    WORDS[score],
                    *(column[f"{score}_{what}"] for what in ("mean", "sd", "median")),
                    f"{_shown(column[f'{score}_low'], 3)} to {_shown(column[f'{score}_high'], 3)}",
                    _remark(score, column),
                ]
            )
    heads = ["label", "score", "mean", "sd", "median", "95 % interval of the mean", "beside"]
    caption = (
        "Over cases. A label in neither map of a case is left out there; in only one of them its "
        "Dice is 0 and its HD95 infinite, and means of HD95 are over the finite ones. Difference: "
        "predicted less true volume; error: its size. Intervals: bootstrap over cases."
    )
    return [Facts(facts), Table(heads, rows, caption)]


def comparison(scores: Evaluation, other: str) -> list[Table | Text]:
    """Paired differences, nothing where there is nothing to compare with."""
    rows: list[list[Cell]] = [
        [
            label,
            WORDS[score],
            found.cases,
            found.mean,
            f"{_shown(found.low, 4)} to {_shown(found.high, 4)}",
            found.p,
        ]
        for label, each in scores.compared.items()
        for score, found in each.items()
    ]
    if not rows:
        return []
    heads = ["label", "score", "cases", "mean difference", "95 % interval", "p (Wilcoxon)"]
    caption = (
        "Over the cases for which both are finite. A Dice above 0, a distance or an error below 0 "
        "is in favour of these predictions. Two-sided signed-rank test, not corrected for the "
        "number of rows."
    )
    return [Text(f"These predictions less {other}."), Table(heads, rows, caption, digits=4)]


def case_sections(
    scores: Evaluation, pictures: int, images: Callable[[str], Path | None]
) -> list[Section]:
    """The table of all cases, worst first, and pictures of the worst and of the best."""
    rows = scores.worst_first()
    scored = [row for row in rows if not math.isnan(row.mean_dice)]
    worst = scored[:pictures]
    best = [row for row in scored[-1:] if row not in worst] if pictures else []
    drawn = {row.name: f"case-{number}" for number, row in enumerate([*worst, *best])}
    return [
        Section("Cases", [_case_table(rows, scores.labels, drawn)]),
        Section("Worst cases", [_picture(scores, row, drawn, images) for row in worst]),
        Section("Best case", [_picture(scores, row, drawn, images) for row in best]),
    ]


def _case_table(rows: Sequence[Row], labels: dict[int, str], drawn: dict[str, str]) -> Table:
    several = len(labels) > 1
    heads = ["case", *(["mean Dice"] if several else [])]
    heads += [
        f"{name} {WORDS[score]}" if several else WORDS[score]
        for name in labels.values()
        for score in SCORES
    ]
    cells: list[list[Cell]] = [
        [
            Link(row.name, f"#{drawn[row.name]}") if row.name in drawn else row.name,
            *([row.mean_dice] if several else []),
            *(row.score(score, number) for number in labels for score in SCORES),
        ]
        for row in rows
    ]
    caption = "A click on a heading sorts. Names in colour lead to a picture."
    return Table(heads, cells, caption, sortable=True)


def _picture(
    scores: Evaluation,
    row: Row,
    drawn: dict[str, str],
    images: Callable[[str], Path | None],
) -> Picture:
    name, regions = row.name, scores.regions
    mine, its = read_pair(scores.predictions[name], scores.truth.files[name], regions)
    found = _numbered(mine, regions, regions.predicted)
    true = _numbered(its, regions, regions.true)
    figure = overlay_figure(_scan(images(name), its), found.array[0], true.array[0])
    each = ", ".join(
        f"{scores.labels[number]} {_shown(row.dice[number], 3)}" for number in scores.labels
    )
    caption = f"{name}: Dice {each}"
    return Picture(photographed(figure), f"Three planes of {name}", caption, drawn[name])


def _numbered(volume: Volume, regions: Regions, values: dict[int, frozenset[int]]) -> Volume:
    array = torch.zeros_like(volume.array)
    for number in regions.names:
        array[regions.pick(volume.array, values, number)] = number
    return Volume(array, volume.affine)


def _scan(path: Path | None, label: Volume) -> Volume:
    """The scan, or nothing on its grid where it is not known or lies elsewhere."""
    nothing = Volume(torch.zeros(1, *label.shape), label.affine)
    if path is None:
        return nothing
    try:
        scan = read_volume(path)
    except InputError:
        return nothing
    return scan if same_grid(scan, label) else nothing


def _remark(score: str, column: dict[str, float | int]) -> str:
    if score == "dice":
        absent = f", absent from {column['absent']}" if column["absent"] else ""
        return f"all voxels {_shown(column['dice_global'], 3)}{absent}"
    if score == "hd95_mm" and column["hd95_infinite"]:
        return f"{column['hd95_infinite']} infinite"
    if score == "volume_error_ml":
        return f"{_shown(column['volume_error_percent_mean'], 1)} % of the true volume"
    return ""


def _shown(value: float, digits: int) -> str:
    return Table((), (), digits=digits).shown(float(value))
