"""`thirdaxis compare`: finished runs in one table, with deviations and tests."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from thirdaxis.tasks.comparison.compare import Comparison


def compare(
    runs: Annotated[
        list[Path], typer.Argument(help="Finished run folders, or folders that hold some.")
    ],
    score: Annotated[
        str | None,
        typer.Option(help="Number of metrics.json, such as auc; default: the task's first."),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            help="Settings that make a group: fusion,weights; or name, the folder's name without "
            "its last number. Default: all in which runs differ but for seed and fold."
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(help="Group that the others are tested against; default: the best."),
    ] = None,
    curve: Annotated[
        str | None,
        typer.Option(help="Numeric setting, such as fraction, to compare at each value of."),
    ] = None,
    welch: Annotated[
        bool, typer.Option("--welch", help="t-test that leaves groups their own variances.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for the table as CSV, JSON, Markdown, picture."),
    ] = None,
) -> None:
    """Compare finished runs: mean ± deviation over seeds and folds, and tests between groups.

    Runs that differ only in seed or fold are one group. Groups are tested against the best one, or
    a named one: over runs by the t-test of independent samples, and over the cases that both have
    scored, paired.
    """
    from thirdaxis.tasks.comparison.compare import compare as compare_runs
    from thirdaxis.tasks.comparison.written import about, title, write_comparison

    found = compare_runs(
        runs,
        score=score,
        by=[word.strip() for word in by.split(",")] if by else (),
        against=against,
        curve=curve,
        welch=welch,
    )
    console = Console(highlight=False)
    console.print(title(found))
    console.print(_table(found))
    for line in (about(found), *(f"Note: {note}." for note in found.notes)):
        console.print(line, markup=False)
    if out is not None:
        table = write_comparison(found, out)[0]
        console.print(f"Every number: {table.parent}", markup=False, soft_wrap=True)


def _table(found: "Comparison") -> Table:
    from thirdaxis.tasks.comparison.written import chance, number, over_runs, span, spread

    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("group", overflow="fold")
    by_case = any(row.cases for row in found.rows)
    heads = ["runs", "mean ± sd", "95 %", "p runs", *(("by case", "p cases") if by_case else ())]
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    before = None
    for row in found.rows:
        if row.at != before:
            table.add_section()
            table.add_row(f"{found.curve} {row.at:g}")
            before = row.at
        cells = [str(len(row.values)), spread(row), span(row.interval).replace(" to ", "–")]
        cells.append(over_runs(row))
        if by_case:
            told = row.cases
            cells += ["", ""] if told is None else [number(told.mean, True), chance(told.p)]
        table.add_row(f"  {row.group.label}" if found.curve else row.group.label, *cells)
    return table
