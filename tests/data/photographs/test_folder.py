import numpy as np
import pytest

from thirdaxis.data.photographs.folder import read_photo_folder
from thirdaxis.errors import InputError


def test_folders_are_classes(photo_folder):
    found = read_photo_folder(photo_folder)
    assert found.classes == ("cat", "dog", "owl") and len(found) == 15
    assert found.labels.tolist() == [0] * 4 + [1] * 5 + [2] * 6
    names = [found.name(number) for number in range(len(found))]
    # The oracle of the walk: pathlib's own search.
    assert set(names) == {
        str(p) for p in photo_folder.rglob("*.JPEG") if not p.name.startswith(".")
    }
    for number in (0, 7, 14):
        with open(names[number], "rb") as stream:
            assert found.content(number) == stream.read()
        assert f"/{found.classes[found.labels[number]]}/" in names[number]


def test_names_of_any_letters(photo_folder):
    (photo_folder / "cat" / "0.JPEG").rename(photo_folder / "cat" / "Käuzchen №1.JPEG")
    found = read_photo_folder(photo_folder)
    number = [found.name(n) for n in range(4)].index(str(photo_folder / "cat/Käuzchen №1.JPEG"))
    assert len(found.content(number)) > 100


def test_a_picture_that_is_gone_is_told_by_name(photo_folder):
    found = read_photo_folder(photo_folder)
    (photo_folder / "cat" / "0.JPEG").unlink()
    with pytest.raises(InputError, match=r"cat/0.JPEG: cannot be read \(No such file"):
        found.content(0)


def test_a_class_without_a_picture_is_refused(photo_folder):
    (photo_folder / "emu").mkdir()
    (photo_folder / "emu" / "notes.txt").write_text("none yet", encoding="utf-8")
    with pytest.raises(InputError, match="1 of 4 classes have no picture: 'emu'; add some"):
        read_photo_folder(photo_folder)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("nowhere", "no such folder"),
        ("cat", r"cat: has \d? ?(1 classes|no folders)"),
        ("dog/more", "has no folders; expected one folder of pictures for each class"),
    ],
)
def test_what_is_no_folder_of_classes(photo_folder, place, said):
    with pytest.raises(InputError, match=said):
        read_photo_folder(photo_folder / place)


def test_the_names_take_one_array(photo_folder):
    assert isinstance(read_photo_folder(photo_folder).stored.names, np.ndarray)
