"""Scores points found by any tool in volumes against boxes: FROC with intervals over patients."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from thirdaxis.atomic import write_text
from thirdaxis.data.lesions.points import Points
from thirdaxis.data.lesions.volumes import BoxedVolume, read_boxed_volumes
from thirdaxis.data.phantoms.sets import phantom_note
from thirdaxis.errors import InputError
from thirdaxis.metrics.boxes import contains
from thirdaxis.metrics.froc import Froc, FrocIntervals, froc, froc_intervals
from thirdaxis.metrics.froc_images import OneImage, threshold_at, worst_first
from thirdaxis.metrics.froc_paired import FrocDifference, froc_difference
from thirdaxis.metrics.table import strict
from thirdaxis.tasks.classification.evaluate import json_text
from thirdaxis.tasks.locating.prepare import boxed_volumes, named
from thirdaxis.tasks.locating.settings import LocateSettings
from thirdaxis.tasks.run_folder import SETTINGS, read_run

RATES = (0.01, 0.05, 0.1, 0.15, 0.2, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""False positives a volume: those of the paper on AH-Net, then those of DeepLesion."""
JUDGED = 1.0
"""False positives a volume at which single volumes are judged."""
SCORES_CSV, SCORES_JSON = "scores.csv", "scores.json"


@dataclass(frozen=True)
class Truth:
    """Volumes with the lesions in them.

    Args:
        volumes: all that count, with lesions or without.
        origin: where they are from.
        note: what has to be said wherever they are shown; see `phantom_note`.
    """

    volumes: tuple[BoxedVolume, ...]
    origin: str
    note: str = ""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Scores of a set of points.

    Args:
        truth: what they were scored against.
        found: by name of a volume; others have none.
        froc: matched.
        ends: its intervals over patients.
        difference: from other points; none where there is nothing to compare with.
        dropped: points in volumes that the truth does not name.
    """

    truth: Truth
    found: Mapping[str, Points]
    froc: Froc
    ends: FrocIntervals
    difference: FrocDifference | None = None
    dropped: int = 0
    rate: float = field(default=JUDGED)

    @cached_property
    def threshold(self) -> float:
        """The least score at which there are no more false positives a volume than `rate`."""
        return threshold_at(self.froc, self.rate)

    @cached_property
    def volumes(self) -> list[OneImage]:
        """Every volume, the worst first: most missed lesions, then most and strongest alarms."""
        told = ((one.name, one.patient, len(one.boxes)) for one in self.truth.volumes)
        return worst_first(self.froc, self.threshold, told)

    def plain(self) -> dict[str, dict[str, Any]]:
        """Scores and intervals by name: `froc`, `sensitivity_0.01` and so on."""
        at = dict(zip(RATES, self.froc.sensitivity_at(RATES).tolist(), strict=True))
        names = {rate: f"sensitivity_{rate:g}" for rate in RATES}
        return {
            "scores": {"froc": self.froc.mean} | {names[rate]: at[rate] for rate in RATES},
            "intervals": {"froc": list(self.ends.mean)}
            | {names[rate]: list(self.ends.at[rate]) for rate in RATES},
        }


def find_truth(path: Path, images: Path | None = None, boxes: Path | None = None) -> Truth:
    """Reads what points are scored against.

    Args:
        path: a run folder (its test volumes), a CSV or JSON table of boxes, or a folder of scans
            with `boxes`.
        images: folder of the scans that a table is about; none takes the table's own.
        boxes: the table, or folder of label maps, of a folder of scans.

    Raises:
        InputError: nothing that can be read so, or no lesion in it.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if (path / SETTINGS).is_file():
        found = _of_run(path)
    elif boxes is not None:
        found = _of_set(path, boxes)
    elif path.is_dir():
        raise InputError(
            f"{path}: not a run folder; for a folder of scans name their boxes or label maps by "
            "--boxes"
        )
    else:
        found = _of_set(path.parent if images is None else images, path)
    if not any(len(one.boxes) for one in found.volumes):
        raise InputError(
            f"{path}: none of its {len(found.volumes)} volumes has a lesion to score against"
        )
    return found


def score(
    truth: Truth,
    found: Mapping[str, Points],
    other: Mapping[str, Points] | None = None,
    *,
    draws: int = 1000,
    seed: int = 0,
    dropped: int = 0,
) -> Evaluation:
    """Scores points: one hits a box that it lies in, and a box counts once.

    Source: Liu et al., "3D Anisotropic Hybrid Network", MICCAI 2018, section 4.1.

    Args:
        truth: the volumes.
        found: in these.
        other: points of another tool, to compare with.
        draws: of the bootstrap, over patients.
        seed: of the draws.
        dropped: told on.
    """
    every = matched(truth.volumes, found)
    patients = {one.name: one.patient for one in truth.volumes}
    ends = froc_intervals(every, patients, rates=RATES, draws=draws, seed=seed)
    apart = None
    if other is not None:
        rival = matched(truth.volumes, other)
        apart = froc_difference(every, rival, patients, draws=draws, seed=seed)
    return Evaluation(truth, found, every, ends, apart, dropped)


def matched(volumes: Sequence[BoxedVolume], found: Mapping[str, Points]) -> Froc:
    """Points against boxes, of the turned volumes both."""
    return froc(
        {name: (points.places, points.scores) for name, points in found.items()},
        {volume.name: volume.boxes for volume in volumes},
        overlap=contains,
    )


def write_scores(scores: Evaluation, folder: Path) -> None:
    """Writes `scores.csv`, a line a rate, and `scores.json`, with every volume too."""
    folder.mkdir(parents=True, exist_ok=True)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("false_positives_a_volume", "sensitivity", "low", "high"))
    for rate, value in zip(RATES, scores.froc.sensitivity_at(RATES).tolist(), strict=True):
        writer.writerow((rate, value, *scores.ends.at[rate]))
    write_text(folder / SCORES_CSV, out.getvalue())
    told: dict[str, Any] = {
        "truth": scores.truth.origin,
        "note": scores.truth.note,
        "volumes_searched": scores.froc.images,
        "lesions": scores.froc.lesions,
        **scores.plain(),
        "threshold": {"false_positives_a_volume": scores.rate, "score": scores.threshold},
        "dropped_points": scores.dropped,
        "volumes": [asdict(one) for one in scores.volumes],
    }
    if scores.difference is not None:
        told["difference"] = {"mean": scores.difference.mean, **asdict(scores.difference)}
    write_text(folder / SCORES_JSON, json_text(strict(told)))


def _of_set(folder: Path, boxes: Path) -> Truth:
    return Truth(read_boxed_volumes(folder, boxes), str(boxes), phantom_note(folder) or "")


def _of_run(folder: Path) -> Truth:
    run = read_run(folder)
    if not isinstance(run.settings, LocateSettings):
        raise InputError(f"{folder}: a run of the task {run.settings.task!r}, not 'locate'")
    volumes = named(boxed_volumes(run.settings), run.test, run.settings.data)
    note = phantom_note(run.settings.data) or ""
    return Truth(tuple(volumes), f"{folder} (test volumes)", note)
