"""Every reader's bad input through the command: one clear line, exit code 1, nothing written."""

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from thirdaxis.cli.main import run

SHAPE = (24, 22, 10)


def nifti(path, array=None, affine=None):
    if array is None:
        array = np.random.default_rng(0).normal(100, 9, SHAPE).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4) if affine is None else affine), path)
    return path


def truncated(path, keep=0.5):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    return path


def with_value(path, value):
    array = np.zeros(SHAPE, np.float32)
    array[3, 4, 5] = value
    return nifti(path, array)


def flat(path):
    nifti(path)
    raw = bytearray(path.read_bytes())
    raw[280 + 32 : 328] = bytes(16)  # the header's third row of the affine
    path.write_bytes(raw)
    return path


def itk(path, array=None):
    if array is None:
        array = np.random.default_rng(0).integers(0, 99, SHAPE[::-1]).astype(np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    return path


def written(path, content):
    path.write_bytes(content)
    return path


def header_alone(path):
    itk(path)
    next(file for file in path.parent.iterdir() if file != path).unlink()
    return path


def series(folder, heights=range(6), uid="1.2.3.4", size=(20, 18), turn=0.0, drift=0.0, **compress):
    """A CT series of one file a slice."""
    folder.mkdir(exist_ok=True)
    random = np.random.default_rng(0)
    for number, z in enumerate(heights):
        pixels = random.integers(-900, 900, (1, *size)).astype(np.int16)
        image = sitk.GetImageFromArray(pixels)
        side = np.cos(turn * number), np.sin(turn * number)
        tags = {
            **{"0008|0060": "CT", "0020|000d": "1.2.3", "0020|000e": uid},
            **{"0008|0018": f"{uid}.{number + 1}", "0020|0013": str(number)},
            "0020|0032": f"0\\{drift * number}\\{3.0 * z}",
            "0020|0037": f"{side[0]}\\0\\{side[1]}\\0\\1\\0",
            **{"0028|1052": "0", "0028|1053": "1"},
        }
        for key, value in tags.items():
            image.SetMetaData(key, value)
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        if compress:
            writer.UseCompressionOn()
            writer.SetCompressor(compress["compressor"])
        writer.SetFileName(str(folder / f"{uid}-{number:02d}.dcm"))
        writer.Execute(image)
    return folder


def spoiled(folder, change):
    path = sorted(folder.iterdir())[2]
    path.write_bytes(change(path.read_bytes()))
    return folder


def with_syntax(folder, uid):
    """Says of each file that it is compressed in another way than it is."""
    for path in folder.iterdir():
        head, tag, rest = path.read_bytes().partition(b"\x02\x00\x10\x00UI")
        room = rest[0]
        assert len(uid) <= room
        path.write_bytes(head + tag + rest[:2] + uid.encode().ljust(room, b"\0") + rest[2 + room :])
    return folder


def two_series(folder):
    series(folder)
    return series(folder, uid="1.2.3.5")


def two_sizes(folder):
    series(folder, range(3))
    for path in series(folder.with_name("other"), range(3, 6), size=(16, 18)).iterdir():
        path.rename(folder / f"more-{path.name}")
    folder.with_name("other").rmdir()
    return folder


UNKNOWN_JPEG = "1.2.840.10008.1.2.4.99"  # in the range of the JPEG family, never given out
IMAGES = {
    "missing file": (lambda p: p / "a.nii.gz", "a.nii.gz: no such file"),
    "empty file": (lambda p: written(p / "a.nii.gz", b""), "a.nii.gz: the file is empty"),
    "text": (lambda p: written(p / "a.nii.gz", b"hello\n"), "a.nii.gz: damaged or not NIfTI"),
    "truncated": (lambda p: truncated(nifti(p / "a.nii.gz")), "a.nii.gz: damaged or not NIfTI"),
    "wrong type": (lambda p: written(p / "a.png", b"x"), "cannot tell the format from the ending"),
    "two axes": (
        lambda p: nifti(p / "a.nii.gz", np.zeros((24, 22), np.float32)),
        "expected 3 axes",
    ),
    "four axes": (
        lambda p: nifti(p / "a.nii.gz", np.zeros((*SHAPE, 3), np.float32)),
        "3 channels, the network was trained on 1",
    ),
    "NaN": (lambda p: with_value(p / "a.nii.gz", np.nan), "a.nii.gz: 1 of 5280 values are NaN"),
    "infinite": (lambda p: with_value(p / "a.nii.gz", np.inf), "a.nii.gz: 1 of 5280 values are"),
    "flat affine": (lambda p: flat(p / "a.nii"), "its affine cannot be inverted"),
    "MetaImage truncated": (lambda p: truncated(itk(p / "a.mha")), "a.mha: damaged or not .mha"),
    "MetaImage without its data": (lambda p: header_alone(p / "a.mhd"), "a.mhd: damaged"),
    "NRRD empty": (lambda p: written(p / "a.nrrd", b""), "a.nrrd: the file is empty"),
    "NRRD text": (lambda p: written(p / "a.nrrd", b"hello"), "a.nrrd: damaged or not .nrrd"),
    "folder without scans": (lambda p: p, "no scans; expected"),
    "DICOM missing slice": (
        lambda p: series(p / "s", [0, 1, 2, 4, 5, 6]),
        "a slice is missing between 1.2.3.4-02.dcm and 1.2.3.4-03.dcm",
    ),
    "DICOM doubled slice": (
        lambda p: series(p / "s", [0, 1, 2, 2, 3, 4]),
        "doubled slices, 1.2.3.4-02.dcm and 1.2.3.4-03.dcm lie at one place",
    ),
    "DICOM planes not parallel": (
        lambda p: series(p / "s", turn=0.02),
        "do not lie in parallel planes",
    ),
    "DICOM two series": (lambda p: two_series(p / "s"), "2 DICOM series in one folder"),
    "DICOM two sizes": (lambda p: two_sizes(p / "s"), "slices of different grids, 16 x 18 pixels"),
    "DICOM lone slice": (lambda p: series(p / "s", [0]), "a single DICOM slice"),
    "DICOM pixels truncated": (
        lambda p: spoiled(series(p / "s"), lambda data: data[:-200]),
        "1.2.3.4-02.dcm: damaged or not DICOM",
    ),
    "DICOM header truncated": (
        lambda p: spoiled(series(p / "s"), lambda data: data[:200]),
        "1.2.3.4-02.dcm: damaged or not DICOM",
    ),
    "DICOM empty slice": (
        lambda p: spoiled(series(p / "s"), lambda data: b""),
        "1.2.3.4-02.dcm: damaged or not DICOM",
    ),
    "DICOM compressed, unknown": (
        lambda p: with_syntax(series(p / "s", compressor="JPEG2000"), UNKNOWN_JPEG),
        "pip install -U SimpleITK",
    ),
}


@pytest.mark.parametrize("kind", IMAGES)
def test_bad_images_are_one_line(kind, phantom_run, tmp_path, capsys):
    make, line = IMAGES[kind]
    place = tmp_path / "in"
    place.mkdir()
    scan = make(place)
    assert run(["predict", str(phantom_run), str(scan), "-o", str(tmp_path / "out")]) == 1
    told = capsys.readouterr().err
    lines = [one for one in told.splitlines() if line in one]
    assert len(lines) == 1 and lines[0].startswith("error: ") and str(place) in lines[0]
    assert "Traceback" not in told
    assert not [path for path in (tmp_path / "out").rglob("*") if "nii" in path.name]


LABELS = {
    "not whole": (lambda p: with_value(p, 0.5), "holds whole numbers, this file holds 0.5"),
    "NaN": (lambda p: with_value(p, np.nan), "holds whole numbers, this file holds nan"),
    "four axes": (
        lambda p: nifti(p, np.zeros((*SHAPE, 2), np.uint8)),
        "one channel, this file has 2",
    ),
    "other place": (
        lambda p: nifti(p, np.zeros(SHAPE, np.uint8), np.diag([1, 1, 2.0, 1])),
        "not on the grid of",
    ),
    "other size": (lambda p: nifti(p, np.zeros((5, 5, 5), np.uint8)), "not on the grid of"),
    "empty": (lambda p: written(p, b""), "the file is empty"),
    "truncated": (lambda p: truncated(nifti(p, np.eye(400, dtype=np.uint8)[..., None])), "damaged"),
}


@pytest.mark.parametrize("kind", LABELS)
def test_bad_label_maps_are_one_line(kind, tmp_path, capsys):
    make, line = LABELS[kind]
    for name in ("truth", "found"):
        (tmp_path / name).mkdir()
    truth = np.zeros(SHAPE, np.uint8)
    truth[5:9, 5:9, 2:6] = 1
    nifti(tmp_path / "truth" / "a.nii.gz", truth)
    make(tmp_path / "found" / "a.nii.gz")
    out = tmp_path / "scores"
    words = ["evaluate", str(tmp_path / "found"), str(tmp_path / "truth"), "-o", str(out)]
    assert run(words) == 1
    told = capsys.readouterr().err
    lines = [one for one in told.splitlines() if line in one]
    assert len(lines) == 1 and lines[0].startswith("error: ") and "found/a.nii.gz" in lines[0]
    assert "Traceback" not in told


GOOD = {
    "constant": lambda p: nifti(p / "a.nii.gz", np.full(SHAPE, 7, np.float32)),
    "four axes of one": lambda p: nifti(p / "a.nii.gz", np.zeros((*SHAPE, 1), np.float32)),
    "lossless JPEG": lambda p: series(p / "s", compressor="JPEG"),
    "JPEG 2000": lambda p: series(p / "s", compressor="JPEG2000"),
    "tilted gantry": lambda p: series(p / "s", drift=0.8),
}


@pytest.mark.parametrize("kind", GOOD)
def test_unusual_images_are_read(kind, phantom_run, tmp_path, capsys):
    place = tmp_path / "in"
    place.mkdir()
    scan = GOOD[kind](place)
    out = tmp_path / "out.nii.gz"
    assert run(["predict", str(phantom_run), str(scan), "-o", str(out)]) == 0, capsys.readouterr()
    found = nibabel.load(out)
    assert set(np.unique(np.asarray(found.dataobj))) <= {0, 1, 2}
    if kind == "tilted gantry":  # the slices lie where the scanner took them
        np.testing.assert_allclose(found.affine[:3, 2], [0, -0.8, 3.0], atol=1e-5)
