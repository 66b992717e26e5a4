"""Settings from files and `name=value` words, and as a file that tells them all."""

import json
import textwrap
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from thirdaxis.errors import InputError, UsageError, did_you_mean
from thirdaxis.nets.natural import natural_settings
from thirdaxis.tasks.kinds import DEFAULT, KINDS
from thirdaxis.tasks.settings import About, RunSettings

SUFFIXES: dict[str, Callable[[str], Any]] = {
    ".yaml": yaml.safe_load,
    ".yml": yaml.safe_load,
    ".toml": tomllib.loads,
    ".json": json.loads,
}


def make_settings(values: Mapping[str, Any], origin: str) -> RunSettings:
    """Checks values and fills in the defaults; `task` decides which settings there are.

    Args:
        values: setting name -> value.
        origin: where the values came from, for the error message.

    Returns:
        The settings.

    Raises:
        UsageError: an unknown name (with the nearest known one) or an impossible value.
    """
    task = values.get("task", DEFAULT)
    if task not in KINDS:
        raise UsageError(f"{origin}: unknown task {task!r}{did_you_mean(str(task), KINDS)}")
    form = KINDS[task].settings
    for name in values:
        if name not in form.model_fields:
            near = did_you_mean(str(name), form.model_fields)
            raise UsageError(f"{origin}: unknown setting {str(name)!r}{near}")
    try:
        return form(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"][:1])
        if first["type"] == "extra_forbidden" and name == "about":
            inner = str(first["loc"][-1])
            near = did_you_mean(inner, About.model_fields)
            raise UsageError(f"{origin}: unknown setting 'about.{inner}'{near}") from None
        reason = first["msg"].removeprefix("Value error, ")
        told = f"setting {name!r}: {reason} (got {values.get(name)!r})" if name else reason
        raise UsageError(f"{origin}: {told}") from None


def read_settings_file(path: Path) -> dict[str, Any]:
    """Reads setting names and values from a YAML, TOML or JSON file.

    Args:
        path: a file ending in `.yaml`, `.yml`, `.toml` or `.json`.

    Returns:
        Setting name -> value, unchecked.

    Raises:
        InputError: no such file, or not readable as what its name says.
        UsageError: another ending.
    """
    if path.suffix not in SUFFIXES:
        raise UsageError(f"{path}: a settings file ends in {', '.join(SUFFIXES)}")
    try:
        values = SUFFIXES[path.suffix](path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such settings file") from None
    except (ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not a valid {path.suffix[1:]} file: {reason}") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected a table of settings, got {type(values).__name__}")
    return values


def read_assignments(words: Sequence[str]) -> dict[str, Any]:
    """Reads `name=value` words; a value is read as YAML reads it.

    Args:
        words: such as `("epochs=10", "patch=32,48,32", "overrides.layer1*=i3d")`; a dot
            reaches into a table.

    Returns:
        Setting name -> value, unchecked.

    Raises:
        UsageError: a word without `=`, or a value that is not YAML.
    """
    values: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"setting {word!r}: expected NAME=VALUE, such as epochs=10")
        *tables, last = name.strip().split(".")
        place = values
        for table in tables:
            place = place.setdefault(table, {})
            if not isinstance(place, dict):
                raise UsageError(f"setting {word!r}: {table!r} was given a value before")
        try:
            place[last] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise UsageError(f"setting {word!r}: the value is not valid YAML") from None
    return values


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with others laid over them, table by table."""
    found = dict(below)
    for name, value in above.items():
        before = found.get(name)
        both = isinstance(before, Mapping) and isinstance(value, Mapping)
        found[name] = merged(before, value) if both else value  # type: ignore[arg-type]
    return found


def default_text(task: str = DEFAULT) -> str:
    """The full default settings of a task as YAML, each with its meaning above it.

    Raises:
        UsageError: no such task.
    """
    if task not in KINDS:
        raise UsageError(f"unknown task {task!r}{did_you_mean(task, KINDS)}")
    form = KINDS[task].settings
    natural = natural_settings(form.model_fields["network"].default)
    lines = []
    for name, field in form.model_fields.items():
        meaning = " ".join((field.description or "").split())
        lines += [f"# {line}" for line in textwrap.wrap(meaning, 96)]
        if field.is_required():
            lines += [f"# {name}:  (has to be told)", ""]
            continue
        value = TypeAdapter(Any).dump_python(natural.get(name, field.get_default()), mode="json")
        plain = yaml.safe_dump(value, default_flow_style=True, width=96).removesuffix("...\n")
        lines += [f"{name}: {plain.rstrip()}", ""]
    return "\n".join(lines)
