"""NIfTI by nibabel, MetaImage and NRRD by SimpleITK, as raw arrays with an affine."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, cast

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from nibabel.arrayproxy import ArrayProxy

from thirdaxis.errors import InputError

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


class Raw(NamedTuple):
    """What a file holds: (C, D, H, W) in its own type, and (d, h, w, 1) to RAS+ mm as float64."""

    array: np.ndarray
    affine: np.ndarray


def read_nifti(path: Path) -> Raw:
    """Reads a NIfTI file, its scale factors applied; axes (x, y, z[, c]) become (C, D, H, W).

    Args:
        path: a .nii or .nii.gz file.

    Returns:
        The array in the stored type (floating where the file scales) and the affine.

    Raises:
        InputError: a damaged file, other than three or four axes, or complex and RGB voxels.
    """
    try:
        image = cast(nib.Nifti1Image, nib.load(path))
        array = np.asanyarray(image.dataobj)
        affine = np.asarray(image.affine, dtype=np.float64)
    except Exception as fault:  # a damaged header can make nibabel raise nearly anything
        raise InputError(f"{path}: damaged or not NIfTI ({one_line(fault)})") from fault
    if array.ndim == 5 and array.shape[3] == 1:
        array = array[:, :, :, 0]  # NIfTI's own place for vectors is the fifth axis
    if array.ndim not in (3, 4):
        raise InputError(f"{path}: expected 3 axes, or 4 with channels, its shape is {array.shape}")
    if array.dtype.kind not in "iufb":
        raise InputError(f"{path}: expected one number a voxel, its type is {array.dtype}")
    array = array.T if array.ndim == 4 else array.T[None]
    return Raw(array, affine[:, [2, 1, 0, 3]])


def nifti_grid(path: Path) -> tuple[tuple[int, ...], np.ndarray] | None:
    """Shape (D, H, W) and affine of a NIfTI file by its header alone.

    Args:
        path: a .nii or .nii.gz file.

    Returns:
        None for a header that cannot be read or has other than three axes: reading all of it says
        why.
    """
    try:
        image = cast(nib.Nifti1Image, nib.load(path))
        shape, affine = tuple(image.shape), np.asarray(image.affine, dtype=np.float64)
    except Exception:
        return None
    return (shape[::-1], affine[:, [2, 1, 0, 3]]) if len(shape) == 3 and min(shape) > 0 else None


def nifti_voxels(path: Path) -> ArrayProxy:
    """The voxels of a NIfTI file, read and scaled where they are indexed, axes (x, y, z).

    Args:
        path: a file that `nifti_grid` knows.
    """
    image = cast(nib.Nifti1Image, nib.load(path))
    return cast(ArrayProxy, image.dataobj)


def read_itk(path: Path) -> Raw:
    """Reads a MetaImage or NRRD file.

    Args:
        path: a .mha, .mhd, .nrrd or .nhdr file.

    Returns:
        The array in the stored type, components or a fourth axis as channels, and the affine.

    Raises:
        InputError: a damaged file, or other than three or four axes.
    """
    try:
        with quiet_itk():
            image = sitk.ReadImage(str(path))
    except RuntimeError as fault:
        raise InputError(f"{path}: damaged or not {path.suffix} ({one_line(fault)})") from fault
    return from_itk(image, path)


def from_itk(image: sitk.Image, path: Path) -> Raw:
    """Turns a SimpleITK image (LPS, x first) into an array (C, D, H, W) and an RAS+ affine.

    Args:
        image: three axes, or four where the last one becomes channels.
        path: what to name in an error.

    Returns:
        The array and the affine.

    Raises:
        InputError: on another number of axes or complex voxels.
    """
    axes = image.GetDimension()
    if axes not in (3, 4):
        raise InputError(f"{path}: expected 3 axes, its shape is {image.GetSize()}")
    array = sitk.GetArrayFromImage(image)
    if array.ndim > 4 or array.dtype.kind not in "iuf":
        raise InputError(
            f"{path}: expected numbers, its voxels are {image.GetPixelIDTypeAsString()}"
        )
    if image.GetNumberOfComponentsPerPixel() > 1:
        array = np.moveaxis(array, -1, 0)
    elif axes == 3:
        array = array[None]
    direction = np.reshape(image.GetDirection(), (axes, axes))[:3, :3]
    affine = np.eye(4)
    affine[:3, :3] = direction * np.asarray(image.GetSpacing()[:3])
    affine[:3, 3] = image.GetOrigin()[:3]
    return Raw(array, (LPS_TO_RAS @ affine)[:, [2, 1, 0, 3]])


def nifti_image(array: np.ndarray, affine: np.ndarray) -> nib.Nifti1Image:
    """A NIfTI image of a map, its place in both header forms where both can hold it.

    Args:
        array: (D, H, W) numbers.
        affine: (4, 4), (d, h, w, 1) to RAS+ mm.

    Returns:
        The image with axes (x, y, z), in mm, "scanner" coordinates.
    """
    affine = affine[:, [2, 1, 0, 3]]
    image = nib.Nifti1Image(array.T, affine, dtype=array.dtype)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code="scanner")
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    upright = np.allclose(axes.T @ axes, np.eye(3), atol=1e-4)
    image.set_qform(affine, code="scanner" if upright else "unknown")  # a qform cannot shear
    return image


@contextmanager
def quiet_itk() -> Iterator[None]:
    """Keeps ITK's warnings off the terminal while files are read; its errors are still raised."""
    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)


def one_line(fault: BaseException) -> str:
    """The last telling line of another library's error, for the end of a one-line message.

    Args:
        fault: what was raised.

    Returns:
        One line of text, at most 160 characters.
    """
    lines = [line.strip() for line in str(fault).splitlines() if line.strip()]
    if len(lines) > 1 and lines[-1].startswith("Reason:"):
        lines.pop()  # ITK's is that of the last system call, whatever the fault
    return (lines[-1] if lines else type(fault).__name__)[:160]
