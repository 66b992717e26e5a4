"""Which case is of which patient: by a pattern of its name, or by a table beside the scans."""

import csv
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from thirdaxis.data.volume import file_ending
from thirdaxis.errors import InputError, UsageError, did_you_mean

TABLE = re.compile(r"^(?P<file>[^:]+\.csv):(?P<column>[^:]+)$")


def patient_of(rule: str, root: Path, names: Iterable[str]) -> Callable[[str], str]:
    """Case name to patient.

    Args:
        rule: a regular expression whose match in a case name is the patient, such as `^[^_]+`; or
            `FILE.csv:COLUMN`, a table in the data folder whose first column names the case or its
            file.
        root: the data folder.
        names: of the cases, each of which has to have a patient.

    Raises:
        UsageError: a pattern that matches nothing in a case name.
        InputError: no such table or column, or a case that it does not list.
    """
    table = TABLE.match(rule)
    found = (
        {name: _matched(rule, name) for name in names}
        if table is None
        else _listed(root / table["file"], table["column"])
    )
    for name in names:
        if name not in found:
            raise InputError(f"{root}: the case {name!r} is not in the first column of {rule}")
    return found.__getitem__


def _matched(pattern: str, name: str) -> str:
    found = re.search(pattern, name)
    if found is None:
        raise UsageError(f"patient {pattern!r} matches nothing in the case {name!r}")
    return found.group()


def _listed(path: Path, column: str) -> dict[str, str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            columns = rows.fieldnames or ()
            if column not in columns:
                raise InputError(f"{path}: has no column {column!r}{did_you_mean(column, columns)}")
            return {_case(row[columns[0]] or ""): row[column] or "" for row in rows}
    except FileNotFoundError:
        raise InputError(f"{path}: no such table of patients") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not readable as CSV in UTF-8 ({error})") from None


def _case(cell: str) -> str:
    name = Path(cell.strip()).name
    return name.removesuffix(file_ending(name))
