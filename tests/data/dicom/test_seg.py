import numpy as np
import pydicom
import pytest
import torch
from highdicom.seg import Segmentation, segread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from thirdaxis.data.dicom.seg import read_seg, write_seg
from thirdaxis.data.volume import read_labels, read_volume, same_grid
from thirdaxis.errors import InputError

NAMES = {0: "background", 1: "liver", 2: "Liver tumour", 3: "posterior part"}
SHAPE = (5, 7, 6)


def write_series(folder, drift=(0.0, 0.0), leave_out=(), shape=SHAPE):
    """A series of the given shape that says no more than it has to; `drift` shears it."""
    folder.mkdir(exist_ok=True)
    for z in range(shape[0]):
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        ds.SOPInstanceUID = f"1.2.3.4.{z + 1}"
        ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.3", "1.2.3.4"
        ds.FrameOfReferenceUID, ds.PatientID, ds.Modality = "1.2.9", "somebody", "CT"
        ds.ImagePositionPatient = [-20.0 + drift[0] * z, 5.0 + drift[1] * z, 3.0 * z]
        ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        ds.PixelSpacing, ds.SliceThickness = [0.5, 0.75], 3.0
        ds.Rows, ds.Columns = shape[1:]
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated = ds.BitsStored = 16
        ds.HighBit, ds.PixelRepresentation = 15, 0
        ds.PixelData = np.full(shape[1:], z, "<u2").tobytes()
        for name in leave_out:
            delattr(ds, name)
        ds.save_as(folder / f"{9 - z}.dcm", enforce_file_format=True)
    return folder


def some_labels(shape):
    """Labels 0, 1 and 2 without symmetry, the last slice empty, label 3 nowhere."""
    labels = torch.randint(0, 3, shape, generator=torch.Generator().manual_seed(1))
    labels[-1] = 0
    return labels


def places(path, labels):
    """RAS mm of each voxel of a segment, by the attributes of each frame alone."""
    ds = pydicom.dcmread(path)
    shared = ds.SharedFunctionalGroupsSequence[0]
    rows, columns = shared.PixelMeasuresSequence[0].PixelSpacing
    axes = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    found = {number: [] for number in labels}
    for frame, group in zip(ds.pixel_array, ds.PerFrameFunctionalGroupsSequence, strict=True):
        number = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        corner = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
        h, w = np.nonzero(frame)
        lps = corner + np.outer(w * columns, axes[:3]) + np.outer(h * rows, axes[3:])
        found[number].append(lps * [-1, -1, 1])
    return {number: np.concatenate(parts) for number, parts in found.items() if parts}


def check_places(path, labels, affine):
    found = places(path, NAMES)
    assert sorted(found) == [1, 2]
    drawn = torch.zeros_like(labels)
    for number, mm in found.items():
        place = torch.from_numpy(mm) - affine[:3, 3]
        index = torch.linalg.solve(affine[:3, :3], place.T).T
        assert (index - index.round()).abs().max() < 0.02
        drawn[tuple(index.round().long().T)] = number
    assert torch.equal(drawn, labels)


@pytest.mark.parametrize("name", ["mr_hippocampus_crop", "mr_brain_flair_oblique"])
def test_a_real_series_gets_its_label_map_back(shared_data, tmp_path, name):
    folder = shared_data / "dicom" / name
    scan = read_volume(folder)
    labels = some_labels(scan.shape)
    path = tmp_path / "seg.dcm"
    write_seg(path, labels, folder, NAMES)
    check_places(path, labels, scan.affine)
    by_highdicom = segread(path).get_pixels_by_source_instance(
        [
            one.SOPInstanceUID
            for one in sorted(
                (pydicom.dcmread(f, stop_before_pixels=True) for f in folder.glob("*.dcm")),
                key=lambda one: (
                    np.array(one.ImagePositionPatient, float)
                    @ (scan.affine[:3, 0].numpy() * [-1, -1, 1])
                ),
            )
        ],
        combine_segments=True,
        assert_missing_frames_are_empty=True,
    )
    np.testing.assert_array_equal(by_highdicom, labels.numpy())
    found, names = read_seg(path, folder)
    np.testing.assert_array_equal(found.array[0], labels.numpy())
    np.testing.assert_allclose(found.affine, scan.affine.numpy())
    assert names == {1: "liver", 2: "Liver tumour", 3: "posterior part"}


