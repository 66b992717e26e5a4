import json

import nibabel as nib
import numpy as np
import pytest
import torch

from thirdaxis.data.folder import Case, read_case, read_folder
from thirdaxis.data.split import split
from thirdaxis.errors import InputError

MSD = {
    "name": "made",
    "modality": {"0": "MRI"},
    "labels": {"0": "background", "1": "left", "2": "right"},
    "numTraining": 3,
    "training": [
        {"image": f"./imagesTr/case_{n}.nii.gz", "label": f"./labelsTr/case_{n}.nii.gz"}
        for n in (2, 0, 1)
    ],
    "test": ["./imagesTs/case_9.nii.gz"],
}
NNUNET = {
    "channel_names": {"0": "T1", "1": "T2"},
    "labels": {"background": 0, "left": 1, "right": 2},
    "numTraining": 3,
    "file_ending": ".nii.gz",
}


def save(path, array, affine=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.Nifti1Image(array, np.eye(4) if affine is None else affine).to_filename(path)


def make(root, content, suffixes):
    root.mkdir(exist_ok=True)
    (root / "dataset.json").write_text(json.dumps(content))
    rng = np.random.default_rng(0)
    for n in range(3):
        for suffix in suffixes:
            image = rng.normal(size=(4, 5, 6)).astype(np.float32)
            save(root / "imagesTr" / f"case_{n}{suffix}.nii.gz", image)
        labels = rng.integers(0, 3, (4, 5, 6)).astype(np.uint8)
        save(root / "labelsTr" / f"case_{n}.nii.gz", labels)
    for part in ("imagesTr", "labelsTr"):
        (root / part / "._case_0.nii.gz").write_bytes(b"macOS companion")
    return root


@pytest.fixture
def msd(tmp_path):
    return make(tmp_path / "msd", MSD, [""])


@pytest.fixture
def nnunet(tmp_path):
    return make(tmp_path / "nnunet", NNUNET, ["_0000", "_0001"])


def test_a_decathlon_folder_is_read(msd):
    folder = read_folder(msd)
    assert folder.root == msd
    assert folder.labels == {0: "background", 1: "left", 2: "right"}
    assert folder.modalities == {0: "MRI"}
    assert [case.name for case in folder.cases] == ["case_0", "case_1", "case_2"]
    image, label = read_case(folder.cases[1], folder.labels)
    assert image.array.shape == label.array.shape == (1, 6, 5, 4)
    stored = nib.load(msd / "labelsTr" / "case_1.nii.gz").get_fdata()
    np.testing.assert_array_equal(label.array[0].numpy().T, stored)


def test_an_nnunet_folder_is_read(nnunet):
    folder = read_folder(nnunet)
    assert folder.labels == {0: "background", 1: "left", 2: "right"}
    assert folder.modalities == {0: "T1", 1: "T2"}
    assert [case.name for case in folder.cases] == ["case_0", "case_1", "case_2"]
    image, label = read_case(folder.cases[2], folder.labels)
    assert image.array.shape == (2, 6, 5, 4) and label.array.shape == (1, 6, 5, 4)
    for n in range(2):
        stored = nib.load(nnunet / "imagesTr" / f"case_2_000{n}.nii.gz").get_fdata()
        np.testing.assert_array_equal(image.array[n].numpy().T, stored.astype(np.float32))


def test_companion_files_named_in_the_list_are_passed_over(msd):
    extra = {"image": "./imagesTr/._case_0.nii.gz", "label": "./labelsTr/._case_0.nii.gz"}
    content = {**MSD, "training": [extra, *MSD["training"]]}
    (msd / "dataset.json").write_text(json.dumps(content))
    assert len(read_folder(msd).cases) == 3


def test_a_case_without_a_label_has_none(msd):
    image, label = read_case(Case("a", (msd / "imagesTr/case_0.nii.gz",), None), {0: "b"})
    assert image.array.shape == (1, 6, 5, 4) and label is None


def refused(root, message):
    with pytest.raises(InputError, match=message) as caught:
        read_folder(root)
    assert str(root) in str(caught.value) and "\n" not in str(caught.value)


def test_folders_that_are_none_are_named(tmp_path):
    refused(tmp_path / "nowhere", "no such folder")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "is empty; expected a folder with dataset.json")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.txt").write_text("a")
    refused(tmp_path / "other", "has no dataset.json")


@pytest.mark.parametrize("text", ["", "{", "{'a': 1}", "\xff"])
def test_invalid_json_is_named(tmp_path, text):
    (tmp_path / "dataset.json").write_bytes(text.encode("latin-1"))
    refused(tmp_path, "dataset.json: not valid JSON")


