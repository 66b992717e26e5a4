import dataclasses

import numpy as np
import pytest
import torch

from thirdaxis.data.folder import read_folder
from thirdaxis.errors import InputError
from thirdaxis.tasks.run_folder import read_plan
from thirdaxis.tasks.segmentation.plan import plan_from
from thirdaxis.tasks.segmentation.prepare import make_plan, prepare, usual_patch
from thirdaxis.tasks.segmentation.preprocess import preprocessing
from thirdaxis.tasks.settings_files import make_settings


def no_watch(cases, what):
    return cases


@pytest.fixture
def data(tmp_path, make_phantoms):
    return make_phantoms(tmp_path / "data", 3)


def settings_of(data, **values):
    return make_settings({"data": str(data), **values}, "test")


def test_median_spacing_of_turned_scans_and_anisotropy(data):
    folder = read_folder(data)
    plan = make_plan(settings_of(data, spacing="median"), folder, folder.cases, no_watch)
    # Phantoms are 1.0 × 1.2 × 2.5 mm along (x, y, z); arrays are (z, y, x).
    assert plan.spacing == pytest.approx((2.5, 1.2, 1.0))
    assert plan.anisotropy == pytest.approx(2.5)
    assert plan.foreground == (1, 2) and plan.classes == 3 and plan.channels == ("MRI",)
    assert plan_from(plan.plain()) == plan
    own = make_plan(settings_of(data), folder, folder.cases, no_watch)
    assert own.spacing is None
    assert plan.patch == (16, 24, 24)
    given = make_plan(settings_of(data, spacing=[2, 1, 1]), folder, folder.cases, no_watch)
    assert given.spacing == (2, 1, 1) and given.anisotropy == 2


def test_prepared_volumes_are_normalised_on_one_orientation(data):
    folder = read_folder(data)
    settings = settings_of(data)
    plan = make_plan(settings, folder, folder.cases, no_watch)
    done = prepare(folder.cases, plan, preprocessing(settings, plan), None, no_watch, "")
    for case in done:
        assert case.image.shape == case.label.shape
        assert float(case.image.mean()) == pytest.approx(0, abs=1e-5)
        assert float(case.image.std(correction=0)) == pytest.approx(1, abs=1e-4)
        # The bright structure is label 1, the dark one label 2: labels moved with the image.
        assert case.image[case.label == 1].min() > case.image[case.label == 2].max()
        assert case.spacing == pytest.approx((2.5, 1.2, 1.0))


def test_the_cache_gives_what_memory_gives_and_notices_a_changed_file(data, tmp_path):
    folder = read_folder(data)
    settings = settings_of(data, spacing=[2, 2, 2], intensity="window", window=[0, 200])
    plan = make_plan(settings, folder, folder.cases, no_watch)
    steps = preprocessing(settings, plan)
    kept = prepare(folder.cases, plan, steps, None, no_watch, "")
    for _ in range(2):
        cached = prepare(folder.cases, plan, steps, tmp_path / "cache", no_watch, "")
        for one, other in zip(kept, cached, strict=True):
            assert torch.equal(one.image, other.image) and torch.equal(one.label, other.label)
            assert one.spacing == other.spacing
    files = sorted((tmp_path / "cache").iterdir())
    assert len(files) == 9
    folder.cases[0].images[0].touch()
    prepare(folder.cases, plan, steps, tmp_path / "cache", no_watch, "")
    assert len(list((tmp_path / "cache").iterdir())) == 12
    assert np.load(files[0], mmap_mode="r").ndim == 4


def test_a_case_without_labels_is_named(data):
    folder = read_folder(data)
    settings = settings_of(data)
    plan = make_plan(settings, folder, folder.cases, no_watch)
    bare = dataclasses.replace(folder.cases[0], label=None)
    with pytest.raises(InputError, match="'phantom_000' has no label map"):
        prepare([bare], plan, preprocessing(settings, plan), None, no_watch, "")


@pytest.mark.parametrize(
    ("size", "patch"),
    [
        ((36, 50, 35), (40, 56, 40)),
        ((3, 700, 90), (8, 128, 96)),
        ((40, 40.5, 1e4), (40, 48, 128)),
    ],
)
def test_a_patch_from_the_size_of_the_scans(size, patch):
    assert usual_patch(size) == patch


def test_a_patch_that_whole_strides_divide():
    assert usual_patch((36, 50, 35), 32) == (40, 64, 64)


def test_a_told_patch_is_kept(data):
    folder = read_folder(data)
    settings = settings_of(data, patch=[5, 6, 7])
    assert make_plan(settings, folder, folder.cases, no_watch).patch == (5, 6, 7)


def test_a_folder_without_a_plan_is_no_run(tmp_path):
    with pytest.raises(InputError, match="not a run folder"):
        read_plan(tmp_path / "plan.json", plan_from)
    (tmp_path / "plan.json").write_text('{"labels": 3}')
    with pytest.raises(InputError, match="not a plan"):
        read_plan(tmp_path / "plan.json", plan_from)
