"""DICOM series folders by SimpleITK and GDCM."""

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from thirdaxis.data.images import LPS_TO_RAS, Raw, from_itk, one_line, quiet_itk
from thirdaxis.errors import InputError

POSITION, ORIENTATION, DESCRIPTION = "0020|0032", "0020|0037", "0008|103e"


def read_dicom(path: Path, series: str | None = None) -> Raw:
    """Reads the one series in a folder, or one multi-frame file.

    Files that are not DICOM are passed over. Slices are ordered by their place in the patient.

    Args:
        path: a folder, or a .dcm file with several frames.
        series: the Series Instance UID to read where the folder holds several.

    Returns:
        The array, rescaled by slope and intercept, and the affine.

    Raises:
        InputError: no DICOM file, several series and none named, a lone slice, damaged files, or
            slices that are not evenly spaced.
    """
    with quiet_itk():
        return _read_folder(path, series) if path.is_dir() else _read_file(path)


def find_series(folder: Path) -> dict[str, list[str]]:
    """Lists the DICOM series that lie directly in a folder.

    Args:
        folder: a folder of files, DICOM or not.

    Returns:
        For each Series Instance UID its files, ordered by place in the patient.
    """
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames
    with quiet_itk():
        uids = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
        return {uid: list(names(str(folder), uid)) for uid in uids}


def _read_folder(path: Path, series: str | None) -> Raw:
    files = find_series(path)
    if not files:
        raise InputError(
            f"{path}: no DICOM files; expected a folder that itself holds the files of one series"
        )
    if series is None and len(files) > 1:
        listed = "; ".join(f"{uid} ({_describe(names)})" for uid, names in files.items())
        raise InputError(
            f"{path}: {len(files)} DICOM series in one folder: {listed}. "
            "Move each into a folder of its own, or name one with series="
        )
    uid = next(iter(files)) if series is None else series
    if uid not in files:
        raise InputError(f"{path}: no series {uid!r} here; found {', '.join(files)}")
    return _read_series(path, files[uid])


def _read_series(folder: Path, names: list[str]) -> Raw:
    if len(names) == 1:
        return _read_file(Path(names[0]))
    step = _slice_step(folder, names)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(names)
    if _components(names[0]) == 1:
        # Each slice may have its own slope; the first one's type would truncate the others.
        reader.SetOutputPixelType(sitk.sitkFloat32)
    try:
        image = reader.Execute()
    except RuntimeError as fault:
        raise InputError(f"{folder}: damaged DICOM series ({one_line(fault)})") from fault
    raw = from_itk(image, folder)
    raw.affine[:3, 0] = LPS_TO_RAS[:3, :3] @ step  # ITK loses the shear of a tilted gantry
    return raw


def _read_file(path: Path) -> Raw:
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as fault:
        raise InputError(f"{path}: damaged or not DICOM ({one_line(fault)})") from fault
    if image.GetDimension() < 3 or image.GetSize()[2] == 1:
        raise InputError(f"{path}: a single DICOM slice; give the folder that holds the series")
    return from_itk(image, path)


def _slice_step(folder: Path, names: list[str]) -> np.ndarray:
    """The step from slice to slice, (3,) LPS mm; refuses gaps, which ITK smooths in silence."""
    tags = [_tags(name) for name in names]
    if not all(POSITION in tag and ORIENTATION in tag for tag in tags):
        raise InputError(
            f"{folder}: slices without ImagePositionPatient or ImageOrientationPatient"
        )
    axes = np.array([_numbers(tag[ORIENTATION]) for tag in tags])
    if np.abs(axes - axes[0]).max() > 1e-3:
        raise InputError(f"{folder}: the slices of the series do not lie in parallel planes")
    places = np.array([_numbers(tag[POSITION]) for tag in tags])
    steps = np.diff(places, axis=0)
    usual = np.median(steps, axis=0)
    gaps = np.linalg.norm(steps, axis=1)
    off = np.linalg.norm(steps - usual, axis=1).max()
    if off > 0.1 * np.linalg.norm(usual) or gaps.min() < 1e-4:
        raise InputError(
            f"{folder}: the slices are not evenly spaced (gaps of {gaps.min():.3g} to "
            f"{gaps.max():.3g} mm); a slice is missing or doubled, complete the series"
        )
    return (places[-1] - places[0]) / (len(places) - 1)


def _describe(names: list[str]) -> str:
    text = _tags(names[0]).get(DESCRIPTION, "").strip() or "no description"
    return f"{text}, {len(names)} files"


def _tags(name: str) -> dict[str, str]:
    reader = sitk.ImageFileReader()
    reader.SetFileName(name)
    try:
        reader.ReadImageInformation()
    except RuntimeError as fault:
        raise InputError(f"{name}: damaged DICOM file ({one_line(fault)})") from fault
    return {key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys()}


def _components(name: str) -> int:
    reader = sitk.ImageFileReader()
    reader.SetFileName(name)
    reader.ReadImageInformation()
    return reader.GetNumberOfComponents()


def _numbers(text: str) -> list[float]:
    return [float(part) for part in text.split("\\")]
