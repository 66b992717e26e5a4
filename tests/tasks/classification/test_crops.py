import nibabel
import numpy as np
import pytest
import torch

from thirdaxis.data import medmnist
from thirdaxis.errors import InputError
from thirdaxis.tasks.classification.cases import make_plan, read_cases, split_samples
from thirdaxis.tasks.classification.crops import prepare
from thirdaxis.tasks.classification.settings import ClassifySettings
from thirdaxis.tasks.engine import no_watch


@pytest.fixture
def shapes(tmp_path, monkeypatch) -> str:
    """A set of MedMNIST of a few samples, each of its own brightness."""
    about = medmnist.SETS["fracturemnist3d"]
    monkeypatch.setitem(medmnist.SETS, "fracturemnist3d", type(about)(about.labels, ((9, 3, 6),)))
    arrays = {}
    for key, count in (("train", 9), ("val", 3), ("test", 6)):
        values = np.arange(1, count + 1, dtype=np.uint8)
        arrays[f"{key}_images"] = np.tile(values[:, None, None, None], (1, 28, 28, 28))
        arrays[f"{key}_labels"] = (np.arange(count, dtype=np.uint8) % 3)[:, None]
    np.savez(tmp_path / "fracturemnist3d.npz", **arrays)
    return str(tmp_path / "fracturemnist3d.npz")


def test_a_set_keeps_its_official_split(shapes):
    settings = ClassifySettings(data=shapes, fraction=0.7)
    cases = read_cases(settings)
    parts = split_samples(cases, settings)
    assert [len(parts[part]) for part in ("training", "validation", "test")] == [6, 3, 6]
    assert all(name.startswith("training-") for name in parts["training"])
    plan = make_plan(cases, parts, settings, (1, 28, 28, 28))
    assert plan.names == medmnist.FRACTURES and plan.counts == (2, 2, 2)
    labels = cases.labels(parts["test"])
    assert plan.truth(labels).tolist() == [0, 1, 2, 0, 1, 2]


def test_a_set_is_scaled_sized_and_shifted_when_it_is_taken(shapes):
    cases = read_cases(ClassifySettings(data=shapes))
    names = ["test-0003", "training-0008"]
    own = prepare(cases.named(names, "x"), ClassifySettings(data=shapes), no_watch, "")
    assert own.shape == (1, 28, 28, 28) and own.boxes[0].dtype == torch.uint8
    assert own.image(0).unique().tolist() == pytest.approx([4 / 255])
    small = ClassifySettings(data=shapes, size=(7, 14, 14), jitter=2)
    crops = prepare(cases.named(names, "x"), small, no_watch, "")
    assert crops.shape == (1, 7, 14, 14) and crops.boxes[0].shape == (1, 11, 18, 18)
    shifted = crops.image(1, (2, 0, -1))
    assert bool((shifted[0, -2:] == 0).all()) and bool((shifted[0, :, :, 0] == 0).all())
    assert float(shifted[0, 0, 0, 1]) == pytest.approx(9 / 255)


def write(place, shapes: dict[str, tuple[int, ...]]) -> str:
    random = np.random.default_rng(0)
    rows = ["file,label"]
    for name, shape in shapes.items():
        image = random.normal(0, 1, shape).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(image, np.diag([1, 1, 3, 1])), place / f"{name}.nii.gz")
        rows.append(f"{name}.nii.gz,{len(rows) % 2}")
    (place / "table.csv").write_text("\n".join(rows))
    return str(place / "table.csv")


def test_boxes_are_kept_on_disk_until_something_changes(tmp_path):
    data = write(tmp_path, {"a": (8, 8, 4), "b": (8, 8, 4)})
    told = {"data": data, "cache": str(tmp_path / "cache"), "size": (4, 8, 8)}
    cases = read_cases(ClassifySettings(**told))
    first = prepare(cases, ClassifySettings(**told), no_watch, "")
    files = sorted((tmp_path / "cache").glob("*.npy"))
    assert len(files) == 2 and first.thickness == pytest.approx((3, 3))
    before = [file.stat().st_mtime_ns for file in files]
    again = prepare(cases, ClassifySettings(**told), no_watch, "")
    assert [file.stat().st_mtime_ns for file in files] == before
    for one, other in zip(first.boxes, again.boxes, strict=True):
        torch.testing.assert_close(one, other, atol=0, rtol=0)
    prepare(cases, ClassifySettings(**told, intensity="percentiles"), no_watch, "")
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 4


def test_boxes_that_differ_are_refused(tmp_path):
    data = write(tmp_path, {"a": (8, 8, 4), "b": (8, 9, 4)})
    settings = ClassifySettings(data=data)
    with pytest.raises(InputError, match=r"b.nii.gz: its box .* \(4, 9, 8\).* size in voxels"):
        prepare(read_cases(settings), settings, no_watch, "")
    data = write(tmp_path, {"a": (8, 8, 4), "b": (8, 8, 4, 2)})
    settings = ClassifySettings(data=data, size=(4, 4, 4))
    with pytest.raises(InputError, match="its box has 2 channels"):
        prepare(read_cases(settings), settings, no_watch, "")
