"""`thirdaxis report`: the page of a training run."""

from pathlib import Path
from typing import Annotated

import typer

from thirdaxis.cli.display import say


def report(
    run: Annotated[Path, typer.Argument(help="Run folder, finished or under way.")],
) -> None:
    """Write a run's report.html anew: curves, scores with intervals, cases, configuration."""
    from thirdaxis.tasks.runs import report as write_report

    say(str(write_report(run)))
