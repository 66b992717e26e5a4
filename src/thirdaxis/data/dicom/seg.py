"""DICOM segmentation objects: label maps that lie on a DICOM series and say so."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from torch import Tensor

from thirdaxis import __version__
from thirdaxis.atomic import atomic_path
from thirdaxis.data.dicom.series import read_dicom, series_files
from thirdaxis.data.images import LPS_TO_RAS, Raw, one_line
from thirdaxis.errors import InputError

NEEDED = (
    *("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"),
    *("FrameOfReferenceUID", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient"),
)
UNKNOWN_IS_FINE = (
    *("PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"),
    *("StudyDate", "StudyTime", "ReferringPhysicianName", "StudyDescription"),
)


def write_seg(
    path: str | Path,
    labels: Tensor,
    source: str | Path,
    names: Mapping[int, str],
    *,
    series: str | None = None,
    algorithm: str = "thirdaxis",
    version: str = __version__,
    description: str = "Segmentation",
) -> None:
    """Writes a label map as a binary DICOM SEG object, whole or not at all.

    Each label becomes a segment with coded category and type (`dicom_codes.coded_name`), the name
    as its label, and the algorithm that made it. Patient, study and place are the source files':
    each frame names the slice it lies on, so oblique and sheared series stay where they are.
    Frames without any labelled voxel are left out, as the standard allows.

    Args:
        path: the .dcm file to write; its folder must exist.
        labels: (D, H, W) whole numbers on the grid of `read_volume(source)`; 0 is background.
        source: the folder of the DICOM series, one file a slice.
        names: label value -> name, values 1, 2, ... without gaps; 0 may be there too.
        series: the Series Instance UID, where the folder holds several.
        algorithm: what made the label map, such as the name of the model.
        version: its version.
        description: the new series' description.

    Raises:
        InputError: labels of another grid, type or value, or source files that lack what a
            segmentation must name.
        OSError: where the file cannot be written; nothing is left behind.
    """
    import highdicom
    from highdicom.seg import Segmentation
    from pydicom.sr.codedict import codes
    from pydicom.uid import generate_uid

    wanted = {value: name for value, name in sorted(names.items()) if value != 0}
    if not wanted or list(wanted) != list(range(1, len(wanted) + 1)):
        raise InputError(
            f"{path}: segments are numbered 1, 2, ... without gaps, not {list(wanted)}"
        )
    slices = _headers(Path(source), series)
    pixels = _pixels(path, labels, wanted, (len(slices), slices[0].Rows, slices[0].Columns))
    made_by = highdicom.AlgorithmIdentificationSequence(
        algorithm, codes.cid7162.ArtificialIntelligence, version
    )
    try:
        with _quiet():
            seg = Segmentation(
                source_images=slices,
                pixel_array=pixels,
                segmentation_type="BINARY",
                segment_descriptions=[_segment(*item, made_by) for item in wanted.items()],
                series_instance_uid=generate_uid(prefix=None),
                series_number=int(slices[0].get("SeriesNumber") or 0) + 1000,
                sop_instance_uid=generate_uid(prefix=None),
                instance_number=1,
                manufacturer="thirdaxis",
                manufacturer_model_name=algorithm,
                software_versions=version,
                device_serial_number="0",
                content_description=description[:64],
                series_description=description[:64],
                content_label="SEGMENTATION",
            )
    except (AttributeError, ValueError, TypeError) as fault:
        raise InputError(
            f"{source}: no segmentation can refer to these files ({one_line(fault)})"
        ) from fault
    with atomic_path(path) as temporary:
        seg.save_as(temporary)


def read_seg(
    path: str | Path, source: str | Path | None = None, *, series: str | None = None
) -> tuple[Raw, dict[int, str]]:
    """Reads a DICOM SEG object whose segments do not overlap.

    Args:
        path: the .dcm file, of whichever program.
        source: the folder of the series that was segmented; the label map then lies on its grid.
            Without it the map reaches from the first to the last slice that holds a segment.
        series: the Series Instance UID, where the folder holds several.

    Returns:
        The label map, (1, D, H, W) int16 whose values are segment numbers, with its affine, and
        segment number -> label.

    Raises:
        InputError: not a DICOM SEG, fractional or overlapping segments, frames without an even
            grid, or a source that the segmentation does not refer to.
    """
    import highdicom

    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with _quiet():
            seg = highdicom.seg.segread(path)
    except Exception as fault:  # a damaged file can make pydicom raise nearly anything
        raise InputError(f"{path}: damaged or not a DICOM SEG ({one_line(fault)})") from fault
    if seg.segmentation_type.value == "FRACTIONAL":
        raise InputError(f"{path}: fractional segments; expected binary ones or a label map")
    names = {n: str(seg.get_segment_description(n).SegmentLabel) for n in seg.segment_numbers}
    try:
        with _quiet():
            return (_on_series(seg, Path(source), series) if source else _alone(seg)), names
    except InputError:
        raise
    except (RuntimeError, ValueError, KeyError, AttributeError) as fault:
        raise InputError(f"{path}: cannot become one label map ({one_line(fault)})") from fault


def _on_series(seg, folder: Path, series: str | None) -> Raw:  # type: ignore[no-untyped-def]
    slices = _headers(folder, series)
    uids = [str(one.SOPInstanceUID) for one in slices]
    known = {str(uid) for _, _, uid in seg.get_source_image_uids()}
    if not known & set(uids):
        raise InputError(f"{folder}: not the series that was segmented; it refers to other files")
    array = seg.get_pixels_by_source_instance(
        uids, combine_segments=True, assert_missing_frames_are_empty=True
    )
    return _raw(array, read_dicom(folder, series).affine)


def _alone(seg) -> Raw:  # type: ignore[no-untyped-def]
    found = seg.get_volume(combine_segments=True)
    found = found.flip_spatial(0)  # highdicom counts slices against their normal, ITK along it
    return _raw(found.array, LPS_TO_RAS @ np.asarray(found.affine))


def _raw(array: np.ndarray, affine: np.ndarray) -> Raw:
    return Raw(array.astype(np.int16)[None], affine)


def _headers(folder: Path, series: str | None) -> list:  # type: ignore[type-arg]
    """The files' headers in the order of the array's slices, complete enough to be referred to."""
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    if not folder.is_dir():
        raise InputError(
            f"{folder}: a DICOM segmentation refers to the files of a series; expected their folder"
        )
    slices = []
    for name in series_files(folder, series):
        try:
            header = dcmread(name, stop_before_pixels=True)
        except (InvalidDicomError, OSError, EOFError) as fault:
            raise InputError(f"{name}: damaged DICOM file ({one_line(fault)})") from fault
        lacking = [key for key in NEEDED if not header.get(key)]
        if lacking:
            raise InputError(
                f"{name}: has no {lacking[0]}, which a segmentation must refer to; "
                "write a .nii.gz label map instead"
            )
        for key in UNKNOWN_IS_FINE:  # the standard wants them there, if empty
            if key not in header:
                setattr(header, key, "")
        slices.append(header)
    return slices


def _pixels(
    path: str | Path, labels: Tensor, names: Mapping[int, str], shape: tuple[int, int, int]
) -> np.ndarray:
    if tuple(labels.shape) != shape:
        raise InputError(
            f"{path}: the label map is {tuple(labels.shape)} voxels, the series {shape}"
        )
    if labels.is_floating_point() or labels.is_complex():
        raise InputError(f"{path}: a label map holds whole numbers, not {labels.dtype}")
    array = labels.detach().cpu().numpy()
    strange = sorted(set(np.unique(array).tolist()) - {0, *names})
    if strange:
        raise InputError(f"{path}: label {strange[0]} has no name; named are {list(names)}")
    return array.astype(np.uint8 if len(names) < 256 else np.uint16)


def _segment(number: int, name: str, made_by):  # type: ignore[no-untyped-def]
    from highdicom.seg import SegmentDescription
    from highdicom.sr import CodedConcept

    from thirdaxis.data.dicom.codes import coded_name

    coded = coded_name(name)
    segment = SegmentDescription(
        segment_number=number,
        segment_label=name[:64],
        segmented_property_category=coded.category,
        segmented_property_type=coded.kind,
        algorithm_type="AUTOMATIC",
        algorithm_identification=made_by,
    )
    if coded.side is not None:
        modifier = CodedConcept.from_code(coded.side)
        segment.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [
            modifier
        ]
    return segment


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what pydicom and highdicom remark on the source files' small deviations."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
