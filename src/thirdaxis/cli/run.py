"""`thirdaxis run`: rerun a published experiment from its recipe."""

from pathlib import Path
from typing import Annotated

import typer

from thirdaxis.errors import UsageError


def run(
    recipe: Annotated[Path, typer.Argument(help="A recipe, such as recipes/poc.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for checkpoints, table and curves.")
    ] = Path("experiment"),
    rows: Annotated[
        str | None,
        typer.Option(help="Rows of the table to run, in this order: 'ACS p.,ACS r.'; default all."),
    ] = None,
    seeds: Annotated[str, typer.Option(help="Seeds, such as 0,1,2.")] = "0",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[
        str, typer.Option(help="32, or bf16 mixed with it: two to three times faster.")
    ] = "32",
    report_only: Annotated[
        bool, typer.Option("--report-only", help="Write table and curves of what is there.")
    ] = False,
) -> None:
    """Run a published experiment again; the same command goes on where it was stopped."""
    from thirdaxis.cli.display import say
    from thirdaxis.tasks.shapes import run as shapes_run
    from thirdaxis.tasks.shapes.recipe import read_recipe
    from thirdaxis.tasks.shapes.report import write_report

    plan = read_recipe(recipe)
    chosen = plan.chosen(None if rows is None else rows.split(","))
    numbers = _numbers(seeds)
    machine = shapes_run.pick_machine(device, precision)
    out.mkdir(parents=True, exist_ok=True)
    if report_only:
        table = write_report(plan, shapes_run.states_in(plan, out), out)
    else:
        table = shapes_run.run(plan, out, chosen, numbers, machine, say)
    say(table.read_text(encoding="utf-8"))
    say(f"table: {table}")


def _numbers(words: str) -> list[int]:
    try:
        found = [int(word) for word in words.split(",")]
    except ValueError:
        found = []
    if not found or min(found) < 0:
        raise UsageError(f"--seeds takes whole numbers from 0, such as 0,1,2, got {words!r}")
    return found
