"""A comparison as files: CSV, JSON, Markdown and a picture."""

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

from thirdaxis.atomic import write_text
from thirdaxis.metrics.table import strict
from thirdaxis.tasks.comparison.compare import Comparison, Row
from thirdaxis.tasks.comparison.picture import comparison_figure
from thirdaxis.tasks.pictures import save_figure

TABLE, PICTURE = "comparison", "comparison.png"


def write_comparison(found: Comparison, folder: Path) -> list[Path]:
    """Writes `comparison.csv`, `.json`, `.md` and `.png`, each whole or not at all.

    Args:
        found: the comparison.
        folder: where to; it is made where it is missing.

    Returns:
        The files.

    Raises:
        OSError: the folder is not writable or full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"csv": csv_text, "json": json_text, "md": markdown}
    for ending, text in texts.items():
        write_text(folder / f"{TABLE}.{ending}", text(found))
    save_figure(comparison_figure(found), folder / PICTURE)
    return [*(folder / f"{TABLE}.{ending}" for ending in texts), folder / PICTURE]


def title(found: Comparison) -> str:
    """What is compared, in a line."""
    by = f", by {', '.join(found.by)}" if found.by else ""
    return f"{found.score} of {found.runs} runs ({found.task}){by}"


def test_name(found: Comparison) -> str:
    """What the t-test is called."""
    return "Welch's t-test" if found.welch else "t-test of independent samples"


def about(found: Comparison) -> str:
    """How the numbers were made, in a few sentences."""
    over = "drawing patients" if found.task == "classify" else "Wilcoxon's signed-rank test"
    parts = [
        "Mean and standard deviation (n - 1) over runs, with the 95 % interval of the mean by "
        f"Student's t. p runs: {test_name(found)} over runs, against the row ref."
    ]
    if any(row.cases for row in found.rows):
        parts.append(f"By case: mean difference over the cases that both scored, p by {over}.")
    if any(row.against for row in found.rows):
        parts.append("No p is corrected for the number of rows.")
    return " ".join(parts)


def csv_text(found: Comparison) -> str:
    """A line a group, with its settings and every number."""
    out = io.StringIO()
    rows = [plain_row(found, row) for row in found.rows]
    for row in rows:
        row.pop("runs")
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _cell(value) for name, value in row.items()})
    return out.getvalue()


def json_text(found: Comparison) -> str:
    """The same, with each run; what is not known is null."""
    told = {
        "task": found.task,
        "score": found.score,
        "by": list(found.by),
        "curve": found.curve,
        "test": test_name(found),
        "about": about(found),
        "notes": list(found.notes),
        "groups": [plain_row(found, row) for row in found.rows],
    }
    return json.dumps(strict(told), indent=2, allow_nan=False) + "\n"


def plain_row(found: Comparison, row: Row) -> dict[str, Any]:
    """One group as names and values."""
    low, high = row.interval
    told: dict[str, Any] = {"group": row.group.label}
    told |= {f"setting {name}": value for name, value in row.group.told.items()}
    if found.curve is not None:
        told[f"setting {found.curve}"] = row.at
    told |= {"count": len(row.values), "mean": row.mean, "sd": row.sd, "low": low, "high": high}
    test, cases = row.test, row.cases
    told |= {"against": row.against}
    told |= {
        name: None if test is None else getattr(test, part)
        for name, part in (
            *(("difference", "difference"), ("difference_low", "low")),
            *(("difference_high", "high"), ("t", "t"), ("freedom", "freedom"), ("p", "p")),
        )
    }
    told |= {
        f"cases_{name}": None if cases is None else getattr(cases, part)
        for name, part in (
            *(("count", "cases"), ("difference", "mean"), ("low", "low"), ("high", "high")),
            ("p", "p"),
        )
    }
    told["runs"] = [
        {
            "folder": str(run.folder),
            "seed": run.settings.get("seed"),
            "fold": run.settings.get("fold"),
            found.score: value,
        }
        for run, value in zip(row.group.runs, row.values, strict=True)
    ]
    return told


def markdown(found: Comparison) -> str:
    """A table for a document, with how it was made below."""
    lines = [f"# {title(found)}", "", *table_lines(found), "", about(found)]
    return "\n".join([*lines, *(f"\nNote: {note}." for note in found.notes)]) + "\n"


def table_lines(found: Comparison) -> list[str]:
    """The table alone, in Markdown."""
    heads = ["group", *([found.curve] if found.curve else []), "runs", "mean ± sd", "95 %"]
    heads += ["p runs", "by case", "95 %", "p cases"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in found.rows:
        cells = [row.group.label.replace("|", "\\|")]
        cells += [] if row.at is None else [f"{row.at:g}"]
        cells += [str(len(row.values)), spread(row), span(row.interval), *_tests(row)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def spread(row: Row) -> str:
    """Mean and standard deviation, which is left out of a single run."""
    mean = number(row.mean)
    return mean if math.isnan(row.sd) else f"{mean} ± {number(row.sd, like=row.mean)}"


def span(ends: tuple[float, float]) -> str:
    """Both ends of an interval; a dash where it is not known."""
    low, high = ends
    return "–" if math.isnan(low) else f"{number(low)} to {number(high, like=low)}"


def chance(p: float) -> str:
    """A p value as it is printed."""
    return "–" if math.isnan(p) else "<0.001" if p < 0.001 else f"{p:.3f}"


def number(value: float, sign: bool = False, like: float | None = None) -> str:
    """Three decimals, of large numbers one; those of `like` where it is told."""
    digits = 1 if abs(value if like is None else like) >= 100 else 3
    return f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"


def over_runs(row: Row) -> str:
    """The p value over runs; the row that others are tested against says so."""
    return "ref" if row.reference else "–" if row.test is None else chance(row.test.p)


def _tests(row: Row) -> list[str]:
    if row.cases is None:
        return [over_runs(row), "–", "–", "–"]
    told = row.cases
    apart = f"{number(told.mean, sign=True)} ({told.cases})"
    return [over_runs(row), apart, span((told.low, told.high)), chance(told.p)]


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return "" if value is None else json.dumps(value) if isinstance(value, list | dict) else value
