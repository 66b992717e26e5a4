"""Scans and label maps as files: NIfTI, MetaImage, NRRD and DICOM series to one `Volume`."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from thirdaxis.atomic import atomic_path
from thirdaxis.data.dicom.seg import read_seg
from thirdaxis.data.dicom.series import is_segmentation, read_dicom
from thirdaxis.data.images import Raw, nifti_grid, nifti_image, read_itk, read_nifti
from thirdaxis.errors import InputError, did_you_mean

READERS = {
    ".nii": read_nifti,
    ".nii.gz": read_nifti,
    ".mha": read_itk,
    ".mhd": read_itk,
    ".nrrd": read_itk,
    ".nhdr": read_itk,
    ".dcm": read_dicom,
}


@dataclass(frozen=True, eq=False)
class Volume:
    """An image or a label map and where it lies in the patient.

    Args:
        array: (C, D, H, W), the file's axes reversed.
        affine: (4, 4) float64, maps the voxel index (d, h, w, 1) to millimetres, RAS+.

    Raises:
        InputError: on another rank of the array or another shape of the affine.
    """

    array: Tensor
    affine: Tensor

    def __post_init__(self) -> None:
        if self.array.ndim != 4:
            raise InputError(f"a volume is (C, D, H, W), not {tuple(self.array.shape)}")
        if self.affine.shape != (4, 4):
            raise InputError(f"an affine is (4, 4), not {tuple(self.affine.shape)}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along (d, h, w)."""
        depth, height, width = self.array.shape[1:]
        return depth, height, width

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distances between voxel centres along (d, h, w), in mm."""
        d, h, w = self.affine[:3, :3].norm(dim=0).tolist()
        return d, h, w


def file_ending(path: str | Path) -> str:
    """The ending that names a volume's format: '.nii.gz' for two dots, else the last suffix.

    Args:
        path: a file name.

    Returns:
        The ending in lower case, with its dot; '' without one.
    """
    name = Path(path).name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else Path(name).suffix


def read_volume(path: str | Path, *, series: str | None = None) -> Volume:
    """Reads a scan: NIfTI, MetaImage, NRRD, a DICOM series folder or a multi-frame DICOM file.

    Stored values are scaled as the file says (so CT comes in HU). The fourth axis of a 4-D file
    becomes the channels.

    Args:
        path: a .nii, .nii.gz, .mha, .mhd, .nrrd, .nhdr or .dcm file, or a folder of DICOM files.
        series: the Series Instance UID to read from a DICOM folder that holds several.

    Returns:
        A volume, (C, D, H, W) float32.

    Raises:
        InputError: a missing, damaged or unknown file, fewer than three axes, values that are not
            finite, an affine that cannot be inverted, or a DICOM folder without one even series.
    """
    raw = _read(Path(path), series)
    with np.errstate(over="ignore"):  # it becomes infinite, which is told below
        array = raw.array.astype(np.float32, copy=False)
    if not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise InputError(
            f"{path}: {bad} of {array.size} values are NaN, infinite or beyond float32; "
            "replace them before use"
        )
    return Volume(torch.from_numpy(np.ascontiguousarray(array)), torch.from_numpy(raw.affine))


def read_grid(path: str | Path) -> tuple[tuple[int, int, int], Tensor]:
    """Where a scan lies: of NIfTI its header is read alone, of other formats the whole file.

    Args:
        path: as in `read_volume`.

    Returns:
        (D, H, W), and the (4, 4) affine from (d, h, w, 1) to mm, RAS+.

    Raises:
        InputError: as `read_volume`.
    """
    path = Path(path)
    found = nifti_grid(path) if file_ending(path) in (".nii", ".nii.gz") else None
    if found is None:
        volume = read_volume(path)
        return volume.shape, volume.affine
    (depth, height, width), affine = found
    _check_affine(path, affine)
    return (depth, height, width), torch.from_numpy(affine)


def read_labels(path: str | Path, *, series: str | None = None) -> Volume:
    """Reads a label map: one channel of whole numbers.

    Args:
        path: as in `read_volume`, or a DICOM SEG object (.dcm; needs the extra `dicom`).
        series: as in `read_volume`.

    Returns:
        A volume, (1, D, H, W), int16, or int64 where a label does not fit int16.

    Raises:
        InputError: as `read_volume`, and on several channels or values that are not whole.
    """
    path = Path(path)
    if file_ending(path) == ".dcm" and path.is_file() and is_segmentation(path):
        raw, _ = read_seg(path)
    else:
        raw = _read(path, series)
    array = raw.array
    if array.shape[0] != 1:
        raise InputError(f"{path}: a label map has one channel, this file has {array.shape[0]}")
    if not np.issubdtype(array.dtype, np.integer):
        whole = np.rint(array)
        # A stored scale factor may leave 0.99999 for 1.
        odd = ~np.isclose(array, whole, rtol=0, atol=1e-3) | ~np.isfinite(array)
        if odd.any():
            raise InputError(
                f"{path}: a label map holds whole numbers, this file holds {array[odd][0]:g} "
                f"({int(odd.sum())} such voxels); is it an image or a probability map?"
            )
        array = whole
    small = np.iinfo(np.int16)
    fits = array.min() >= small.min and array.max() <= small.max
    array = np.ascontiguousarray(array.astype(np.int16 if fits else np.int64))
    return Volume(torch.from_numpy(array), torch.from_numpy(raw.affine))


def write_labels(path: str | Path, labels: Tensor, affine: Tensor) -> None:
    """Writes a label map as NIfTI, whole or not at all, in the smallest unsigned type that fits.

    Args:
        path: the .nii.gz (or .nii) file to write; its folder must exist.
        labels: (D, H, W) whole numbers, none below zero.
        affine: (4, 4), voxel index (d, h, w, 1) to millimetres, RAS+.

    Raises:
        InputError: another ending, rank or type, or labels outside 0 to 4294967295.
        OSError: where the file cannot be written; nothing is left behind.
    """
    path = Path(path)
    if file_ending(path) not in (".nii", ".nii.gz"):
        raise InputError(f"{path}: label maps are written as .nii.gz, not {file_ending(path)!r}")
    if labels.ndim != 3 or labels.is_floating_point() or labels.is_complex():
        raise InputError(
            f"{path}: a label map is (D, H, W) whole numbers, "
            f"not {tuple(labels.shape)} {labels.dtype}"
        )
    array = labels.detach().cpu().numpy()
    low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
    if low < 0 or high > np.iinfo(np.uint32).max:
        raise InputError(f"{path}: labels go from {low} to {high}, expected 0 to 4294967295")
    image = nifti_image(array.astype(np.min_scalar_type(high)), affine.detach().cpu().numpy())
    with atomic_path(path) as temporary:
        image.to_filename(temporary)


def write_map(path: str | Path, values: Tensor, affine: Tensor) -> None:
    """Writes a map of numbers, such as a heat map, as NIfTI of float32, whole or not at all.

    Args:
        path: the .nii.gz (or .nii) file to write; its folder must exist.
        values: (D, H, W).
        affine: (4, 4), voxel index (d, h, w, 1) to millimetres, RAS+.

    Raises:
        InputError: another ending or rank.
        OSError: where the file cannot be written; nothing is left behind.
    """
    path = Path(path)
    if file_ending(path) not in (".nii", ".nii.gz") or values.ndim != 3:
        raise InputError(
            f"{path}: a map is (D, H, W), not {tuple(values.shape)}, and written as .nii.gz"
        )
    array = values.detach().cpu().float().numpy()
    image = nifti_image(array, affine.detach().cpu().numpy())
    with atomic_path(path) as temporary:
        image.to_filename(temporary)


def same_grid(a: Volume, b: Volume, tolerance: float = 0.05) -> bool:
    """Whether two volumes have their voxels at the same places.

    Args:
        a: one volume.
        b: the other; channels and types do not matter.
        tolerance: how far a corner voxel may be off, in parts of the smallest spacing.

    Returns:
        True when the (D, H, W) shapes are equal and all eight corners agree.
    """
    if a.shape != b.shape:
        return False
    ends = [torch.tensor([0.0, n - 1.0], dtype=torch.float64) for n in a.shape]
    corners = torch.cartesian_prod(*ends, torch.ones(1, dtype=torch.float64))
    gap = (corners @ (a.affine - b.affine).T)[:, :3].norm(dim=1).max()
    return bool(gap <= tolerance * min(*a.spacing, *b.spacing))


def _read(path: Path, series: str | None) -> Raw:
    ending = file_ending(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if path.is_file() and path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty, 0 bytes; copy or make it again")
    if path.is_dir():
        raw = read_dicom(path, series)
    elif ending in READERS:
        raw = READERS[ending](path)
    else:
        raise InputError(
            f"{path}: cannot tell the format from the ending {ending!r}"
            f"{did_you_mean(ending, READERS)}, or a folder of DICOM files"
        )
    if raw.array.size == 0:
        raise InputError(f"{path}: holds no voxels, its shape is {raw.array.shape[1:]}")
    _check_affine(path, raw.affine)
    return raw


def _check_affine(path: Path, affine: np.ndarray) -> None:
    linear = affine[:3, :3]
    scale = np.linalg.norm(linear, axis=0).prod()
    if not np.isfinite(affine).all() or abs(np.linalg.det(linear)) <= 1e-6 * scale:
        raise InputError(
            f"{path}: its affine cannot be inverted (axes without length or in one plane); "
            "repair the header's spacing and directions"
        )
