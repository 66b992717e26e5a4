"""DICOM series folders by SimpleITK and GDCM."""

from pathlib import Path

import SimpleITK as sitk

from thirdaxis.data.dicom.slices import DESCRIPTION, SOP_CLASS, header, slice_step
from thirdaxis.data.images import LPS_TO_RAS, Raw, from_itk, one_line, quiet_itk
from thirdaxis.errors import InputError

DAMAGED = ""
SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")


def read_dicom(path: Path, series: str | None = None) -> Raw:
    """Reads the one series in a folder, or one multi-frame file.

    Files that are not DICOM are passed over. Slices are ordered by their place in the patient. A
    tilted gantry stays as it is: the slices lie where the scanner took them, so the affine is
    sheared.

    Args:
        path: a folder, or a .dcm file with several frames.
        series: the Series Instance UID to read where the folder holds several.

    Returns:
        The array, rescaled by slope and intercept, and the affine.

    Raises:
        InputError: no DICOM file, several series and none named, a lone slice, damaged files,
            pixels compressed in an unknown way, slices that are missing, doubled or not parallel.
    """
    if path.is_dir():
        names = series_files(path, series)
        with quiet_itk():
            return _read_series(path, names) if len(names) > 1 else _read_file(Path(names[0]))
    with quiet_itk():
        return _read_file(path)


def find_series(folder: Path) -> dict[str, list[str]]:
    """Lists the DICOM series that lie directly in a folder.

    Args:
        folder: a folder of files, DICOM or not.

    Returns:
        For each Series Instance UID its files, ordered by place in the patient; under `DAMAGED`
        those DICOM files whose header GDCM cannot read, where there are any.
    """
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames
    with quiet_itk():
        uids = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
        found = {uid: list(names(str(folder), uid)) for uid in uids}
    listed = {Path(name).name for files in found.values() for name in files}
    others = (path for path in sorted(folder.iterdir()) if path.name not in listed)
    damaged = [str(path) for path in others if _means_dicom(path)]
    return {**found, DAMAGED: damaged} if damaged else found


def series_files(folder: Path, series: str | None = None) -> list[str]:
    """Chooses a series in a folder.

    Args:
        folder: a folder of files, DICOM or not.
        series: the Series Instance UID where the folder holds several.

    Returns:
        The series' files in the order of the slices that `read_dicom` returns.

    Raises:
        InputError: no DICOM file, a damaged one (without it a scan might end too early), or
            several series and none named.
    """
    found = find_series(folder)
    if damaged := found.pop(DAMAGED, None):
        raise _unread(Path(damaged[0]), damaged[0], RuntimeError("GDCM cannot read it; cut short?"))
    if not found:
        raise InputError(
            f"{folder}: no DICOM files; expected a folder that itself holds the files of one series"
        )
    if series is None and len(found) > 1:
        listed = "; ".join(f"{uid} ({_describe(names)})" for uid, names in found.items())
        raise InputError(
            f"{folder}: {len(found)} DICOM series in one folder: {listed}. "
            "Move each into a folder of its own, or name one with series="
        )
    uid = next(iter(found)) if series is None else series
    if uid not in found:
        raise InputError(f"{folder}: no series {uid!r} here; found {', '.join(found)}")
    return found[uid]


def is_segmentation(path: Path) -> bool:
    """Whether a file is a DICOM segmentation object, whose voxels are labels.

    Args:
        path: a .dcm file.

    Returns:
        False too where the header cannot be read: the reader then says why.
    """
    try:
        with quiet_itk():
            return header(str(path)).get(SOP_CLASS, "").strip("\0 ") in SEGMENTATIONS
    except InputError:
        return False


def _read_series(folder: Path, names: list[str]) -> Raw:
    step = slice_step(folder, names)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(names)
    if _components(names[0]) == 1:
        # Each slice may have its own slope; the first one's type would truncate the others.
        reader.SetOutputPixelType(sitk.sitkFloat32)
    try:
        image = reader.Execute()
    except RuntimeError as fault:
        raise _unread(folder, names[0], fault) from fault
    raw = from_itk(image, folder)
    raw.affine[:3, 0] = LPS_TO_RAS[:3, :3] @ step  # ITK loses the shear of a tilted gantry
    return raw


def _read_file(path: Path) -> Raw:
    if is_segmentation(path):
        raise InputError(
            f"{path}: a DICOM segmentation holds labels, not an image; give the series it lies on"
        )
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as fault:
        raise _unread(path, str(path), fault) from fault
    if image.GetDimension() < 3 or image.GetSize()[2] == 1:
        raise InputError(f"{path}: a single DICOM slice; give the folder that holds the series")
    return from_itk(image, path)


def _means_dicom(path: Path) -> bool:
    """Whether a file is to be DICOM by its magic number or, damaged from the start, by its name."""
    if not path.is_file() or path.name[0] == "." or path.name.upper() == "DICOMDIR":
        return False
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM" or path.suffix.lower() == ".dcm"


def _unread(place: Path, name: str, fault: Exception) -> InputError:
    """Says that pixels could not be read, and how they are compressed where they are."""
    syntax = _transfer_syntax(name)
    if syntax.startswith("1.2.840.10008.1.2.4") or syntax == "1.2.840.10008.1.2.5":
        return InputError(
            f"{place}: damaged, or compressed in a way (transfer syntax {syntax}) that SimpleITK "
            f"{sitk.Version.VersionString()} has no decoder for; pip install -U SimpleITK, or "
            f"store the series uncompressed with gdcmconv --raw ({one_line(fault)})"
        )
    return InputError(f"{place}: damaged or not DICOM ({one_line(fault)})")


def _transfer_syntax(name: str) -> str:
    """The Transfer Syntax UID of a file's meta header, which ITK does not tell; '' without one."""
    with Path(name).open("rb") as file:
        start = file.read(4096)
    _, tag, rest = start.partition(b"\x02\x00\x10\x00UI")
    return rest[2 : 2 + rest[0]].decode("ascii", "replace").strip("\0 ") if tag and rest else ""


def _describe(names: list[str]) -> str:
    text = header(names[0]).get(DESCRIPTION, "").strip() or "no description"
    return f"{text}, {len(names)} files"


def _components(name: str) -> int:
    reader = sitk.ImageFileReader()
    reader.SetFileName(name)
    reader.ReadImageInformation()
    return reader.GetNumberOfComponents()
