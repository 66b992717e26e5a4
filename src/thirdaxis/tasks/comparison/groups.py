"""Runs that were told the same but for their seed and fold, and what they are called."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from thirdaxis.errors import InputError, UsageError, did_you_mean
from thirdaxis.tasks.comparison.finished import Finished

REPEATS = ("seed", "fold")
"""Settings in which the runs of a group may differ."""
ASIDE = (
    *("task", "about", "cache", "draws", "workers"),
    *("accelerator", "devices", "nodes"),
)
"""Settings that say where and how a run was made, not what it is."""
NAME = "name"
"""Groups by the folder's name, without the number at its end."""


@dataclass(frozen=True)
class Group:
    """Runs of one kind.

    Args:
        label: what they are called.
        told: the settings by which they are a group.
        runs: of it.
    """

    label: str
    told: Mapping[str, Any]
    runs: tuple[Finished, ...]


def differing(runs: Sequence[Finished]) -> list[str]:
    """Settings in which runs differ, but for seed, fold and what does not matter."""
    left_out = {*REPEATS, *ASIDE}
    return [
        name
        for name in runs[0].settings
        if name not in left_out and len({_key(name, run.settings.get(name)) for run in runs}) > 1
    ]


def grouped(runs: Sequence[Finished], by: Sequence[str]) -> list[Group]:
    """Groups runs by settings, in the order in which they come.

    Args:
        runs: of one task.
        by: names of settings, or `name`.

    Returns:
        The groups, each under a label of its own.
    """
    members: dict[tuple[str, ...], list[Finished]] = {}
    for run in runs:
        key = tuple(_key(name, value_of(run, name)) for name in by)
        members.setdefault(key, []).append(run)
    told = [{name: value_of(some[0], name) for name in by} for some in members.values()]
    words = {name: _words([one[name] for one in told]) for name in by}
    labels = [
        ", ".join(_word(name, value, words[name]) for name, value in one.items()) or "all runs"
        for one in told
    ]
    return [
        Group(label, one, tuple(some))
        for label, one, some in zip(labels, told, members.values(), strict=True)
    ]


def value_of(run: Finished, name: str) -> Any:
    """A setting of a run, or what `name` says of its folder."""
    if name != NAME:
        return run.settings.get(name)
    whole = run.folder.resolve().name
    return re.sub(r"([-_. ]+|[-_. ]*(seed|fold)[-_. ]*)\d+$", "", whole) or whole


def check_names(names: Sequence[str], runs: Sequence[Finished]) -> None:
    """Refuses what is no setting.

    Raises:
        UsageError: with the nearest setting.
    """
    known = [*runs[0].settings, NAME]
    for name in names:
        if name not in known:
            raise UsageError(f"--by: unknown setting {name!r}{did_you_mean(name, known)}")


def same_task(runs: Sequence[Finished], by: Sequence[str]) -> None:
    """Refuses runs that have nothing in common.

    Args:
        runs: to be compared.
        by: what groups were asked for; `data` among them allows several data sets.

    Raises:
        InputError: other tasks, or other data.
    """
    first = runs[0]
    for run in runs[1:]:
        if run.task != first.task:
            raise InputError(
                f"{run.folder} is a run of the task {run.task!r}, {first.folder} of "
                f"{first.task!r}; only runs of one task are compared"
            )
        if _key("data", run.settings["data"]) != _key("data", first.settings["data"]):
            if "data" in by:
                continue
            raise InputError(
                f"{run.folder} was trained on {run.settings['data']}, {first.folder} on "
                f"{first.settings['data']}; name --by data to compare them all the same"
            )


def _key(name: str, value: Any) -> str:
    """A value as it is compared: of the data only the name, wherever they lie."""
    if name == "data" and value:
        path = Path(value)
        value = "/".join(path.parts[-2:]) if path.suffix else path.name
    return json.dumps(value, sort_keys=True)


def _words(values: Sequence[Any]) -> dict[str, str]:
    """Texts shortened: of paths as many parts from their end as tell them apart."""
    texts = sorted({value for value in values if isinstance(value, str)})
    parts = [PurePath(text).parts for text in texts]
    for count in range(1, max(map(len, parts), default=0) + 1):
        short = [_plain("/".join(each[-count:])) for each in parts]
        if len(set(short)) == len(texts):
            return dict(zip(texts, short, strict=True))
    return {text: text for text in texts}


def _plain(name: str) -> str:
    """A file's name without the ending that weights have."""
    return re.sub(r"\.(safetensors|pth|pt|ckpt|bin)$", "", name) or name


def _word(name: str, value: Any, words: Mapping[str, str]) -> str:
    """A value in words; what does not speak for itself stands behind its name."""
    if isinstance(value, str):
        return words[value]
    if value is None:
        return f"{name} none"
    if isinstance(value, bool):
        return f"{name} {str(value).lower()}"
    if isinstance(value, int | float):
        return f"{name} {value:g}"
    if isinstance(value, list):
        return f"{name} {','.join(map(str, value)) or 'none'}"
    return f"{name} {json.dumps(value)}"
