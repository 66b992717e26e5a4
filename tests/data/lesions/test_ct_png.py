import numpy as np
import pytest
from PIL import Image

from thirdaxis.data.lesions.ct_png import read_ct_png, write_ct_png
from thirdaxis.errors import InputError


def test_hounsfield_units_come_back_and_the_file_holds_them_plus_32768(tmp_path):
    hu = np.random.default_rng(0).integers(-1024, 3072, (7, 5)).astype(np.int16)
    hu[0, :3] = (-32768, 32767, 0)
    write_ct_png(tmp_path / "001.png", hu)
    np.testing.assert_array_equal(read_ct_png(tmp_path / "001.png"), hu)
    stored = np.asarray(Image.open(tmp_path / "001.png")).astype(int)
    np.testing.assert_array_equal(stored, hu.astype(int) + 32768)
    assert [path.name for path in tmp_path.iterdir()] == ["001.png"]


def test_another_writer_of_16_bits_is_read_alike(tmp_path):
    cv2 = pytest.importorskip("cv2")
    hu = np.random.default_rng(1).integers(-1024, 3072, (9, 11))
    assert cv2.imwrite(str(tmp_path / "a.png"), (hu + 32768).astype(np.uint16))
    np.testing.assert_array_equal(read_ct_png(tmp_path / "a.png"), hu)


def test_values_are_rounded_and_cut(tmp_path):
    write_ct_png(tmp_path / "a.png", np.array([[-40000.0, 1.6], [-1.6, 40000.0]]))
    np.testing.assert_array_equal(read_ct_png(tmp_path / "a.png"), [[-32768, 2], [-2, 32767]])


@pytest.mark.parametrize(
    ("mode", "message"), [("L", "has 8 bits, expected"), ("RGB", "has RGB pixels, expected")]
)
def test_other_pictures_are_refused(mode, message, tmp_path):
    Image.new(mode, (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=message):
        read_ct_png(tmp_path / "a.png")


def test_damaged_and_missing_files_are_told(tmp_path):
    write_ct_png(tmp_path / "a.png", np.random.default_rng(0).normal(0, 100, (64, 64)))
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "b.png").write_bytes(b"no picture")
    Image.new("L", (4, 4)).save(tmp_path / "c.png", format="JPEG")
    for name, message in (("a", "damaged"), ("b", "damaged"), ("c", "not PNG"), ("d", "no such")):
        with pytest.raises(InputError, match=message) as told:
            read_ct_png(tmp_path / f"{name}.png")
        assert "\n" not in str(told.value) and f"{name}.png" in str(told.value)
