import shutil
import sys

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from torch import nn

from thirdaxis.data.dicom.seg import read_seg
from thirdaxis.data.volume import read_labels, read_volume
from thirdaxis.errors import InputError, UsageError
from thirdaxis.tasks.segment import (
    Inference,
    Outputs,
    Segmenter,
    load_segmenter,
    make_settings,
    predict,
)
from thirdaxis.tasks.segmentation.plan import Plan


class Bright(nn.Module):
    """Class 1 where the normalised intensity is above a half, class 0 elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(50.0))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.zeros_like(image), self.slope * (image - 0.5)], 1)


def segmenter(spacing=None, patch=(8, 16, 16)) -> Segmenter:
    values = {"data": "d", "patch": patch, "intensity": "window", "window": (0, 100)}
    plan = Plan({0: "background", 1: "bright"}, ("CT",), spacing, 1.0, patch)
    return Segmenter(Bright(), make_settings(values, "test"), plan, torch.device("cpu"))


def marked(shape, seed: int = 0) -> np.ndarray:
    """Dim noise with a small bright box off the centre, so that every flip would show."""
    image = np.random.default_rng(seed).uniform(0, 10, shape).astype(np.float32)
    image[2 : shape[0] // 2, shape[1] // 2 : -3, 1 : 1 + (shape[2] + 1) // 2] = 100
    return image


def affines() -> dict[str, np.ndarray]:
    oblique = np.eye(4)
    a, b = 0.5, 0.3
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    oblique[:3, :3] = about_z @ about_x @ np.diag([0.8, 0.9, 3.0])
    oblique[:3, 3] = (12.5, -40.25, 7)
    lps = np.diag([-1.0, -1.0, 2.0, 1.0])
    sagittal = np.zeros((4, 4))  # rows run down, slices run to the left
    sagittal[0, 2], sagittal[1, 0], sagittal[2, 1], sagittal[3, 3] = -1.5, 1.0, -1.0, 1.0
    return {"ras": np.diag([1.0, 1, 1, 1]), "lps": lps, "oblique": oblique, "sagittal": sagittal}


@pytest.mark.parametrize("kind", list(affines()))
@pytest.mark.parametrize("depth", [5, 1, 19])
def test_the_marker_lands_on_its_own_voxels_on_the_scans_own_grid(tmp_path, kind, depth):
    affine, image = affines()[kind], marked((14, 18, depth))
    path = tmp_path / "scan.nii.gz"
    nibabel.save(nibabel.Nifti1Image(image, affine), path)
    labels = segmenter()(read_volume(path))
    assert labels.dtype == torch.int16
    # Volumes are the file's axes reversed.
    np.testing.assert_array_equal(labels.numpy().transpose(2, 1, 0), image > 50)


@pytest.mark.parametrize("kind", list(affines()))
def test_with_a_spacing_the_marker_keeps_its_place_and_size(tmp_path, kind):
    affine = affines()[kind]
    image = marked((24, 28, 16))
    path = tmp_path / "scan.nii.gz"
    nibabel.save(nibabel.Nifti1Image(image, affine), path)
    labels = segmenter(spacing=(1.0, 1.0, 1.0))(read_volume(path)).numpy().transpose(2, 1, 0)
    truth = image > 50
    assert labels.shape == truth.shape
    overlap = 2 * (truth & (labels == 1)).sum() / (truth.sum() + (labels == 1).sum())
    assert overlap > 0.93
    for axis in range(3):
        gap = np.argwhere(truth).mean(0)[axis] - np.argwhere(labels == 1).mean(0)[axis]
        assert abs(gap) < 0.35


def test_a_scan_with_other_channels_is_refused(tmp_path):
    path = tmp_path / "scan.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.zeros((5, 6, 7, 2), np.float32), np.eye(4)), path)
    with pytest.raises(InputError, match="has 2 channels, the network was trained on 1"):
        segmenter()(read_volume(path))


def test_every_format_gives_the_same_labels_and_keeps_its_affine(phantom_run, tmp_path):
    source = phantom_run.parent / "data" / "imagesTr" / "phantom_001.nii.gz"
    image = sitk.ReadImage(str(source))
    for ending in (".mha", ".nrrd"):
        sitk.WriteImage(image, str(tmp_path / f"scan{ending}"))
    first = predict(phantom_run, source, tmp_path / "one" / "first.nii.gz")
    expected = nibabel.load(first.written["phantom_001"])
    original = nibabel.load(source)
    np.testing.assert_allclose(expected.affine, original.affine, atol=1e-5)
    assert expected.shape == original.shape
    assert np.unique(expected.dataobj).tolist() != [0]
    for ending in (".mha", ".nrrd"):
        done = predict(phantom_run, tmp_path / f"scan{ending}", tmp_path / ending[1:])
        (written,) = done.written.values()
        assert written == tmp_path / ending[1:] / "scan.nii.gz"
        found = nibabel.load(written)
        np.testing.assert_array_equal(np.asarray(found.dataobj), np.asarray(expected.dataobj))
        np.testing.assert_allclose(found.affine, original.affine, atol=1e-4)


def test_a_missing_package_is_told_before_the_first_scan(phantom_run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "highdicom", None)
    scans = phantom_run.parent / "data" / "imagesTr"
    with pytest.raises(ModuleNotFoundError, match="highdicom"):
        predict(phantom_run, scans, tmp_path / "out", outputs=Outputs("dicom-seg"))
    assert not (tmp_path / "out").exists()


def test_a_folder_gives_a_file_and_a_picture_a_scan(phantom_run, tmp_path):
    images = phantom_run.parent / "data" / "imagesTr"
    written = predict(phantom_run, images, tmp_path / "out", outputs=Outputs(picture=True)).written
    names = [path.name for path in sorted(images.iterdir())]
    assert [path.name for path in written.values()] == names
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        names + [name.replace(".nii.gz", ".png") for name in names]
    )


def test_outputs_that_cannot_be_right_are_refused(phantom_run, tmp_path):
    images = phantom_run.parent / "data" / "imagesTr"
    with pytest.raises(UsageError, match="one file for 6 scans"):
        predict(phantom_run, images, tmp_path / "all.nii.gz")
    with pytest.raises(UsageError, match="is one of the scans"):
        predict(phantom_run, images, images)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is a file"):
        predict(phantom_run, images, tmp_path / "file")
    with pytest.raises(InputError, match="no such folder"):
        predict(tmp_path / "none", images, tmp_path / "out")


def test_a_real_dicom_series_is_segmented_on_its_own_grid(phantom_run, tmp_path, shared_data):
    series = shared_data / "dicom" / "mr_hippocampus_crop"
    (written,) = predict(phantom_run, series, tmp_path).written.values()
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(series)))
    scan, labels = reader.Execute(), sitk.ReadImage(str(written))
    assert labels.GetSize() == scan.GetSize()
    for index in ((0, 0, 0), tuple(size - 1 for size in scan.GetSize())):
        np.testing.assert_allclose(
            labels.TransformIndexToPhysicalPoint(index),
            scan.TransformIndexToPhysicalPoint(index),
            atol=1e-2,
        )


def test_the_best_network_is_rebuilt_as_it_was(phantom_run):
    state = torch.load(phantom_run / "best.ckpt", weights_only=True)["state_dict"]
    net = load_segmenter(phantom_run).net
    assert not net.training
    for name, value in net.state_dict().items():
        assert torch.equal(value, state[f"net.{name}"])


def test_a_folder_survives_bad_scans_and_skips_finished_ones(phantom_run, tmp_path):
    images = tmp_path / "scans"
    images.mkdir()
    for number in (0, 1, 2):
        name = f"phantom_{number:03d}.nii.gz"
        shutil.copy(phantom_run.parent / "data" / "imagesTr" / name, images / name)
    (images / "phantom_001.nii.gz").write_bytes(b"\x1f\x8b broken")
    nibabel.save(
        nibabel.Nifti1Image(np.zeros((5, 6, 7, 2), np.float32), np.eye(4)), images / "two.nii.gz"
    )
    said = []
    done = predict(phantom_run, images, tmp_path / "out", say=said.append)
    good = [tmp_path / "out" / f"phantom_{number}.nii.gz" for number in ("000", "002")]
    names = ["phantom_000", "phantom_002"]
    assert done.written == dict(zip(names, good, strict=True)) and done.finished == []
    assert list(done.failed) == ["phantom_001", "two"]
    assert "phantom_001.nii.gz: damaged" in done.failed["phantom_001"]
    assert "two.nii.gz: the scan has 2 channels" in done.failed["two"]
    assert sorted((tmp_path / "out").iterdir()) == good
    assert said == [str(path) for path in good]

    good[0].write_bytes(good[0].read_bytes()[:200])  # not whole: it is done again
    before = good[1].stat().st_mtime_ns
    again = predict(phantom_run, images, tmp_path / "out")
    assert (again.written, again.finished) == ({names[0]: good[0]}, names[1:])
    assert good[1].stat().st_mtime_ns == before
    # Probabilities are asked for now: they are not there.
    more = predict(phantom_run, images, tmp_path / "out", outputs=Outputs(probabilities=True))
    assert list(more.written.values()) == good
    third = predict(
        phantom_run, images, tmp_path / "out", outputs=Outputs(probabilities=True, overwrite=True)
    )
    assert list(third.written) == names and third.finished == []
    npz = tmp_path / "out" / "phantom_000.npz"
    npz.write_bytes(npz.read_bytes()[:-200])
    last = predict(phantom_run, images, tmp_path / "out", outputs=Outputs(probabilities=True))
    assert (last.written, last.finished) == ({names[0]: good[0]}, names[1:])


def test_probabilities_lie_on_the_scans_grid_and_agree_with_the_labels(phantom_run, tmp_path):
    source = phantom_run.parent / "data" / "imagesTr" / "phantom_003.nii.gz"
    told = []
    done = predict(
        phantom_run,
        source,
        tmp_path / "out" / "one.nii.gz",
        Inference(flips=("width",)),
        Outputs(probabilities=True),
        told=lambda done, total: told.append(done == total),
    )
    assert told[-1]
    labels = nibabel.load(done.written["phantom_003"])
    with np.load(tmp_path / "out" / "one.npz") as file:
        probabilities, affine, names = (file[key] for key in ("probabilities", "affine", "labels"))
    assert probabilities.dtype == np.float16
    assert names.tolist() == ["background", "bright", "dark"]
    assert probabilities.shape == (3, *labels.shape[::-1])
    np.testing.assert_allclose(probabilities.astype(float).sum(0), 1, atol=2e-3)
    np.testing.assert_allclose(affine[:, [2, 1, 0, 3]], nibabel.load(source).affine, atol=1e-5)
    top = np.sort(probabilities.astype(float), 0)
    clear = top[-1] - top[-2] > 2e-3
    found = np.asarray(labels.dataobj).T
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(probabilities.argmax(0)[clear], found[clear])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "one.nii.gz",
        "one.npz",
    ]


def test_a_dicom_series_becomes_a_segmentation_object_that_says_the_same(
    phantom_run, tmp_path, shared_data
):
    pytest.importorskip("highdicom", reason="needs the extra dicom")
    series = shared_data / "dicom" / "mr_hippocampus_crop"
    done = predict(phantom_run, series, tmp_path, outputs=Outputs("both"))
    ((name, label_map),) = done.written.items()
    assert label_map.name.endswith(".nii.gz")
    (seg,) = tmp_path.glob("*.dcm")
    raw, names = read_seg(seg, series)
    assert np.array_equal(raw.array, read_labels(label_map).array.numpy())
    assert set(names.values()) <= {"bright", "dark"} and raw.array.any()
    assert predict(phantom_run, series, tmp_path, outputs=Outputs("both")).finished == [name]
    alone = predict(phantom_run, series, tmp_path / "alone", outputs=Outputs("dicom-seg"))
    assert [path.suffix for path in (tmp_path / "alone").iterdir()] == [".dcm"]
    assert alone.written[name].suffix == ".dcm"


def test_formats_that_cannot_be_are_refused(phantom_run, tmp_path):
    scan = phantom_run.parent / "data" / "imagesTr" / "phantom_003.nii.gz"
    with pytest.raises(InputError, match=r"phantom_003.nii.gz: not a DICOM series; --format nifti"):
        predict(phantom_run, scan, tmp_path / "out", outputs=Outputs("dicom-seg"))
    with pytest.raises(UsageError, match="no format 'dicom'; did you mean 'dicom-seg'"):
        Outputs("dicom")
    with pytest.raises(UsageError, match="no label 'liver'"):
        predict(phantom_run, scan, tmp_path / "out", Inference(largest=("liver",)))
    assert not (tmp_path / "out").exists()