@pytest.mark.parametrize("drift", [(0.0, 0.0), (0.0, 0.8)], ids=["upright", "tilted gantry"])
def test_a_plain_series_gets_its_label_map_back(tmp_path, drift):
    folder = write_series(tmp_path / "series", drift)
    scan = read_volume(folder)
    labels = some_labels(SHAPE)
    write_seg(tmp_path / "seg.dcm", labels, folder, NAMES)
    check_places(tmp_path / "seg.dcm", labels, scan.affine)
    np.testing.assert_array_equal(read_seg(tmp_path / "seg.dcm", folder)[0].array[0], labels)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["seg.dcm"]


def test_without_its_series_a_segmentation_reaches_over_its_own_slices(tmp_path):
    folder = write_series(tmp_path / "series")
    labels = some_labels(SHAPE)
    write_seg(tmp_path / "seg.dcm", labels, folder, NAMES)
    alone = read_labels(tmp_path / "seg.dcm")
    assert alone.shape == (4, 7, 6)
    torch.testing.assert_close(alone.affine, read_volume(folder).affine, atol=1e-6, rtol=0)
    assert torch.equal(alone.array[0], labels[:4].to(torch.int16))


def test_what_the_segmentation_says_of_itself(tmp_path):
    folder = write_series(tmp_path / "series")
    names = {1: "left kidney", 2: "liver tumour", 3: "thing"}
    write_seg(
        tmp_path / "seg.dcm",
        some_labels(SHAPE),
        folder,
        names,
        algorithm="my model",
        version="7",
        description="organs",
    )
    ds = pydicom.dcmread(tmp_path / "seg.dcm")
    assert ds.Modality == "SEG" and ds.SegmentationType == "BINARY"
    assert ds.StudyInstanceUID == "1.2.3" and ds.SeriesInstanceUID != "1.2.3.4"
    assert ds.PatientID == "somebody" and ds.FrameOfReferenceUID == "1.2.9"
    assert ds.SeriesDescription == "organs"
    assert [s.SegmentLabel for s in ds.SegmentSequence] == list(names.values())
    types = [s.SegmentedPropertyTypeCodeSequence[0] for s in ds.SegmentSequence]
    assert [(t.CodeValue, t.CodingSchemeDesignator) for t in types] == [
        ("64033007", "SCT"),
        ("108369006", "SCT"),
        ("85756007", "SCT"),
    ]
    (side,) = types[0].SegmentedPropertyTypeModifierCodeSequence
    assert (side.CodeValue, side.CodeMeaning) == ("7771000", "Left")
    for segment in ds.SegmentSequence:
        assert segment.SegmentAlgorithmType == "AUTOMATIC"
        about = segment.SegmentationAlgorithmIdentificationSequence[0]
        assert (about.AlgorithmName, about.AlgorithmVersion) == ("my model", "7")
    referred = ds.ReferencedSeriesSequence[0]
    assert referred.SeriesInstanceUID == "1.2.3.4"
    assert len(referred.ReferencedInstanceSequence) == 5


def test_a_label_map_of_background_alone_is_written(tmp_path):
    folder = write_series(tmp_path / "series")
    write_seg(tmp_path / "seg.dcm", torch.zeros(SHAPE, dtype=torch.uint8), folder, NAMES)
    found, names = read_seg(tmp_path / "seg.dcm", folder)
    assert not found.array.any() and list(names) == [1, 2, 3]


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        (torch.zeros(SHAPE), NAMES, "whole numbers, not torch.float32"),
        (torch.zeros(5, 6, 7, dtype=torch.int64), NAMES, r"\(5, 6, 7\) voxels, the series \(5, 7"),
        (torch.full(SHAPE, 4), NAMES, "label 4 has no name"),
        (torch.zeros(SHAPE, dtype=torch.int64), {1: "a", 3: "b"}, "without gaps"),
        (torch.zeros(SHAPE, dtype=torch.int64), {0: "a"}, "without gaps"),
    ],
)
def test_unfit_label_maps_are_not_written(tmp_path, labels, names, message):
    folder = write_series(tmp_path / "series")
    with pytest.raises(InputError, match=message):
        write_seg(tmp_path / "seg.dcm", labels, folder, names)
    assert [path.name for path in tmp_path.iterdir()] == ["series"]


