"""Patches: what they show, how many hold a lesion, and where its peak is."""

import numpy as np
import pytest
import torch

from thirdaxis.errors import InputError
from thirdaxis.tasks.locating.patches import HeatPatches
from thirdaxis.tasks.locating.prepare import Seen
from thirdaxis.tasks.settings_files import make_settings

SIZE = (6, 8, 10)


def settings(**told):
    return make_settings(
        {"task": "locate", "data": "d", "boxes": "b.csv", "patch": SIZE, "augment": "none", **told},
        "test",
    )


def numbered(shape, boxes, name="a"):
    """A volume in which every voxel's value tells its place."""
    image = torch.arange(float(np.prod(shape))).reshape(1, *shape)
    return Seen(name, image, np.reshape(boxes, (-1, 6)).astype(float), (2.5, 1.0, 1.0))


VOLUMES = [
    numbered((14, 16, 18), [[3.5, 2.5, 9.5, 6.5, 5.5, 12.5], [9.5, 9.5, 3.5, 12.5, 12.5, 6.5]]),
    numbered((20, 16, 18), [], "b"),
    numbered((1, 16, 18), [[-0.5, 6.5, 6.5, 0.5, 9.5, 9.5]], "c"),
]


def test_a_patch_shows_its_place_and_the_peak_lies_on_the_lesion():
    patches = HeatPatches(VOLUMES, settings(positive=1.0))
    for item in range(12):
        number, corner, positive = patches.place(item)
        assert positive
        patch, volume = patches[item], VOLUMES[number]
        assert patch["image"].shape == patch["heat"].shape == (1, *SIZE)
        assert patch["thickness"] == 2.5
        for d, h, w in ((0, 0, 0), (5, 7, 9), (2, 4, 3)):
            place = (corner[0] + d, corner[1] + h, corner[2] + w)
            outside = any(
                not 0 <= p < n for p, n in zip(place, volume.image.shape[1:], strict=True)
            )
            assert patch["image"][0, d, h, w] == (0 if outside else volume.image[(0, *place)])
        centres = (volume.boxes[:, :3] + volume.boxes[:, 3:]) / 2
        for centre in centres:
            d, h, w = (int(place) for place in centre - corner)
            if 0 <= d < SIZE[0] and 0 <= h < SIZE[1] and 0 <= w < SIZE[2]:
                assert patch["heat"][0, d, h, w] == pytest.approx(1)
                assert patch["heat"].max() == pytest.approx(1, abs=0.01)


def test_so_many_patches_hold_a_lesion_as_asked_for_and_every_lesion_has_its_turn():
    patches = HeatPatches(VOLUMES, settings(positive=0.7))
    drawn = [patches.place(item) for item in range(600)]
    assert 0.65 < np.mean([positive for *_, positive in drawn]) < 0.75
    held = np.zeros(3)
    for number, corner, positive in drawn:
        if not positive:
            continue
        centres = (VOLUMES[number].boxes[:, :3] + VOLUMES[number].boxes[:, 3:]) / 2
        near = (centres > np.array(corner) - 2) & (centres < np.array(corner) + SIZE + 1)
        assert near.all(1).any()
        held[0 if number == 0 else 2] += 1
    assert 0.5 < held[0] / held.sum() < 0.8  # two of three lesions
    assert {number for number, _, positive in drawn if not positive} == {0, 1, 2}


def test_others_are_away_from_lesions_where_there_is_room():
    patches = HeatPatches(VOLUMES[:1], settings(positive=0.01))
    hits = 0
    for item in range(60):
        _, corner, positive = patches.place(item)
        centres = (VOLUMES[0].boxes[:, :3] + VOLUMES[0].boxes[:, 3:]) / 2 - corner
        hits += not positive and bool(((centres >= 0) & (centres < SIZE)).all(1).any())
    assert hits <= 3


def test_an_item_is_a_function_of_its_number_and_maps_move_with_the_image():
    patches = HeatPatches(VOLUMES, settings(augment="light", positive=1.0))
    again = HeatPatches(VOLUMES, settings(augment="light", positive=1.0))
    assert torch.equal(patches[5]["image"], patches[5]["image"])
    assert torch.equal(patches[7]["heat"], again[7]["heat"])
    told = settings(augment="flips", positive=1.0)
    plain = HeatPatches(VOLUMES, settings(positive=1.0))
    flipped = [
        item
        for item in range(20)
        if not torch.equal(plain[item]["image"], HeatPatches(VOLUMES, told)[item]["image"])
    ]
    assert 4 < len(flipped) < 16
    for item in flipped:
        one, other = plain[item], HeatPatches(VOLUMES, told)[item]
        assert torch.equal(one["image"].flip(-1), other["image"])
        assert torch.equal(one["heat"].flip(-1), other["heat"])


def test_nothing_to_learn_is_told():
    with pytest.raises(InputError, match="no lesion in any of the 1 training volumes"):
        HeatPatches(VOLUMES[1:2], settings())
