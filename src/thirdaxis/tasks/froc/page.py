"""What pages tell of every FROC: images or volumes to sort, and how far another one lies."""

from collections.abc import Callable, Mapping, Sequence

from thirdaxis.metrics.froc_images import OneImage
from thirdaxis.metrics.froc_paired import FrocDifference
from thirdaxis.tasks.page import Cell, Link, Table, Text


def outcome(row: OneImage) -> str:
    """What an image is told to have gone like, in a line."""
    return f"{row.name}: {row.missed} of {row.lesions} lesions missed, {row.alarms} false positives"


def image_table(
    rows: Sequence[OneImage],
    anchors: Mapping[str, str],
    what: str,
    threshold: float,
    rate: float,
    more: Mapping[str, Callable[[OneImage], Cell]] | None = None,
) -> Table:
    """A line an image.

    Args:
        rows: in the order that the page begins with.
        anchors: name of an image -> place of its picture on the page.
        what: images are called.
        threshold: from which score on they were judged.
        rate: false positives an image that this allows.
        more: further columns, by their headings.
    """
    more = more or {}
    cells: list[list[Cell]] = [
        [
            Link(one.name, f"#{anchors[one.name]}") if one.name in anchors else one.name,
            one.patient,
            one.lesions,
            one.missed,
            one.alarms,
            one.worst,
            *(cell(one) for cell in more.values()),
        ]
        for one in rows
    ]
    heads = [what, "patient", "lesions", "missed", "false positives", "strongest", *more]
    caption = (
        f"From a score of {threshold:.3g} on, at which there are {rate:g} false positives "
        f"{'an' if what[0] in 'aeiou' else 'a'} {what} or fewer. A click on a heading sorts. Names "
        "in colour lead to a picture."
    )
    return Table(heads, cells, caption, sortable=True)


def comparison(told: FrocDifference | None, lead: str) -> list[Table | Text]:
    """Another FROC beside this one; nothing where there is none.

    Args:
        told: how far apart they are.
        lead: what was taken from what.
    """
    if told is None:
        return []
    heads = ["FROC here", "FROC there", "difference", "95 % from", "to", "p", "patients"]
    row: list[Cell] = [told.first, told.second, told.mean, told.low, told.high, told.p]
    caption = "Bootstrap over patients, the same ones drawn for both; above 0 speaks for these."
    return [Text(lead), Table(heads, [[*row, told.patients]], caption, digits=4)]
