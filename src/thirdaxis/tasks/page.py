"""Self-contained HTML pages for people: one builder for every report.

A page is a title, a lead and sections; a section is a heading and parts: text, headline numbers,
tables (sortable by a click), pictures, preformatted text. Everything is escaped, pictures are
embedded, nothing is loaded from anywhere, and the page follows the reader's light or dark theme.
"""

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from thirdaxis.atomic import write_text

INK = "#1a2b3c"
"""Draw text, ticks and lines of a curves figure in this colour: the page's theme replaces it."""
LINES = ("#2f8fc4", "#e07b28", "#2fa37c", "#b267c9", "#d6566b", "#8a8f2f")
"""Colours of lines that read on a light and on a dark page."""
DARK, LIGHT = "#0d0f11", "#dfe3e8"
"""Ground and text of pictures of grey values, on pages of both themes."""

THEMED = (
    "<style>svg{color:#22262b}@media(prefers-color-scheme:dark){svg{color:#dfe3e8}}</style></svg>"
)


@dataclass(frozen=True)
class Link:
    """A word that leads to a picture of the same page, by its anchor, or to a file beside it."""

    text: str
    target: str


Cell = str | int | float | Link | None


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    kind: str = "text"


@dataclass(frozen=True)
class Facts:
    """Headline numbers in large type: (name, value, remark) each, the remark may be empty."""

    facts: Sequence[tuple[str, str, str]]
    kind: str = "facts"


@dataclass(frozen=True)
class Table:
    """A table; a click on a heading sorts it where it is sortable.

    Args:
        heads: the headings.
        rows: as many cells each; nan and None are shown as a dash, floats with `digits` decimals.
        caption: below the table.
        sortable: whether headings sort.
        digits: decimals of floats.
    """

    heads: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    sortable: bool = False
    digits: int = 3
    kind: str = "table"

    def shown(self, cell: Cell) -> str:
        """A cell as the reader sees it."""
        if isinstance(cell, Link):
            return cell.text
        if not isinstance(cell, float):
            return "–" if cell is None else str(cell)
        if math.isnan(cell):
            return "–"
        return f"{cell:.{self.digits}f}" if math.isfinite(cell) else "∞" if cell > 0 else "−∞"

    def key(self, cell: Cell) -> str:
        """A cell as the sorting script compares it: numbers by value, missing ones always last."""
        if isinstance(cell, float | int):
            return "" if math.isnan(cell) else str(float(cell)).replace("inf", "Infinity")
        return "" if cell is None else self.shown(cell)


@dataclass(frozen=True)
class Picture:
    """An embedded picture.

    Args:
        source: a `data:` address, as `drawn` and `photographed` make it.
        alt: what it shows, in words.
        caption: below it.
        anchor: a name that a `Link` can lead to, such as the case's.
    """

    source: str
    alt: str
    caption: str = ""
    anchor: str = ""
    kind: str = "picture"


@dataclass(frozen=True)
class Fixed:
    """Preformatted text under a heading that opens it."""

    title: str
    text: str
    opened: bool = False
    kind: str = "fixed"


Part = Text | Facts | Table | Picture | Fixed


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    title: str
    parts: Sequence[Part]


def page_text(title: str, lead: str, sections: Sequence[Section]) -> str:
    """A whole page as HTML.

    Args:
        title: of the page.
        lead: a sentence or two under it.
        sections: in order; those without parts are left out.

    Returns:
        HTML that loads nothing.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filled = [section for section in sections if section.parts]
    environment.tests["link"] = lambda cell: isinstance(cell, Link)
    template = environment.get_template("page.html")
    return template.render(title=title, lead=lead, sections=filled)


def write_page(path: Path, title: str, lead: str, sections: Sequence[Section]) -> Path:
    """Writes a page whole or not at all; arguments as in `page_text`.

    Raises:
        OSError: the folder is missing, full or not writable.
    """
    write_text(path, page_text(title, lead, sections))
    return path


def drawn(figure: Figure) -> str:
    """A figure of lines and text as an SVG for `Picture`; what has the colour `INK` is themed."""
    buffer = io.StringIO()
    figure.patch.set_alpha(0)
    FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})
    text = buffer.getvalue().replace(INK, "currentColor")
    head, _, tail = text.rpartition("</svg>")
    return _data("image/svg+xml", (head + THEMED + tail).encode())


def photographed(figure: Figure, quality: int = 88) -> str:
    """A figure of grey values as a WebP for `Picture`."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_webp(buffer, pil_kwargs={"quality": quality})
    return _data("image/webp", buffer.getvalue())


def embedded(path: Path) -> str:
    """A PNG file for `Picture`."""
    return _data("image/png", path.read_bytes())


def plain_axes(figure: Figure, rows: int = 1, columns: int = 1) -> list[Any]:
    """Axes of a curves figure, row by row: themed ink, a light grid, no box around them."""
    every = figure.subplots(rows, columns, squeeze=False).flatten().tolist()
    for axes in every:
        axes.patch.set_alpha(0)
        axes.set_prop_cycle(color=LINES)
        axes.tick_params(colors=INK, labelsize=9)
        for part in (axes.xaxis.label, axes.yaxis.label, axes.title):
            part.set_color(INK)
        for side, spine in axes.spines.items():
            spine.set_color(INK)
            spine.set_visible(side in ("left", "bottom"))
        axes.grid(color=INK, alpha=0.15)
        axes.set_axisbelow(True)
    return every


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
