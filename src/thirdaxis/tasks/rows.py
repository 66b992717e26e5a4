"""Recipes: settings files that rerun a published table, one named row at a time."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thirdaxis.errors import InputError, UsageError, did_you_mean
from thirdaxis.tasks.settings import About, RunSettings
from thirdaxis.tasks.settings_files import make_settings, merged, read_settings_file

ROWS = "rows"


def row_names(told: Mapping[str, Any], origin: str) -> list[str]:
    """The rows of a settings file, in its order; none for a file without rows.

    Raises:
        UsageError: `rows` is no table of tables, or the file is a recipe of another verb.
    """
    if "experiment" in told:
        raise UsageError(f"{origin}: makes its own data, and is run by: thirdaxis run {origin}")
    rows = told.get(ROWS) or {}
    if not isinstance(rows, Mapping) or not all(isinstance(row, Mapping) for row in rows.values()):
        raise UsageError(f"{origin}: rows is a table of row name -> table of settings")
    return [str(name) for name in rows]


def with_row(told: Mapping[str, Any], name: str | None, origin: str) -> dict[str, Any]:
    """Settings of one row: those of the file with the row's laid over them.

    Args:
        told: what the file says; `rows` holds for each name the settings that differ, and what the
            publication prints as `published`.
        name: of the row, in any case; none for a file without rows.
        origin: the file, for errors.

    Returns:
        Setting name -> value, unchecked, without `rows`; `about` says the row.

    Raises:
        UsageError: no such row, or none named of several.
    """
    names = row_names(told, origin)
    settings = {key: value for key, value in told.items() if key != ROWS}
    if name is None:
        if names:
            raise UsageError(f"{origin}: has rows, choose one by --row: {', '.join(names)}")
        return settings
    known = {one.lower(): one for one in names}
    if name.lower() not in known:
        if not names:
            raise UsageError(f"{origin}: has no rows, leave --row {name!r} out")
        raise UsageError(f"{origin}: unknown row {name!r}{did_you_mean(name, known)}")
    row = dict(told[ROWS][known[name.lower()]])
    about = {"row": known[name.lower()], "published": row.pop("published", {})}
    return merged(merged(settings, row), {"about": about})


def needs(about: About) -> str:
    """What a recipe needs and where to get it, as the end of a sentence."""
    parts = [
        about.data or "data of your own",
        f"from {about.source}" if about.source else "",
        f"on disk: {about.layout}" if about.layout else "",
    ]
    return "; ".join(part for part in parts if part)


def check_data(told: Mapping[str, Any], settings: RunSettings | None, origin: str) -> None:
    """Says what a recipe needs where its data are not told or not there.

    Args:
        told: what was told, with or without `data`.
        settings: checked, where `data` was told.
        origin: the recipe, for errors.

    Raises:
        InputError: the recipe's data are absent.
    """
    if not told.get("about") or (settings is not None and Path(settings.data).exists()):
        return
    about = make_settings({"about": told["about"], "data": "data"}, origin).about
    assert about is not None
    missing = "no data are told" if settings is None else f"there are no data at {settings.data}"
    raise InputError(f"{origin}: {missing}; name them by --set data=PATH. It needs {needs(about)}")


def published(settings: RunSettings) -> str | None:
    """One line of what the publication prints for the row; none where it prints nothing."""
    about = settings.about
    if about is None or not about.published:
        return None
    numbers = ", ".join(f"{name} {number:g}" for name, number in about.published.items())
    return f"published: {about.row}: {numbers} ({about.paper}, {about.table})"


def recipes_in(folder: Path) -> dict[str, Path]:
    """The recipes of a folder and of those in it, by their path from there."""
    return {file.relative_to(folder).as_posix(): file for file in sorted(folder.rglob("*.yaml"))}


def markdown(file: Path, title: str | None = None) -> str:
    """A section of the documentation about a recipe: what it reruns, what it needs, its rows.

    Args:
        file: the recipe.
        title: its path in the folder of recipes; none takes its name.
    """
    told = read_settings_file(file)
    names = row_names(told, file.name)
    about = About(**told["about"])
    lines = [f"## {title or file.name}", "", f"{about.paper}. {_sentence(about.table)}", ""]
    facts = {"Data": about.data, "From": about.source, "On disk": about.layout}
    lines += [f"- {word}: {text}" for word, text in facts.items() if text]
    lines += ["", _sentence(about.notes), ""] if about.notes else [""]
    for number, (stage, own) in enumerate(told.get("stages", {}).items(), 1):
        lines += [f"{number}. Stage `{stage}`: {_settings(own)}."]
    lines += [""] if "stages" in told else []
    if names:
        lines += ["| row | settings | published |", "|---|---|---|"]
    for name in names:
        row = dict(told[ROWS][name])
        printed = ", ".join(f"{key} {value:g}" for key, value in row.pop("published", {}).items())
        lines.append(f"| {name} | {_settings(row)} | {printed} |")
    return "\n".join(lines).rstrip() + "\n"


def _settings(told: Mapping[str, Any]) -> str:
    """Settings as words; those of a stage under its name, such as `volumes.fusion: acs`."""
    flat = dict(told)
    for stage, own in flat.pop("stages", {}).items():
        inner = {f"{stage}.{key}": value for key, value in own.items()} if own else {}
        flat |= inner or {stage: "left out"}
    return ", ".join(f"`{key}: {value}`" for key, value in flat.items())


def _sentence(text: str | None) -> str:
    text = (text or "").strip()
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}" if text else ""
