import json
import re

import numpy as np
import pytest

from thirdaxis.data.coco import check_categories, read_coco
from thirdaxis.errors import InputError


def instances():
    """Two pictures; ids of categories are neither in order nor without gaps, as in COCO."""
    return {
        "images": [
            {"id": 7, "file_name": "b.jpg", "width": 40, "height": 30},
            {"id": 3, "file_name": "deep/a.jpg", "width": 20, "height": 10},
        ],
        "annotations": [
            {"id": 1, "image_id": 3, "category_id": 90, "bbox": [2, 1, 5, 6], "iscrowd": 0},
            {"id": 2, "image_id": 7, "category_id": 18, "bbox": [30, 20.5, 20, 5]},
            {"id": 3, "image_id": 7, "category_id": 90, "bbox": [0, 0, 40, 30], "iscrowd": 1},
        ],
        "categories": [{"id": 90, "name": "toothbrush"}, {"id": 18, "name": "dog"}],
    }


@pytest.fixture
def written(tmp_path):
    """Writes annotations, spoilt or not, beside two empty files that stand for pictures."""
    (tmp_path / "pictures" / "deep").mkdir(parents=True)
    for name in ("b.jpg", "deep/a.jpg"):
        (tmp_path / "pictures" / name).touch()

    def write(spoil=lambda told: None):
        told = instances()
        text = spoil(told)
        file = tmp_path / "instances.json"
        file.write_text(text if isinstance(text, str) else json.dumps(told), encoding="utf-8")
        return file, tmp_path / "pictures"

    return write


def test_boxes_are_sides_and_labels_count_from_one_in_the_order_of_ids(written):
    found = read_coco(*written())
    assert found.categories == ((18, "dog"), (90, "toothbrush"))
    assert found.names == ("dog", "toothbrush")
    b, a = found.pictures
    assert (a.name, a.size, b.size) == ("deep/a.jpg", (10, 20), (30, 40))
    np.testing.assert_array_equal(a.boxes, [[2, 1, 7, 7]])
    np.testing.assert_array_equal(a.labels, [2])
    # The first box of b reaches over its right edge and is cut there.
    np.testing.assert_array_equal(b.boxes, [[30, 20.5, 40, 25.5], [0, 0, 40, 30]])
    np.testing.assert_array_equal(b.labels, [1, 2])
    np.testing.assert_array_equal(b.crowds, [False, True])
    assert found.clipped == 1 and found.faults == ()
    assert b.single().labels.tolist() == [1] and len(b.single().boxes) == 1


def bbox(*values):
    def spoil(told):
        told["annotations"][0]["bbox"] = list(values)

    return spoil


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (bbox(2, 1, 0, 6), r"annotations\[0\]: the box is 0 x 6 pixels large, on 'deep/a.jpg'"),
        (bbox(2, 1, -5, 6), "the box is -5 x 6 pixels large"),
        (bbox(25, 1, 5, 6), r"lies outside 'deep/a.jpg' of 20 x 10 pixels"),
        (bbox(1, 12, 5, 6), r"lies outside 'deep/a.jpg' of 20 x 10 pixels"),
        (bbox(-9, 1, 9.5, 6), "lies outside"),
        (bbox(2, 1, 5), "expected x, y, width, height"),
        (bbox(2, 1, 5, float("nan")), "expected x, y, width, height"),
        (bbox(2, "left", 5, 5), "expected x, y, width, height"),
        (lambda told: told["annotations"][0].pop("bbox"), "bbox is None"),
        (lambda told: told["annotations"][0].update(image_id=4), "no image has the id 4"),
        (lambda told: told["annotations"][0].update(image_id=[3]), "no image has the id"),
        (lambda told: told["annotations"][0].update(category_id=1), "no category has the id 1"),
        (lambda told: told["images"][0].update(file_name="c.jpg"), "c.jpg: no such picture"),
    ],
)
def test_what_cannot_be_used_is_left_out_and_told_up_to_a_limit(written, spoil, said):
    told = written(spoil)
    found = read_coco(*told, limit=0.5)
    boxes = sum(len(picture.boxes) for picture in found.pictures)
    assert len(found.faults) == 1 and boxes < 3
    assert re.search(said, found.faults[0]) and "\n" not in found.faults[0]
    with pytest.raises(InputError, match=r"1 of [23] cannot be used.*" + said):
        read_coco(*told, limit=0.1)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda told: '{"images": [', "not readable as JSON"),
        (lambda told: "[" * 100_000, "not readable as JSON"),
        (lambda told: "[]", "has no list 'images'; expected COCO's instances"),
        (lambda told: told.pop("annotations") and None, "has no list 'annotations'"),
        (lambda told: told.update(categories=[]), "has no categories"),
        (lambda told: told.update(images=[]), "has no pictures"),
        (lambda told: told.update(images=["b.jpg"]), r"images\[0\] is no table, got 'b.jpg'"),
        (lambda told: told["images"][0].pop("width") and None, "width is None, expected a whole"),
        (lambda told: told["images"][0].update(height=0), "is 40 x 0 pixels large"),
        (lambda told: told["images"][1].update(id=7), "a second picture has the id 7"),
        (lambda told: told["images"][1].update(file_name="b.jpg"), "second picture.*'b.jpg'"),
        (lambda told: told["images"][1].update(file_name="../b.jpg"), "leaves the folder"),
        (lambda told: told["images"][1].update(file_name="/etc/passwd"), "leaves the folder"),
        (lambda told: told["categories"][0].update(id=18), "a second category has the id 18"),
        (lambda told: told["categories"][0].update(id="18"), "id is '18', expected a whole"),
    ],
)
def test_another_form_is_refused_whatever_the_limit(written, spoil, said):
    with pytest.raises(InputError, match=said) as fault:
        read_coco(*written(spoil), limit=1)
    assert "\n" not in str(fault.value)


def test_absent_files_and_folders_are_told(written, tmp_path):
    file, folder = written()
    with pytest.raises(InputError, match="none.json: no such file of annotations"):
        read_coco(tmp_path / "none.json", folder)
    with pytest.raises(InputError, match="nowhere: no such folder of pictures"):
        read_coco(file, tmp_path / "nowhere")


def test_sets_need_the_same_categories(written):
    one = read_coco(*written())
    check_categories(one, read_coco(*written()))
    for spoil, said in (
        (lambda told: told["categories"][0].update(id=89), "category 89 'toothbrush' where"),
        (lambda told: told["categories"].append({"id": 95, "name": "x"}), "has 3 categories"),
    ):
        with pytest.raises(InputError, match=said):
            check_categories(one, read_coco(*written(spoil), limit=1))