def test_json_of_another_shape_is_named(tmp_path):
    (tmp_path / "dataset.json").write_text("[1, 2]")
    refused(tmp_path, "expected a JSON object, found list")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": None}, "labels"),
        ({"labels": {"0": "a", "2": "b"}}, "without gaps"),
        ({"labels": {"0": "a"}}, "without gaps"),
        ({"labels": {"0": "a", "one": "b"}}, "labels.one"),
        ({"labels": {"0": "a", "1": "a"}}, "its own name"),
        ({"modality": {}}, "modality"),
        ({"training": "all"}, "training"),
        ({"training": [{"image": "a.nii.gz"}]}, "training.0.label"),
        ({"training": [{"image": "../a.nii.gz", "label": "b.nii.gz"}]}, "leaves the folder"),
        ({"training": []}, "no training cases"),
        ({"training": [MSD["training"][0]] * 2}, "listed twice: case_2"),
    ],
)
def test_faults_in_a_decathlon_list_are_named(msd, change, message):
    (msd / "dataset.json").write_text(json.dumps({**MSD, **change}))
    refused(msd, message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": {"background": 0, "left": [1, 2]}}, "labels.left"),
        ({"labels": {"background": 0, "left": 1, "ignore": 2}}, "'ignore' label"),
        ({"labels": {"background": 0, "left": 1, "right": 1}}, "share a value"),
        ({"labels": {"left": 1, "right": 2}}, "without gaps"),
        ({"file_ending": ".png"}, "file_ending"),
        ({"file_ending": ".mha"}, "no training cases"),
        ({"channel_names": {}}, "channel_names"),
    ],
)
def test_faults_in_an_nnunet_list_are_named(nnunet, change, message):
    (nnunet / "dataset.json").write_text(json.dumps({**NNUNET, **change}))
    refused(nnunet, message)


def test_missing_files_are_counted_and_listed(msd, nnunet):
    for n in range(3):
        (msd / "labelsTr" / f"case_{n}.nii.gz").unlink()
    (msd / "imagesTr" / "case_1.nii.gz").unlink()
    refused(msd, r"4 of 6 files are missing: labelsTr/case_2.nii.gz.*, \.\.\.")
    (nnunet / "imagesTr" / "case_1_0001.nii.gz").unlink()
    (nnunet / "labelsTr" / "case_0.nii.gz").unlink()
    refused(nnunet, "2 of 9 files are missing: labelsTr/case_0.nii.gz, imagesTr/case_1_0001.nii.gz")


def test_folders_without_images_are_named(nnunet):
    (nnunet / "imagesTr").rename(nnunet / "imagesTrain")
    with pytest.raises(InputError, match="imagesTr: no such folder"):
        read_folder(nnunet)


def test_a_label_on_another_grid_is_named(msd):
    folder = read_folder(msd)
    path = msd / "labelsTr" / "case_0.nii.gz"
    save(path, np.zeros((4, 5, 7), np.uint8))
    with pytest.raises(InputError, match="7 x 5 x 4 voxels.*expected 6 x 5 x 4") as caught:
        read_case(folder.cases[0], folder.labels)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    save(path, np.zeros((4, 5, 6), np.uint8), np.diag([1.0, 1, 3, 1]))
    with pytest.raises(InputError, match="of 3 x 1 x 1 mm.*expected .* of 1 x 1 x 1 mm"):
        read_case(folder.cases[0], folder.labels)


def test_channels_on_different_grids_are_named(nnunet):
    folder = read_folder(nnunet)
    path = nnunet / "imagesTr" / "case_0_0001.nii.gz"
    save(path, np.zeros((4, 5, 6), np.float32), np.diag([1.0, 2, 1, 1]))
    with pytest.raises(InputError, match=r"case_0_0001.*not on the grid of case_0_0000"):
        read_case(folder.cases[0], folder.labels)


def test_labels_not_in_the_list_are_named(msd):
    folder = read_folder(msd)
    path = msd / "labelsTr" / "case_0.nii.gz"
    save(path, np.arange(120).reshape(4, 5, 6).clip(0, 4).astype(np.uint8))
    with pytest.raises(InputError, match=r"values 3, 4 are not those of .*1 \(left\)") as caught:
        read_case(folder.cases[0], folder.labels)
    assert str(path) in str(caught.value)


def test_the_hippocampus_folder_is_read(shared_data):
    folder = read_folder(shared_data / "msd_hippocampus")
    assert len(folder.cases) == 221 and folder.modalities == {0: "MRI"}
    assert folder.labels == {0: "background", 1: "Anterior", 2: "Posterior"}
    train, held_out = split([case.name for case in folder.cases], folds=5, fold=0)
    assert (len(train), len(held_out)) == (176, 45)
    image, label = read_case(folder.cases[0], folder.labels)
    assert image.shape == label.shape
    assert 0.01 < (label.array > 0).to(torch.float32).mean() < 0.15
