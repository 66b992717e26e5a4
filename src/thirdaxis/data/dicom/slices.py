"""Whether the slices of a DICOM series make one volume, by what their headers say."""

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from thirdaxis.data.images import one_line, quiet_itk
from thirdaxis.errors import InputError

SOP_CLASS, SOP_UID, DESCRIPTION = "0008|0016", "0008|0018", "0008|103e"
POSITION, ORIENTATION, PIXEL_SPACING = "0020|0032", "0020|0037", "0028|0030"
ROWS, COLUMNS = "0028|0010", "0028|0011"
MODALITY, PATIENT, THICKNESS, SERIES_UID = "0008|0060", "0010|0020", "0018|0050", "0020|000e"


def header(name: str) -> dict[str, str]:
    """Reads the attributes of a DICOM file, not its pixels.

    Args:
        name: the file.

    Returns:
        Tag such as `0020|0032` -> text.

    Raises:
        InputError: where the header is damaged.
    """
    reader = sitk.ImageFileReader()
    reader.SetFileName(name)
    try:
        with quiet_itk():
            reader.ReadImageInformation()
    except RuntimeError as fault:
        raise InputError(f"{name}: damaged DICOM file ({one_line(fault)})") from fault
    return {key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys()}


def slice_step(folder: Path, names: list[str]) -> np.ndarray:
    """The step from slice to slice; refuses what ITK would smooth over in silence.

    Args:
        folder: what to name in an error.
        names: the files, two at least, ordered by place.

    Returns:
        (3,) LPS mm.

    Raises:
        InputError: slices that are not parallel, of different size or spacing, doubled, or with
            one missing between them.
    """
    tags = [header(name) for name in names]
    for tag, what in (
        (POSITION, "ImagePositionPatient"),
        (ORIENTATION, "ImageOrientationPatient"),
        (PIXEL_SPACING, "PixelSpacing"),
    ):
        lacking = [name for name, one in zip(names, tags, strict=True) if tag not in one]
        if lacking:
            raise InputError(f"{lacking[0]}: a slice without {what}; its place is not known")
    axes = np.array([_numbers(tag[ORIENTATION]) for tag in tags])
    if np.abs(axes - axes[0]).max() > 1e-3:
        raise InputError(f"{folder}: the slices of the series do not lie in parallel planes")
    grids = {(one[ROWS], one[COLUMNS], *_numbers(one[PIXEL_SPACING])) for one in tags}
    if len(grids) > 1:
        listed = " and ".join(
            f"{r} x {c} pixels of {a:g} x {b:g} mm" for r, c, a, b in sorted(grids)
        )
        raise InputError(f"{folder}: slices of different grids, {listed}; is it one series?")
    places = np.array([_numbers(tag[POSITION]) for tag in tags])
    _check_gaps(folder, names, places, np.cross(axes[0, :3], axes[0, 3:]))
    return (places[-1] - places[0]) / (len(places) - 1)


def _check_gaps(folder: Path, names: list[str], places: np.ndarray, normal: np.ndarray) -> None:
    heights = places @ normal
    order = np.argsort(heights, kind="stable")
    gaps = np.diff(heights[order])
    usual = float(np.median(gaps))
    files = [Path(names[index]).name for index in order]
    nearest, widest = int(gaps.argmin()), int(gaps.argmax())
    told = f"gaps of {gaps.min():.3g} to {gaps.max():.3g} mm"
    if gaps[nearest] < max(0.1 * usual, 1e-4):
        raise InputError(
            f"{folder}: doubled slices, {files[nearest]} and {files[nearest + 1]} lie at one place "
            f"({told}); keep one of them, and one point in time of a series over time"
        )
    if gaps[widest] > 1.5 * usual:
        raise InputError(
            f"{folder}: a slice is missing between {files[widest]} and {files[widest + 1]} "
            f"({told}); complete the series"
        )
    steps = np.diff(places, axis=0)
    off = np.linalg.norm(steps - np.median(steps, axis=0), axis=1).max()
    if off > 0.1 * usual:
        raise InputError(
            f"{folder}: the slices are not evenly spaced ({told}, or shifted sideways); "
            "resample the series to an even one"
        )


def _numbers(text: str) -> list[float]:
    return [float(part) for part in text.split("\\")]
