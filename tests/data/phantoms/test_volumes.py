"""Phantoms as volumes: the same series as in DeepLesion's layout, with boxes around the nodules."""

import csv

import numpy as np
import pytest

from thirdaxis.data.grid import to_grid
from thirdaxis.data.lesions.deeplesion import read_deeplesion
from thirdaxis.data.lesions.volumes import read_boxed_volumes
from thirdaxis.data.phantoms.sets import phantom_note, write_phantoms
from thirdaxis.data.volume import read_volume

SERIES = 6


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """One set in both forms."""
    root = tmp_path_factory.mktemp("both")
    counts = [
        write_phantoms(root / name, SERIES, size=64, seed=5, volumes=volumes)
        for name, volumes in (("slices", False), ("volumes", True))
    ]
    assert counts[0] == counts[1]
    return root


def test_one_seed_is_one_set_in_either_form(both):
    assert phantom_note(both / "volumes") == phantom_note(both / "slices")
    assert not (both / "volumes" / "Images_png").exists()
    lesions = read_deeplesion(both / "slices")
    volumes = {
        one.name: one
        for one in read_boxed_volumes(both / "volumes", both / "volumes" / "boxes.csv")
    }
    assert len(volumes) == SERIES
    for key in lesions.slices:
        volume = volumes[f"images/{key.name.partition('/')[0]}"]
        turned = to_grid(read_volume(volume.file)).array[0].numpy()
        middle = len(turned) // 2
        np.testing.assert_allclose(turned[middle], lesions.read(key, 1, None)[0])
        np.testing.assert_allclose(volume.grid.spacing, key.spacing, rtol=1e-6)
        assert (volume.patient, volume.split) == (str(int(key.patient)), key.split)
        flat = volume.boxes[:, [2, 1, 5, 4]]  # x1, y1, x2, y2
        np.testing.assert_allclose(flat, key.boxes.numpy(), atol=1e-3)


def test_a_box_reaches_as_far_through_the_slices_as_its_nodule(both):
    """Where nothing covers it, a nodule's core is bright inside its box and dark beyond it."""
    with (both / "volumes" / "boxes.csv").open(encoding="utf-8") as stream:
        covered = [row["covered"] == "1" for row in csv.DictReader(stream)]
    volumes = read_boxed_volumes(both / "volumes", both / "volumes" / "boxes.csv")
    flags = iter(covered)
    judged = 0
    for volume in volumes:
        turned = to_grid(read_volume(volume.file)).array[0].numpy()
        for box in volume.boxes:
            if next(flags) or volume.grid.spacing[0] > 2:
                continue
            d, h, w = ((box[:3] + box[3:]) / 2).round().astype(int)
            core = turned[:, h - 1 : h + 2, w - 1 : w + 2].mean(axis=(1, 2))
            first, last = int(np.ceil(box[0])), int(np.floor(box[3]))
            assert core[d] > core[[first - 3, last + 3]].max() + 200
            assert 4 <= box[3] - box[0] <= 9  # mm, with a margin
            judged += 1
    assert judged
