import numpy as np
import pytest

from thirdaxis.data.grid import to_grid
from thirdaxis.data.lesions.ct_png import write_ct_png
from thirdaxis.data.lesions.deeplesion_volume import stored_series
from thirdaxis.errors import InputError

HEAD = (
    "File_name,Measurement_coordinates,Bounding_boxes,Coarse_lesion_type,Possibly_noisy,"
    "Spacing_mm_px_,Image_size,Train_Val_Test"
)


def written(root, interval="2.5"):
    rows = [HEAD]
    for patient in (1, 2):
        series = f"{patient:06d}_01_01"
        (root / "Images_png" / series).mkdir(parents=True)
        for number in (9, 10, 11):
            hu = np.full((20, 30), 100 * patient + number)
            write_ct_png(root / "Images_png" / series / f"{number:03d}.png", hu)
        for number in (10, 11):
            told = f'{series}_{number:03d}.png,"5,5,9,9,5,9,9,5","4,4,12,12",5,0'
            rows.append(f'{told},"0.7,0.8,{interval}","30,20",1')
    (root / "DL_info.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return root


def test_the_stored_slices_of_each_series_are_a_volume(tmp_path):
    first, second = stored_series(written(tmp_path))
    assert (first.name, second.name) == ("000001_01_01", "000002_01_01")
    assert [path.stem for path in first.files()] == ["009", "010", "011"]
    volume = second.read()
    assert volume.shape == (3, 20, 30)
    assert volume.array[0, :, 0, 0].tolist() == [209, 210, 211]
    assert volume.spacing == pytest.approx((2.5, 0.8, 0.7))
    turned = to_grid(volume)  # it lies as the tasks look at scans already
    assert (turned.array == volume.array).all() and (turned.affine == volume.affine).all()


def test_one_series_may_be_named(tmp_path):
    root = written(tmp_path)
    (one,) = stored_series(root / "Images_png" / "000002_01_01")
    assert one.name == "000002_01_01"
    assert stored_series(root / "Images_png") == []
    assert stored_series(root / "DL_info.csv") == []


def test_a_series_with_a_fault_is_told_when_it_is_read(tmp_path):
    root = written(tmp_path)
    first, second = stored_series(root)
    first.files()[1].unlink()
    with pytest.raises(InputError, match="no slice between 9 and 11"):
        first.read()
    write_ct_png(second.files()[2], np.zeros((20, 20)))
    with pytest.raises(InputError, match=r"011\.png: is \(20, 20\)"):
        second.read()


def test_slices_at_an_unknown_distance_are_no_volume(tmp_path):
    one = stored_series(written(tmp_path, "NaN"))[0]
    with pytest.raises(InputError, match="distance of its slices"):
        one.read()
