import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from thirdaxis.data.dicom.series import read_dicom, series_files
from thirdaxis.data.dicom.slices import POSITION, header, slice_step
from thirdaxis.errors import InputError

SIZE = (32, 40)  # GDCM does not decode RLE of a handful of pixels


@pytest.fixture
def folder(tmp_path):
    for z in range(5):
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.4", f"1.2.3.{z}"
        ds.SeriesInstanceUID, ds.Modality = "1.2.3", "MR"
        ds.ImagePositionPatient = [1.0, 2.0, 4.0 * z]
        ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        ds.PixelSpacing, ds.Rows, ds.Columns = [0.5, 0.25], *SIZE
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated = ds.BitsStored = 16
        ds.HighBit, ds.PixelRepresentation = 15, 0
        pixels = np.arange(32 * 40, dtype="<u2").reshape(SIZE) * (z + 1)
        pixels[0, 0] = z
        ds.PixelData = pixels.tobytes()
        ds.save_as(tmp_path / f"{z}.dcm", enforce_file_format=True)
    return tmp_path


def change(folder, number, **values):
    path = folder / f"{number}.dcm"
    ds = pydicom.dcmread(path)
    for name, value in values.items():
        if value is None:
            delattr(ds, name)
        else:
            setattr(ds, name, value)
    ds.save_as(path)


def test_the_step_leads_from_slice_to_slice(folder):
    names = series_files(folder)
    np.testing.assert_allclose(slice_step(folder, names), [0, 0, 4])
    np.testing.assert_allclose(slice_step(folder, names[::-1]), [0, 0, -4])
    assert header(names[1])[POSITION].split("\\")[2].startswith("4")
    assert read_dicom(folder).array[0, :, 0, 0].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("number", "values", "message"),
    [
        (2, {"PixelSpacing": None}, r"2\.dcm: a slice without PixelSpacing"),
        (3, {"ImagePositionPatient": None}, r"3\.dcm: a slice without ImagePositionPatient"),
        (
            2,
            {"PixelSpacing": [0.5, 0.3]},
            r"different grids, 32 x 40 pixels of 0\.5 x 0\.25 mm and",
        ),
        (2, {"ImagePositionPatient": [1.0, 5.0, 8.0]}, "not evenly spaced .*sideways"),
        (2, {"ImagePositionPatient": [1.0, 2.0, 9.0]}, "not evenly spaced"),
        (2, {"ImagePositionPatient": [1.0, 2.0, 4.01]}, r"doubled slices, 1\.dcm and 2\.dcm"),
        (4, {"ImagePositionPatient": [1.0, 2.0, 30.0]}, r"missing between 3\.dcm and 4\.dcm"),
        (1, {"ImageOrientationPatient": [1, 0, 0, 0, 0.8, 0.6]}, "parallel planes|DICOM series"),
    ],
)
def test_slices_that_make_no_volume_are_named(folder, number, values, message):
    change(folder, number, **values)
    with pytest.raises(InputError, match=message) as caught:
        read_dicom(folder)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)


def test_a_damaged_header_is_named(tmp_path):
    (tmp_path / "a.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\x02\x00")
    with pytest.raises(InputError, match=r"a\.dcm: damaged DICOM file"):
        header(str(tmp_path / "a.dcm"))


@pytest.mark.parametrize("how", ["RLELossless", "JPEGLSLossless"])
def test_compressed_slices_read_as_they_were(folder, how):
    expected = read_dicom(folder).array
    for path in folder.iterdir():
        ds = pydicom.dcmread(path)
        ds.compress(getattr(pydicom.uid, how), generate_instance_uid=False)
        ds.save_as(path)
    np.testing.assert_array_equal(read_dicom(folder).array, expected)
