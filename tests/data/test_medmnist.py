from pathlib import Path

import numpy as np
import pytest

from thirdaxis.data.medmnist import KEYS, SETS, read_medmnist
from thirdaxis.errors import InputError


def write(path: Path, counts: tuple[int, ...], side: int, classes: int, **changes: object) -> Path:
    random = np.random.default_rng(0)
    arrays: dict[str, object] = {}
    for key, count in zip(KEYS.values(), counts, strict=True):
        arrays[f"{key}_images"] = np.zeros((count, side, side, side), np.uint8)
        arrays[f"{key}_labels"] = random.integers(classes, size=(count, 1), dtype=np.uint8)
    arrays.update(changes)
    np.savez_compressed(path, **{name: a for name, a in arrays.items() if a is not None})
    return path


@pytest.mark.parametrize("name", SETS)
def test_every_set_is_read_with_its_official_split(name, tmp_path, monkeypatch):
    about = SETS[name]
    few = (5, 3, 4)
    monkeypatch.setitem(SETS, name, type(about)(about.labels, (few,)))
    for side, ending in ((28, ""), (64, "_64")):
        path = write(tmp_path / f"{name}{ending}.npz", few, side, len(about.labels))
        found = read_medmnist(path)
        assert found.name == name and found.labels == about.labels
        for part, count in zip(KEYS, few, strict=True):
            assert found.images[part].shape == (count, 1, side, side, side)
            assert found.truth[part].shape == (count,)
            assert int(found.truth[part].max()) < len(about.labels)


def test_the_published_counts_are_known():
    totals = {name: sum(about.counts[0]) for name, about in SETS.items()}
    assert totals == {
        "organmnist3d": 1742,
        "nodulemnist3d": 1633,
        "adrenalmnist3d": 1584,
        "fracturemnist3d": 1370,
        "vesselmnist3d": 1908,
        "synapsemnist3d": 1759,
    }
    assert [len(about.labels) for about in SETS.values()] == [11, 2, 2, 3, 2, 2]


FEW = (4, 3, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"val_labels": None}, "it has no val_labels"),
        ({"test_images": np.zeros((3, 28, 28), np.uint8)}, r"test images are \(28, 28\)"),
        ({"test_images": np.zeros((3, 28, 28, 28), np.float32)}, "float32, expected"),
        ({"train_labels": np.full((4, 1), 2)}, "from 2 to 2, expected"),
        ({"train_labels": np.zeros((3, 1))}, r"train.* labels are \(3, 1\)"),
        ({}, r"\(4, 3, 3\) .* the published set has \(1188, 98, 298\)"),
    ],
)
def test_another_content_is_refused(tmp_path, changes, message):
    path = write(tmp_path / "adrenalmnist3d.npz", FEW, 28, 2, **changes)
    with pytest.raises(InputError, match=message):
        read_medmnist(path)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="'adrenalmnist'; did you mean 'adrenalmnist3d'"):
        read_medmnist(tmp_path / "adrenalmnist.npz")
    with pytest.raises(InputError, match="no such file"):
        read_medmnist(tmp_path / "adrenalmnist3d.npz")
    (tmp_path / "adrenalmnist3d.npz").write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(InputError, match=r"not readable as \.npz"):
        read_medmnist(tmp_path / "adrenalmnist3d.npz")


def test_the_real_file(shared_data):
    found = read_medmnist(shared_data / "medmnist3d" / "adrenalmnist3d_64.npz")
    assert found.truth["training"].bincount().tolist() == [929, 259]
    assert found.truth["test"].bincount().tolist() == [229, 69]
    assert found.images["test"][:9].unique().tolist() == [0, 255]
