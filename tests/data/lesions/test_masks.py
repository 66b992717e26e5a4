import json

import numpy as np
import pytest
import torch
from PIL import Image

from thirdaxis.data.lesions import masks as lesion_masks
from thirdaxis.data.lesions.key_slice import KeySlice, LesionSet
from thirdaxis.data.lesions.masks import masks_of
from thirdaxis.data.lesions.picture import BOX, OUTLINE, SIDE, picture_of_masks
from thirdaxis.data.lesions.rle import decoded
from thirdaxis.errors import InputError

SIZE = (48, 64)
PLACES = [(20, 20), (40, 24), (30, 30)]


def disc(x, y):
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    return (columns - x) ** 2 + (rows - y) ** 2 <= 36


def lesion_set(count=3, recists=True, masks=None):
    """A bright disc of 6 pixels a slice; the last slice has two lesions' boxes."""
    pytest.importorskip("cv2")

    def one(number):
        x, y = PLACES[number % 3]
        box = [x - 11.0, y - 11, x + 11, y + 11]
        ends = [x - 6.0, y, x + 6, y, x, y - 6, x, y + 6]
        copies = 2 if number == count - 1 else 1
        return KeySlice(
            f"s/{number:03d}",
            "s",
            torch.tensor([box] * copies),
            SIZE,
            (1.0, 1.0, 1.0),
            torch.tensor([ends] * copies) if recists else None,
        )

    def read(key, depth, interval):
        assert depth == 1
        x, y = PLACES[int(key.name[-3:]) % 3]
        noise = np.random.default_rng(0).normal(0, 20, SIZE)
        return (600 * disc(x, y) + noise)[None].astype(np.float32)

    return LesionSet(tuple(one(number) for number in range(count)), read, "made", masks)


def test_each_lesion_gets_its_outline():
    found = masks_of(lesion_set())
    assert [len(found[f"s/{number:03d}"]) for number in range(3)] == [1, 1, 2]
    for number, place in enumerate(PLACES):
        mask = decoded(found[f"s/{number:03d}"][0])
        assert (mask != disc(*place)).sum() < 10


def test_outlines_are_made_once(tmp_path, monkeypatch):
    path = tmp_path / "masks.json"
    first = masks_of(lesion_set(2), path)
    written = path.read_bytes()
    seen = []
    more = masks_of(lesion_set(3), path, watch=lambda todo: seen.append(list(todo)) or todo)
    # The second slice has one lesion now and had two.
    assert [one.name for one in seen[0]] == ["s/001", "s/002"]
    assert more["s/000"] == first["s/000"] and path.read_bytes() != written
    monkeypatch.setattr(lesion_masks, "grabcut", None)
    assert masks_of(lesion_set(3), path) == more
    assert [place.name for place in tmp_path.iterdir()] == ["masks.json"]


@pytest.mark.parametrize("change", [{"window": (-160.0, 240.0)}, {"iterations": 1}])
def test_another_way_of_making_them_makes_them_anew(change, tmp_path):
    path = tmp_path / "masks.json"
    masks_of(lesion_set(2), path)
    seen = []
    masks_of(lesion_set(2), path, **change, watch=lambda todo: seen.extend(todo) or todo)
    assert len(seen) == 2


def test_a_stopped_run_keeps_what_it_had(tmp_path, monkeypatch):
    monkeypatch.setattr(lesion_masks, "BATCH", 1)
    monkeypatch.setattr(lesion_masks, "SECONDS_BETWEEN_WRITES", -1)

    def stopped(todo):
        yield todo[0]
        raise KeyboardInterrupt

    path = tmp_path / "masks.json"
    with pytest.raises(KeyboardInterrupt):
        masks_of(lesion_set(3), path, watch=stopped)
    assert list(json.loads(path.read_text(encoding="utf-8"))["slices"]) == ["s/000"]


def test_drawn_outlines_are_taken_as_they_are():
    drawn = np.zeros((1, *SIZE), bool)
    drawn[0, 3:5, 7] = True
    found = masks_of(lesion_set(3, masks=lambda one: np.repeat(drawn, len(one.boxes), axis=0)))
    np.testing.assert_array_equal(decoded(found["s/002"][1]), drawn[0])


def test_threads_give_the_same():
    assert masks_of(lesion_set(3), workers=3) == masks_of(lesion_set(3))


@pytest.mark.parametrize("content", ["{", "[]", '{"format": "thirdaxis-detections"}'])
def test_another_file_is_not_overwritten(content, tmp_path):
    path = tmp_path / "masks.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match="remove it"):
        masks_of(lesion_set(1), path)
    assert path.read_text(encoding="utf-8") == content


def test_the_picture_shows_boxes_and_outlines(tmp_path):
    lesions = lesion_set(3)
    assert picture_of_masks(tmp_path / "a.png", lesions, masks_of(lesions)) == 4
    picture = np.asarray(Image.open(tmp_path / "a.png"))
    assert picture.shape == (SIDE, 4 * SIDE, 3)
    # Tiles reach over twice the box of 22 pixels; the disc lies in their middle.
    line = picture[SIDE // 2, :SIDE].astype(int)
    blue = np.flatnonzero((line == BOX).all(axis=1))
    red = np.flatnonzero((line == OUTLINE).all(axis=1))
    scale = SIDE / 44
    np.testing.assert_allclose([blue.min(), blue.max()], [11 * scale, 33 * scale], atol=2)
    np.testing.assert_allclose([red.min(), red.max()], [16 * scale, 28 * scale], atol=7)
    assert picture_of_masks(tmp_path / "b.png", lesions, masks_of(lesions), count=2) == 2