def test_a_source_that_cannot_be_referred_to_is_named(tmp_path):
    folder = write_series(tmp_path / "series", leave_out=["FrameOfReferenceUID"])
    labels = some_labels(SHAPE)
    with pytest.raises(InputError, match=r"\.dcm: has no FrameOfReferenceUID.*\.nii\.gz"):
        write_seg(tmp_path / "seg.dcm", labels, folder, NAMES)
    with pytest.raises(InputError, match="expected their folder"):
        write_seg(tmp_path / "seg.dcm", labels, tmp_path / "scan.nii.gz", NAMES)
    assert [path.name for path in tmp_path.iterdir()] == ["series"]


def test_a_segmentation_of_another_series_is_refused(tmp_path, shared_data):
    folder = write_series(tmp_path / "series")
    write_seg(tmp_path / "seg.dcm", some_labels(SHAPE), folder, NAMES)
    with pytest.raises(InputError, match="not the series that was segmented"):
        read_seg(tmp_path / "seg.dcm", shared_data / "dicom" / "mr_hippocampus_crop")


def test_files_that_are_no_segmentation_are_named(tmp_path):
    folder = write_series(tmp_path / "series")
    (tmp_path / "text.dcm").write_text("hello")
    for path in (folder / "9.dcm", tmp_path / "text.dcm"):
        with pytest.raises(InputError, match="damaged or not a DICOM SEG") as caught:
            read_seg(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(InputError, match="no such file"):
        read_seg(tmp_path / "none.dcm")
    write_seg(tmp_path / "seg.dcm", some_labels(SHAPE), folder, NAMES)
    with pytest.raises(InputError, match="holds labels, not an image"):
        read_volume(tmp_path / "seg.dcm")
    assert same_grid(read_labels(tmp_path / "seg.dcm"), read_labels(tmp_path / "seg.dcm"))


@pytest.mark.parametrize("kind", ["overlapping", "fractional"])
def test_segments_that_make_no_label_map_are_named(tmp_path, kind):
    folder = write_series(tmp_path / "series")
    write_seg(tmp_path / "seg.dcm", some_labels(SHAPE), folder, NAMES)
    given = segread(tmp_path / "seg.dcm")
    masks = np.zeros((*SHAPE, 3), np.uint8)
    masks[1, 2:5, 2:5, 0] = masks[1, 3:6, 3:6, 1] = 1
    sources = [pydicom.dcmread(path) for path in sorted(folder.iterdir(), reverse=True)]
    for one in sources:
        one.PatientName = one.PatientBirthDate = one.PatientSex = one.AccessionNumber = ""
        one.StudyID = one.StudyDate = one.StudyTime = one.ReferringPhysicianName = ""
    Segmentation(
        source_images=sources,
        pixel_array=masks if kind == "overlapping" else masks.astype(np.float32) / 2,
        segmentation_type="BINARY" if kind == "overlapping" else "FRACTIONAL",
        segment_descriptions=[given.get_segment_description(n) for n in (1, 2, 3)],
        series_instance_uid="1.2.7",
        series_number=7,
        sop_instance_uid="1.2.7.1",
        instance_number=1,
        manufacturer="other",
        manufacturer_model_name="other",
        software_versions="1",
        device_serial_number="1",
    ).save_as(tmp_path / "other.dcm")
    message = {"overlapping": "one label map .*overlap", "fractional": "fractional segments"}[kind]
    with pytest.raises(InputError, match=message) as caught:
        read_seg(tmp_path / "other.dcm", folder)
    assert "other.dcm" in str(caught.value) and "\n" not in str(caught.value)
