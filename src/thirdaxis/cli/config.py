"""`thirdaxis config`: every setting of a task, with its default and its meaning."""

from typing import Annotated

import typer


def config(
    task: Annotated[str, typer.Argument(help="segment, classify, ...")] = "segment",
) -> None:
    """Print the full default settings of a task as YAML, to be changed and given to `train`."""
    from thirdaxis.tasks.settings_files import default_text

    typer.echo(default_text(task))
