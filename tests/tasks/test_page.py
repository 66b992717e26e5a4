import base64
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from thirdaxis.tasks.page import (
    INK,
    Facts,
    Fixed,
    Link,
    Picture,
    Section,
    Table,
    Text,
    drawn,
    page_text,
    photographed,
    plain_axes,
    write_page,
)

ROWS = [
    [Link("case_10", "#case_10"), 0.5, math.inf],
    ["case_9", math.nan, 2.0],
    ["case_1", 0.95, None],
    ["<case>", 0.125, 11.0],
]
TABLE = Table(["case", "Dice", "HD95"], ROWS, sortable=True)


@pytest.fixture
def page_file(tmp_path: Path) -> Path:
    figure = Figure(figsize=(3, 2))
    (axes,) = plain_axes(figure)
    axes.plot([0, 1], [0, 1])
    grey = Figure(figsize=(3, 2), facecolor="black")
    grey.subplots().imshow([[0, 1], [1, 0]], cmap="gray")
    parts = [
        Facts([("mean Dice", "0.861", "95 % 0.84 to 0.88")]),
        TABLE,
        Picture(drawn(figure), "a curve"),
        Picture(photographed(grey), "squares", "worst", "case_10"),
        Fixed("settings.yaml", "epochs: 3\nnetwork: <unet>"),
    ]
    return write_page(tmp_path / "page.html", "A & B", "lead", [Section("All", parts)])


def test_the_browser_shows_everything_and_asks_nobody(
    page_file: Path, browse: Callable[..., dict[str, Any]]
) -> None:
    seen = browse(
        page_file,
        """() => ({
            sizes: [...document.images].map(picture => picture.naturalWidth),
            ground: getComputedStyle(document.body).backgroundColor,
            wide: document.documentElement.scrollWidth > innerWidth,
        })""",
    )
    assert seen["requests"] == [page_file.as_uri()]
    assert seen["complaints"] == []
    assert len(seen["found"]["sizes"]) == 2 and min(seen["found"]["sizes"]) > 100
    assert not seen["found"]["wide"]
    dark = browse(page_file, "() => getComputedStyle(document.body).backgroundColor", dark=True)
    assert dark["found"] != seen["found"]["ground"]


def test_a_click_on_a_heading_sorts_and_a_second_one_turns_round(
    page_file: Path, browse: Callable[..., dict[str, Any]]
) -> None:
    names = "[...document.querySelectorAll('tbody tr')].map(row => row.cells[0].innerText)"
    seen = browse(
        page_file,
        f"""() => {{
            const orders = [{names}];
            for (const column of [1, 1, 2, 2, 0]) {{
                document.querySelectorAll("th button")[column].click();
                orders.push({names});
            }}
            return orders;
        }}""",
    )
    assert seen["found"] == [
        ["case_10", "case_9", "case_1", "<case>"],
        ["<case>", "case_10", "case_1", "case_9"],  # Dice upwards, nan last
        ["case_1", "case_10", "<case>", "case_9"],  # Dice downwards, nan last
        ["case_9", "<case>", "case_10", "case_1"],  # HD95 upwards, infinite before missing
        ["case_10", "<case>", "case_9", "case_1"],
        ["<case>", "case_1", "case_9", "case_10"],  # names as people count
    ]


def test_words_of_others_stay_words() -> None:
    bad = "<script>alert(1)</script>"
    sections = [
        Section(
            bad,
            [
                Text(bad),
                Facts([(bad, bad, bad)]),
                Table([bad], [[bad], [Link(bad, f"#{bad}")]], bad, sortable=True),
                Picture("data:,", bad, bad, bad),
                Fixed(bad, bad),
            ],
        )
    ]
    text = page_text(bad, bad, sections)
    assert text.count("<script>") == 1  # the page's own
    assert text.count("&lt;script&gt;") == 20


def test_cells_are_shown_and_compared_apart() -> None:
    table = Table(["a"], [], digits=2)
    shown = [0.125, 7, math.nan, None, math.inf, -math.inf, "x", Link("y", "#y")]
    assert [table.shown(cell) for cell in shown] == ["0.12", "7", "–", "–", "∞", "−∞", "x", "y"]
    assert [table.key(cell) for cell in shown] == [
        *("0.125", "7.0", "", "", "Infinity", "-Infinity", "x", "y")
    ]


def test_sections_without_parts_are_left_out() -> None:
    text = page_text("t", "l", [Section("empty", []), Section("full", [Text("said")])])
    assert re.findall(r"<h2>(\w+)</h2>", text) == ["full"]


def test_the_ink_of_figures_follows_the_theme() -> None:
    figure = Figure(figsize=(2, 2))
    (axes,) = plain_axes(figure)
    axes.set(title="curves")
    source = drawn(figure)
    assert source.startswith("data:image/svg+xml;base64,")
    svg = base64.b64decode(source.partition(",")[2]).decode()
    assert "currentColor" in svg and INK not in svg
    assert "prefers-color-scheme:dark" in svg
