"""What every verb that trains does once its words are read: dry run, resume, or train."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from thirdaxis.cli.display import say, watched
from thirdaxis.cli.faults import show
from thirdaxis.errors import UsageError


def told_by(
    data: Path | None,
    settings: Path | None,
    row: str | None,
    assignments: Sequence[str] | None,
    flags: Mapping[str, Any],
) -> tuple[dict[str, Any], str]:
    """Settings of a run from a file, its row, `NAME=VALUE` words and options, the last winning.

    Args:
        data: the data, or a settings file in their place.
        settings: a settings file.
        row: of a recipe.
        assignments: the words.
        flags: setting name -> value of an option; None where it was not given.

    Returns:
        Setting name -> value, unchecked, and what to call their origin.

    Raises:
        ThirdaxisError: two files, or one that cannot be read.
    """
    from thirdaxis.tasks.rows import with_row
    from thirdaxis.tasks.settings_files import (
        SUFFIXES,
        merged,
        read_assignments,
        read_settings_file,
    )
    from thirdaxis.tasks.stages import check_reached

    if data is not None and data.suffix in SUFFIXES and not data.is_dir():
        if settings is not None:
            raise UsageError(f"two settings files: {data} and {settings}; name one")
        data, settings = None, data
    origin = str(settings or "settings")
    told = with_row(read_settings_file(settings) if settings else {}, row, origin)
    words = read_assignments(assignments or ())
    flags = {"data": None if data is None else str(data), **flags}
    flags = {name: value for name, value in flags.items() if value is not None}
    told = merged(told, words) | flags
    check_reached(told, words | flags, origin)
    return told, origin


def begin(
    told: dict[str, Any], origin: str, out: Path, *, verb: str, dry: bool, resume: bool
) -> None:
    """Trains, goes on with a run, or only tells what it would take.

    Args:
        told: setting name -> value, unchecked.
        origin: where they came from, for errors.
        out: the run folder.
        verb: words of the command, for hints.
        dry: whether to do a dry run.
        resume: whether to go on with the run in `out`.

    Raises:
        ThirdaxisError: a fault in settings or data.
    """
    from thirdaxis.tasks import runs
    from thirdaxis.tasks.dry_run import dry_run
    from thirdaxis.tasks.engine import Display
    from thirdaxis.tasks.rows import check_data, published
    from thirdaxis.tasks.run_folder import STAGES
    from thirdaxis.tasks.stages import resume_stages, runs_of, train_stages

    chosen = {} if resume and not dry else runs_of({"data": "data", **told}, out, origin)
    if dry:
        for one in chosen.values():
            dry_run(one, say)
        return
    display = Display(say=say, watch=watched, bar=sys.stdout.isatty())
    if resume:
        _refuse_changes(out, told)
    elif "data" not in told:
        check_data(told, None, origin)
        raise UsageError(f"no data folder; name it, as in: {verb} DATA --out run")
    try:
        if resume:
            (resume_stages if (out / STAGES).is_file() else runs.resume)(out, display)
        else:
            last = list(chosen.values())[-1]
            check_data(told, last, origin)
            if "stages" in told:
                train_stages(chosen, out, display)
            else:
                runs.train(last, out, display)
            if line := published(last):
                say(line)
    except KeyboardInterrupt:
        hint = f"; go on with: {verb} --resume --out {out}" if out.exists() else ""
        show(f"interrupted{hint}")
        raise typer.Exit(130) from None


def _refuse_changes(out: Path, told: dict[str, Any]) -> None:
    """A resumed run keeps its settings: changed ones could not give the unbroken run's result."""
    from thirdaxis.tasks.run_folder import STAGES, read_run
    from thirdaxis.tasks.settings_files import make_settings
    from thirdaxis.tasks.stages import read_stages, runs_of

    if (out / STAGES).is_file():
        kept_stages = [one.plain() for one in read_stages(out).values()]
        asked_stages = runs_of(told, out, "settings").values() if "stages" in told else ()
        if told and [one.pinned().plain() for one in asked_stages] != kept_stages:
            raise UsageError(f"--resume keeps the settings in {out / STAGES}; leave others out")
        return
    kept = read_run(out).settings.plain()
    asked = make_settings(kept | told, "settings").pinned().plain()
    for name in told:
        if asked[name] != kept[name]:
            raise UsageError(
                f"--resume keeps the run's settings: {name} is {kept[name]!r} there, not "
                f"{asked[name]!r}; leave it out, or begin a new run"
            )
