import nibabel as nib
import numpy as np
import pytest

from thirdaxis.data.folder import read_case, read_folder
from thirdaxis.data.patients import patient_of
from thirdaxis.errors import InputError, UsageError


@pytest.fixture
def pairs(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("b_2", "a_1", "a_2"):
        for folder, top in (("images", 100), ("masks", 3)):
            (tmp_path / folder).mkdir(exist_ok=True)
            array = rng.integers(0, top, (4, 5, 6)).astype(np.int16)
            nib.Nifti1Image(array, np.eye(4)).to_filename(tmp_path / folder / f"{name}.nii.gz")
    (tmp_path / "images" / "._a_1.nii.gz").write_bytes(b"macOS companion")
    (tmp_path / "images" / "readme.txt").write_text("no volume")
    (tmp_path / "table.csv").write_text(
        "scan,person\na_1.nii.gz,ann\nimages/a_2.nii.gz,bob\nb_2,ann\n", encoding="utf-8"
    )
    return tmp_path


@pytest.mark.parametrize("labels", ["masks", "labels"])
def test_equal_names_belong_together(pairs, labels):
    (pairs / "masks").rename(pairs / labels)
    folder = read_folder(pairs, {"all": (1, 2)})
    assert [case.name for case in folder.cases] == ["a_1", "a_2", "b_2"]
    assert folder.labels == {0: "background", 1: "all"} and folder.modalities == {0: "image"}
    case = folder.cases[1]
    assert case.label == pairs / labels / "a_2.nii.gz"
    image, label = read_case(case, folder.labels)
    raw = np.asarray(nib.load(case.label).dataobj)
    assert int(label.array.sum()) == int((raw > 0).sum()) > 0
    assert sorted(label.array.unique().tolist()) == [0, 1]


def test_masks_without_names_hold_one_class(pairs):
    folder = read_folder(pairs)
    assert folder.labels == {0: "background", 1: "foreground"}
    with pytest.raises(InputError, match="label values 2 are not those.*by the setting labels"):
        read_case(folder.cases[0], folder.labels)


def test_a_case_without_its_partner_is_named(pairs):
    (pairs / "masks" / "a_2.nii.gz").unlink()
    with pytest.raises(InputError, match=r"images/a_2.nii.gz: masks/ has no file of this name; 1"):
        read_folder(pairs)
    (pairs / "images" / "a_2.nii.gz").unlink()
    (pairs / "images" / "b_2.nii.gz").unlink()
    with pytest.raises(InputError, match=r"masks/b_2.nii.gz: images/ has no file"):
        read_folder(pairs)


def test_two_files_of_one_name_are_refused(pairs):
    (pairs / "images" / "a_1.mha").write_bytes(b"")
    with pytest.raises(InputError, match="a case of the same name"):
        read_folder(pairs)


def test_the_nodules_are_a_folder_of_pairs(shared_data):
    folder = read_folder(shared_data / "lidc_nodules", {"nodule": (1,)})
    names = [case.name for case in folder.cases]
    assert len(names) == 822
    patient = patient_of("labels.csv:patient_id", folder.root, names)
    assert len({patient(name) for name in names}) == 450
    assert patient(names[0]) == "LIDC-IDRI-0001"
    _, label = read_case(folder.cases[0], folder.labels)
    assert sorted(label.array.unique().tolist()) == [0, 1]


def test_patients_from_a_table_or_a_pattern(pairs):
    names = ["a_1", "a_2", "b_2"]
    by_table = patient_of("table.csv:person", pairs, names)
    assert [by_table(name) for name in names] == ["ann", "bob", "ann"]
    by_name = patient_of("^[^_]+", pairs, names)
    assert [by_name(name) for name in names] == ["a", "a", "b"]


@pytest.mark.parametrize(
    ("rule", "fault", "said"),
    [
        ("table.csv:persn", InputError, "no column 'persn'; did you mean 'person'"),
        ("tables.csv:person", InputError, "no such table of patients"),
        ("x+", UsageError, "matches nothing in the case 'a_1'"),
    ],
)
def test_rules_that_name_no_patient(pairs, rule, fault, said):
    with pytest.raises(fault, match=said):
        patient_of(rule, pairs, ["a_1"])
    with pytest.raises(InputError, match="'c_9' is not in the first column"):
        patient_of("table.csv:person", pairs, ["a_1", "c_9"])
