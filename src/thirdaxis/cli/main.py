"""The command `thirdaxis`: its verbs, and how every fault leaves it."""

import sys
from collections.abc import Sequence
from importlib.metadata import version as installed_version
from typing import Annotated

import typer

from thirdaxis.cli.check import check
from thirdaxis.cli.compare import compare
from thirdaxis.cli.config import config
from thirdaxis.cli.convert import convert
from thirdaxis.cli.evaluate import evaluate
from thirdaxis.cli.export import export
from thirdaxis.cli.faults import exit_code, one_line, show
from thirdaxis.cli.pack import pack
from thirdaxis.cli.predict import predict
from thirdaxis.cli.prepare import prepare
from thirdaxis.cli.pretrain import pretrain
from thirdaxis.cli.quickstart import quickstart
from thirdaxis.cli.report import report
from thirdaxis.cli.run import run as run_recipe
from thirdaxis.cli.train import train

app = typer.Typer(
    name="thirdaxis",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="Turn a pretrained 2D network into a 3D one, and use it on real scans.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("quickstart")(quickstart)
app.command("convert")(convert)
app.command("check")(check)
app.command("pack")(pack)
app.command("export")(export)
app.add_typer(prepare, name="prepare")
app.add_typer(pretrain, name="pretrain")
app.command("config")(config)
app.command("train")(train)
app.command("evaluate")(evaluate)
app.command("predict")(predict)
app.command("report")(report)
app.command("compare")(compare)
app.command("run")(run_recipe)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"thirdaxis {installed_version('thirdaxis')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    pass


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: the words after `thirdaxis`; none takes those of this process.

    Returns:
        The exit code: 0, 1 for bad input, 2 for wrong arguments, 130 after Ctrl-C.
    """
    try:
        words = None if arguments is None else list(arguments)
        code = app(args=words, prog_name="thirdaxis", standalone_mode=False)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    except BaseException as fault:
        known = exit_code(fault)
        if known is None:
            raise
        if line := one_line(fault):
            show(line)
        return known
    return code if isinstance(code, int) else 0


def main() -> None:
    """The console entry: runs the command of this process and exits with its code."""
    sys.exit(run())
