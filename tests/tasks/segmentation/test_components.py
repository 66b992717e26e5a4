import itertools

import numpy as np
import pytest
import torch

from thirdaxis.tasks.segmentation.components import keep_largest


def flooded(labels: np.ndarray, value: int) -> list[set[tuple[int, ...]]]:
    """The components of a label, voxel by voxel; corners connect."""
    left = {tuple(int(n) for n in place) for place in np.argwhere(labels == value)}
    parts = []
    while left:
        part, edge = set(), {min(left)}
        while edge:
            part |= edge
            left -= edge
            near = {
                tuple(n + s for n, s in zip(place, step, strict=True))
                for place in edge
                for step in itertools.product((-1, 0, 1), repeat=3)
            }
            edge = near & left
        parts.append(part)
    return parts


@pytest.mark.parametrize("seed", range(4))
def test_against_a_flood_voxel_by_voxel(seed):
    labels = np.random.default_rng(seed).choice(4, (7, 6, 8), p=[0.82, 0.08, 0.07, 0.03])
    found = keep_largest(torch.from_numpy(labels.copy()), (1, 3, 9)).numpy()
    for value in (1, 3):
        parts = flooded(labels, value)
        kept = {tuple(int(n) for n in place) for place in np.argwhere(found == value)}
        assert kept in parts and len(kept) == max(map(len, parts))
    assert len(flooded(labels, 1)) > 1
    np.testing.assert_array_equal(found == 2, labels == 2)
    np.testing.assert_array_equal(found[labels == 0], 0)


def test_nothing_stays_nothing():
    assert keep_largest(torch.zeros(3, 3, 3, dtype=torch.int16), (1, 2)).sum() == 0
