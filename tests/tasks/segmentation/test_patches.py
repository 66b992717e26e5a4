import numpy as np
import pytest
import torch

from thirdaxis.tasks.segmentation.patches import (
    MOST_CENTRES,
    PatchDataset,
    augmentation,
    light_augmentation,
    pad_to,
    random_centres,
)
from thirdaxis.tasks.segmentation.prepare import Prepared

PATCH = (6, 8, 10)


def coded_case(number: int, shape: tuple[int, int, int] = (9, 12, 14)) -> Prepared:
    """Each voxel's intensity tells its case and its flat index; a box in the middle is labelled."""
    voxels = int(np.prod(shape))
    image = torch.arange(voxels, dtype=torch.float32).reshape(1, *shape) + 10_000 * (number + 1)
    label = torch.zeros(1, *shape, dtype=torch.int16)
    label[:, 3:6, 4:8, 5:9] = 1
    return Prepared(f"case{number}", image, label, (1.0, 1.0, 1.0))


def dataset(cases: int = 5, augment: bool = False, seed: int = 3) -> PatchDataset:
    extra = light_augmentation(1.0) if augment else []
    return PatchDataset([coded_case(n) for n in range(cases)], PATCH, 0.5, extra, seed)


def test_a_patch_is_a_box_of_one_volume_with_its_own_labels():
    data = dataset()
    for item in range(20):
        patch = data[item]
        assert patch["image"].shape == patch["label"].shape == (1, *PATCH)
        assert patch["image"].dtype == torch.float32 and patch["label"].dtype == torch.int64
        codes = patch["image"].long()
        number = int(codes[0, 0, 0, 0]) // 10_000 - 1
        assert number == data.volume_of(item)
        flat = codes - 10_000 * (number + 1)
        d, h, w = np.unravel_index(int(flat[0, 0, 0, 0]), (9, 12, 14))
        whole = coded_case(number)
        box = (slice(None), slice(d, d + 6), slice(h, h + 8), slice(w, w + 10))
        assert torch.equal(whole.image[box].long(), codes)
        assert torch.equal(whole.label[box].long(), patch["label"])


@pytest.mark.parametrize("augment", [False, True])
def test_an_item_is_the_same_in_any_order_and_whatever_the_global_generators_did(augment):
    forward, backward = dataset(augment=augment), dataset(augment=augment)
    ahead = [forward[item] for item in range(8)]
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002
    behind = [backward[item] for item in reversed(range(8))][::-1]
    for one, other in zip(ahead, behind, strict=True):
        assert torch.equal(one["image"], other["image"])
        assert torch.equal(one["label"], other["label"])
    assert not torch.equal(dataset(augment=augment, seed=4)[0]["image"], ahead[0]["image"])


def test_augmentation_changes_patches_and_keeps_labels_whole():
    plain, changed = dataset(), dataset(augment=True)
    different = [not torch.equal(plain[i]["image"], changed[i]["image"]) for i in range(10)]
    assert sum(different) >= 8
    for item in range(10):
        assert set(changed[item]["label"].unique().tolist()) <= {0, 1}


def test_every_pass_visits_every_volume_once_in_its_own_order():
    data = dataset()
    passes = [[data.volume_of(5 * turn + i) for i in range(5)] for turn in range(6)]
    assert all(sorted(one) == [0, 1, 2, 3, 4] for one in passes)
    assert len({tuple(one) for one in passes}) > 1


def test_small_volumes_are_padded_on_both_sides():
    padded = pad_to(torch.ones(2, 3, 8, 5), (6, 4, 6))
    assert padded.shape == (2, 6, 8, 6)
    assert torch.equal(padded[:, 1:4, :, :5], torch.ones(2, 3, 8, 5))
    assert padded.sum() == 2 * 3 * 8 * 5
    assert PatchDataset([coded_case(0, (4, 5, 9))], PATCH, 0.5, [], 0)[0]["image"].shape == (
        1,
        *PATCH,
    )


def test_centres_are_of_their_kind_and_few():
    label = coded_case(0).label
    inside, outside = random_centres(label, 1)
    assert len(inside) == 3 * 4 * 4 and (label.reshape(-1)[inside] == 1).all()
    assert 0 < len(outside) <= MOST_CENTRES and (label.reshape(-1)[outside] == 0).all()
    empty = torch.zeros_like(label)
    assert torch.equal(*random_centres(empty, 1))
    full = torch.ones(1, 30, 30, 30)
    inside, outside = random_centres(full, 1)
    assert len(inside) == MOST_CENTRES and torch.equal(inside, outside)


def test_quarter_turns_reach_every_way_round_and_take_the_labels_along():
    cube = (4, 4, 4)
    cases = [coded_case(0, cube)]
    data = PatchDataset(cases, cube, 0.5, augmentation("lidc", 1.0), seed=0)
    seen = set()
    for item in range(400):
        patch = data[item]
        assert torch.equal(patch["image"].sort().values.sum(), cases[0].image.sum())
        codes = patch["image"].long() - 10_000
        flat = cases[0].label.reshape(-1)
        assert torch.equal(flat[codes.reshape(-1)].long(), patch["label"].reshape(-1))
        seen.add(tuple(codes[0, :2, :2, :2].reshape(-1).tolist()))
    assert len(seen) == 48  # all rotations and reflections of a cube


def test_a_run_names_its_augmentation():
    assert augmentation("none", 1.0) == []
    assert [type(one) for one in augmentation("light", 1.0)] == [
        type(one) for one in light_augmentation(1.0)
    ]
