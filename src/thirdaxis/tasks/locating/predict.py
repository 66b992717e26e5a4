"""Whole scans to points at their lesions: one, or a folder that may be long."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from thirdaxis.atomic import write_text
from thirdaxis.data.folder import Case, read_case
from thirdaxis.data.grid import onto, to_grid
from thirdaxis.data.lesions.axial import AxialGrid
from thirdaxis.data.lesions.box_rows import read_rows
from thirdaxis.data.lesions.points import Points, is_points, point_rows, points_csv, points_json
from thirdaxis.data.volume import Volume, write_map
from thirdaxis.errors import InputError, UsageError
from thirdaxis.tasks.batch import Done, check_folder, one_by_one
from thirdaxis.tasks.locating.locator import Locator, load_locator
from thirdaxis.tasks.locating.pictures import projections
from thirdaxis.tasks.locating.summary import POINTS_CSV, POINTS_JSON
from thirdaxis.tasks.model import Model
from thirdaxis.tasks.pictures import save_figure
from thirdaxis.tasks.progress import Told, tell_nobody
from thirdaxis.tasks.scans import find_scans

HEAT, PICTURE = "heat.nii.gz", "projections.png"


def predict(
    model: str | Path | Model,
    inputs: Path,
    out: Path,
    *,
    least: float | None = None,
    overlap: float | None = None,
    heat_map: bool = False,
    picture: bool = False,
    overwrite: bool = False,
    accelerator: str | None = None,
    trust: bool = False,
    watch: Callable[[Sequence[Case]], Iterable[Case]] = lambda scans: scans,
    told: Told = tell_nobody,
    say: Callable[[str], None] = lambda line: None,
) -> Done[Points]:
    """Finds points in scans; writes a folder for each scan, and tables of all.

    `OUT/SCAN/` has `points.csv` and `points.json`, a point an entry, in voxels of the file and in
    mm, with a box around each; `heat.nii.gz`, the heat map on the scan's own grid, and
    `projections.png`, where they are asked for. `OUT/points.csv` and `OUT/points.json` hold the
    points of all scans. Of several scans, those that cannot be read or used are left out and told
    at the end, and those that were done before are not done again.

    Args:
        model: a run folder, or a trained model in any form that `load_model` reads.
        inputs: a NIfTI, MetaImage or NRRD file, a folder of one DICOM series, or a folder of such.
        out: folder for all of it.
        least: the lowest score of a point; none takes the run's own.
        overlap: of neighbouring windows; none takes the run's own.
        heat_map: whether heat maps are written.
        picture: whether projections are drawn.
        overwrite: whether scans are done again whose results are there and whole.
        accelerator: `auto`, `cpu` or `gpu`; none takes the run's own.
        trust: whether a program that the model names as its network may be called.
        watch: wraps the scans to show progress.
        told: called with the windows done of the scan at hand, and their number.
        say: told the folder of each scan as it is written or found.

    Returns:
        What became of each scan; of those done now, the points.

    Raises:
        InputError: the only scan cannot be read, or the model is of another task.
        UsageError: an overlap outside 0 to below 1; `out` is a file.
    """
    if overlap is not None and not 0 <= overlap < 1:
        raise UsageError(f"overlap is a share from 0 to below 1, not {overlap:g}")
    locator = load_locator(model, accelerator, trust=trust)
    scans = find_scans(inputs, locator.plan.channels)
    check_folder(out)
    wanted = [name for name, asked in ((HEAT, heat_map), (PICTURE, picture)) if asked]

    def search(scan: Case) -> Points:
        volume = read_case(scan, {})[0]
        heat = _heat(locator, scan, volume, overlap, told)
        found = locator.points(heat)
        found = found if least is None else found.from_score(least)
        folder = out / scan.name
        folder.mkdir(parents=True, exist_ok=True)
        if heat_map:
            write_map(folder / HEAT, onto(heat, volume).array[0], volume.affine)
        if picture:
            _draw(folder / PICTURE, scan.name, volume, heat, found)
        _write(folder, scan, found, AxialGrid.at(volume.shape, volume.affine), locator)
        say(f"{folder}: {len(found.scores)} point{'' if len(found.scores) == 1 else 's'}")
        return found

    done = one_by_one(
        scans,
        search,
        lambda scan: not overwrite and _whole(out / scan.name, wanted),
        lambda scan: out / scan.name,
        watch=watch,
        say=say,
    )
    _write_all(out, done.whole, locator)
    return done


def _heat(
    locator: Locator, scan: Case, volume: Volume, overlap: float | None, told: Told
) -> Volume:
    try:
        return locator.heat(volume, overlap=overlap, told=told)
    except InputError as error:
        raise InputError(f"{scan.images[0]}: {error}") from None


def _draw(path: Path, name: str, scan: Volume, heat: Volume, found: Points) -> None:
    turned = to_grid(scan)
    grey = turned.array[0].numpy()
    values = heat.array[0].numpy()
    save_figure(projections(grey, turned.spacing, found, np.zeros((0, 6)), values, name), path)


def _about(locator: Locator) -> dict[str, Any]:
    told = locator.settings
    return {"network": told.network, "fusion": told.fusion, "suppress_mm": list(told.suppress)}


def _write(folder: Path, scan: Case, found: Points, grid: AxialGrid, locator: Locator) -> None:
    """Writes the tables of a scan, last the one that says it is done."""
    rows = point_rows(scan.name, found, grid)
    write_text(folder / POINTS_CSV, points_csv(rows))
    about = {"scan": str(scan.images[0]), **_about(locator)}
    write_text(folder / POINTS_JSON, points_json(rows, [scan.name], about))


def _write_all(out: Path, names: Sequence[str], locator: Locator) -> None:
    if not names:
        return
    rows = [dict(row) for name in names for _, row in read_rows(out / name / POINTS_JSON, "points")]
    write_text(out / POINTS_CSV, points_csv(rows))
    write_text(out / POINTS_JSON, points_json(rows, names, _about(locator)))


def _whole(folder: Path, wanted: Sequence[str]) -> bool:
    """Whether a scan's files are there and its points can be read to their end."""
    table = folder / POINTS_JSON
    try:
        read_rows(table, "points")
    except InputError:
        return False
    others = [folder / name for name in (POINTS_CSV, *wanted)]
    return is_points(table) and all(path.is_file() for path in others)
