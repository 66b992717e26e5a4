import json

import numpy as np
import pytest
from PIL import Image

from thirdaxis.cli.main import run
from thirdaxis.data.lesions.ct_png import write_ct_png

HEADER = (
    "File_name,Measurement_coordinates,Bounding_boxes,Coarse_lesion_type,Possibly_noisy,"
    "Spacing_mm_px_,Image_size,Train_Val_Test"
)


@pytest.fixture
def folder(tmp_path):
    """Two key slices of DeepLesion's layout with a bright disc at column 30, row 20 (from 1)."""
    pytest.importorskip("cv2")
    marks = '"24, 20, 36, 20, 30, 14, 30, 26","19, 9, 41, 31",3,0,"1, 1, 2","64, 48",1'
    rows = [f"000001_01_01_00{number}.png,{marks}" for number in (1, 2)]
    place = tmp_path / "data" / "Images_png" / "000001_01_01"
    place.mkdir(parents=True)
    (tmp_path / "data" / "DL_info.csv").write_text("\n".join([HEADER, *rows, ""]), encoding="utf-8")
    down, across = np.mgrid[:48, :64]
    disc = (across - 29) ** 2 + (down - 19) ** 2 <= 36
    for number in (1, 2):
        noise = np.random.default_rng(number).normal(0, 20, disc.shape)
        write_ct_png(place / f"00{number}.png", 500 * disc + noise)
    return tmp_path / "data"


def test_outlines_are_made_once_and_shown(folder, tmp_path, capsys):
    out, picture = tmp_path / "masks.json", tmp_path / "ten.png"
    words = ["prepare", "lesion-masks", str(folder), "-o", str(out), "--picture", str(picture)]
    assert run(words) == 0
    told = capsys.readouterr().out
    assert "2 outlines on 2 key slices (0 of them finished before)" in told
    assert "2 of them to look at" in told
    assert list(json.loads(out.read_text(encoding="utf-8"))["slices"]) == [
        "000001_01_01/001",
        "000001_01_01/002",
    ]
    with Image.open(picture) as image:
        assert image.size == (384, 192)
    written = out.stat().st_mtime_ns
    assert run([*words, "--workers", "2"]) == 0
    assert "(2 of them finished before)" in capsys.readouterr().out
    assert out.stat().st_mtime_ns == written


def test_boxes_of_a_table_on_scans_are_outlined(folder, tmp_path, capsys):
    import nibabel

    scan = np.zeros((20, 16, 4), np.int16)
    scan[6:12, 5:10, 2] = 300
    nibabel.save(nibabel.Nifti1Image(scan, np.eye(4)), folder / "a.nii")
    table = "file,z,x1,y1,x2,y2\na.nii,2,4,3,14,12\n"
    (folder / "boxes.csv").write_text(table, encoding="utf-8")
    words = ["prepare", "lesion-masks", str(folder), "--boxes", "boxes.csv"]
    assert run([*words, "-o", str(tmp_path / "masks.json")]) == 0
    assert "1 outlines on 1 key slices" in capsys.readouterr().out
    (rle,) = json.loads((tmp_path / "masks.json").read_text(encoding="utf-8"))["slices"]["a/002"][
        "masks"
    ]
    assert rle["size"] == [16, 20] and sum(rle["counts"][1::2]) >= 30


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"19, 9, 41, 31"', '"41, 9, 19, 31"', "line 2: the box is inverted or of zero size"),
        ('"19, 9, 41, 31"', '"19, 9, 19, 31"', "line 2: the box is inverted or of zero size"),
        ('"19, 9, 41, 31"', '"70, 9, 90, 31"', "line 2: the box 70, 9, 90, 31 (from 1) lies out"),
        ("000001_01_01_002", "000001_01_01_001", "line 3: the same lesion as in line 2"),
        ("000001_01_01_002", "000001_01_01_009", "line 3: no image"),
        ('"1, 1, 2"', '"0, 1, 2"', "line 2: the pixel spacing is a positive length"),
        ('"64, 48",1', '"64, x",1', "line 2: Image_size is 2 numbers with commas between"),
        (
            "Bounding_boxes",
            "Bounding_box",
            "no column 'Bounding_boxes'; did you mean 'Bounding_box'",
        ),
        ('"64, 48",1', '"48, 64",1', "001.png: is 64 x 48 pixels, the table says 48 x 64"),
    ],
)
def test_a_bad_table_ends_with_one_line_and_exit_code_1(
    old, new, message, folder, tmp_path, capsys
):
    path = folder / "DL_info.csv"
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    out = tmp_path / "masks.json"
    assert run(["prepare", "lesion-masks", str(folder), "-o", str(out)]) == 1
    told = capsys.readouterr()
    assert message in told.err and told.err.count("\n") == 1
    assert not out.exists()


def test_pictures_of_8_bits_are_refused(folder, tmp_path, capsys):
    path = next(folder.rglob("002.png"))
    Image.new("L", (64, 48)).save(path)
    out = tmp_path / "masks.json"
    assert run(["prepare", "lesion-masks", str(folder), "-o", str(out)]) == 1
    told = capsys.readouterr().err
    assert "002.png: has 8 bits, expected one channel of 16 bits" in told
    assert told.count("\n") == 1 and not out.exists()


def test_faulty_lesions_may_be_left_out(folder, tmp_path, capsys):
    next(folder.rglob("001.png")).unlink()
    words = ["prepare", "lesion-masks", str(folder), "-o", str(tmp_path / "masks.json")]
    assert run([*words, "--leave-out-faulty"]) == 0
    told = capsys.readouterr()
    assert "1 outlines on 1 key slices" in told.out and "1 lesions were left out" in told.out
    assert "line 2: no image" in told.err
