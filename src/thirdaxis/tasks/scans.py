"""Which scans a path names: one file, one DICOM series, or a folder of either."""

import re
from collections import defaultdict
from pathlib import Path

from thirdaxis.data.dicom.series import find_series
from thirdaxis.data.folder import Case
from thirdaxis.data.volume import READERS, file_ending
from thirdaxis.errors import InputError, UsageError

FILES = tuple(ending for ending in READERS if ending != ".dcm")
CHANNEL = re.compile(r"^(.+)_(\d{4})$")


def find_scans(inputs: Path, channels: int = 1) -> list[Case]:
    """Lists the scans of a path.

    In a folder, files named as nnU-Net names them (`NAME_0000.nii.gz`, `NAME_0001.nii.gz`) are the
    channels of one scan. DICOM series are found at any depth, one a folder.

    Args:
        inputs: a volume file, a DICOM series folder, or a folder of such.
        channels: how many a scan has.

    Returns:
        One case a scan, without a label map, sorted by name. Channels may be missing.

    Raises:
        InputError: nothing there, or more files of a scan than channels.
        UsageError: two scans of one name.
    """
    if not inputs.exists():
        raise InputError(f"{inputs}: no such file or folder")
    if inputs.is_file():
        name = inputs.name[: len(inputs.name) - len(file_ending(inputs))]
        return [Case(name.removesuffix("_0000"), (inputs,), None)]
    scans = [*_volume_files(inputs, channels), *_series(inputs)]
    if not scans:
        raise InputError(
            f"{inputs}: no scans; expected {', '.join(FILES)} files or folders of DICOM files"
        )
    names = [scan.name for scan in scans]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"{inputs}: two scans would both be written as {twice[0]}.nii.gz")
    return sorted(scans, key=lambda scan: scan.name)


def _volume_files(folder: Path, channels: int) -> list[Case]:
    grouped: defaultdict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.iterdir()):
        ending = file_ending(path)
        if path.name.startswith(".") or not path.is_file() or ending not in FILES:
            continue
        name = path.name[: len(path.name) - len(ending)]
        part = CHANNEL.match(name)
        belongs = part is not None and (channels > 1 or part[2] == "0000")
        grouped[part[1] if part is not None and belongs else name].append(path)
    scans = []
    for name, files in grouped.items():
        if len(files) > channels:
            raise InputError(
                f"{folder}: the scan {name!r} has {len(files)} files, expected one for each of "
                f"{channels} channels"
            )
        scans.append(Case(name, tuple(files), None))
    return scans


def _series(folder: Path) -> list[Case]:
    scans = []
    for place in [folder, *sorted(path for path in folder.rglob("*") if path.is_dir())]:
        files = [path for path in place.iterdir() if path.is_file() and path.name[0] != "."]
        if any(file_ending(path) not in FILES for path in files) and find_series(place):
            name = "-".join(place.relative_to(folder).parts) or place.resolve().name
            scans.append(Case(name, (place,), None))
    return scans
