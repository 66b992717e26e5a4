import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from thirdaxis.data.lesions.detections import Found, coco_names, read_detections, write_detections
from thirdaxis.errors import InputError

numbers = st.floats(0, 1000, width=32)
images = st.dictionaries(
    st.text(max_size=8),
    st.lists(st.tuples(numbers, numbers, numbers, numbers, st.floats(0, 1, width=32)), max_size=3),
    max_size=3,
)


def found_of(rows):
    boxes = torch.tensor([row[:4] for row in rows]).reshape(-1, 4)
    boxes = torch.cat([torch.minimum(boxes[:, :2], boxes[:, 2:]), boxes.max(1).values[:, None]], 1)
    boxes = torch.cat([boxes, boxes[:, 2:]], 1)
    return Found(boxes, torch.tensor([row[4] for row in rows]))


@given(images)
def test_what_is_written_is_read_exactly(tmp_path_factory, drawn):
    path = tmp_path_factory.mktemp("found") / "found.json"
    wanted = {name: found_of(rows) for name, rows in drawn.items()}
    write_detections(path, wanted)
    again = read_detections(path)
    assert [*again] == [*wanted]
    for name, one in again.items():
        assert one.boxes.dtype == one.scores.dtype == torch.float32
        assert torch.equal(one.boxes, wanted[name].boxes)
        assert torch.equal(one.scores, wanted[name].scores)


def test_the_file_has_the_documented_form(tmp_path):
    path = tmp_path / "found.json"
    boxes = torch.tensor([[1.5, 2, 3, 4.1]], dtype=torch.bfloat16).float()
    write_detections(path, {"a/1": (boxes, torch.tensor([0.1])), "a/2": found_of([])})
    assert json.loads(path.read_text(encoding="utf-8")) == {
        "format": "thirdaxis-detections",
        "version": 1,
        "images": {
            "a/1": {"boxes": [[1.5, 2.0, 3.0, 4.09375]], "scores": [0.1]},
            "a/2": {"boxes": [], "scores": []},
        },
    }
    assert [*tmp_path.iterdir()] == [path]


def test_coco_results_are_read_with_the_names_of_their_annotations(tmp_path):
    results = [
        {"image_id": 7, "category_id": 1, "bbox": [10, 20, 5, 6], "score": 0.5},
        {"image_id": 9, "category_id": 1, "bbox": [0, 0, 1, 1], "score": 0.25},
        {"image_id": 7, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.75},
    ]
    entries = [
        {"id": 7, "file_name": "000001_01_02_109.png"},
        {"id": 8, "file_name": "000001_01_02/044.png"},
        {"id": 9, "file_name": "scan.nii.gz"},
    ]
    (tmp_path / "results.json").write_text(json.dumps(results), encoding="utf-8")
    (tmp_path / "truth.json").write_text(json.dumps({"images": entries}), encoding="utf-8")
    names = coco_names(tmp_path / "truth.json")
    assert names == {7: "000001_01_02/109", 8: "000001_01_02/044", 9: "scan.nii"}
    found = read_detections(tmp_path / "results.json", names)
    assert [*found] == ["000001_01_02/109", "000001_01_02/044", "scan.nii"]
    first = found["000001_01_02/109"]
    assert first.boxes.tolist() == [[10, 20, 15, 26], [1, 2, 4, 6]]
    assert first.scores.tolist() == [0.5, 0.75]
    assert found["000001_01_02/044"].boxes.shape == (0, 4)
    assert [*read_detections(tmp_path / "results.json")] == ["7", "9"]


GOOD = {"format": "thirdaxis-detections", "version": 1}


def one(boxes, scores):
    return {**GOOD, "images": {"a": {"boxes": boxes, "scores": scores}}}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "not JSON"),
        ({"images": {}}, "neither detections of thirdaxis"),
        (3, "neither detections of thirdaxis"),
        ({**GOOD, "version": 2}, "version 2 of the format; this reads 1"),
        ({**GOOD, "images": []}, "'images' has to be an object"),
        ({**GOOD, "images": {"a": {"boxes": []}}}, "'a': needs 'boxes' and 'scores'"),
        (one([[1, 2, 3]], [0.5]), "'a': boxes are lists of four numbers"),
        (one([["x", 2, 3, 4]], [0.5]), "'a': boxes are lists of four numbers"),
        (one([[1, 2, 3, 4], [1]], [0.5, 0.5]), "'a': boxes are lists of four numbers"),
        (one([[1, 2, 3, 4]], [[0.5]]), "'a': boxes are lists of four numbers"),
        (one([[1, 2, 3, 4]], []), "'a': 0 scores for 1 boxes"),
        (one([[5, 2, 3, 4]], [0.5]), r"\[5.0, 2.0, 3.0, 4.0\] is not x1, y1, x2, y2"),
        (one([[1, 2, 3, float("nan")]], [0.5]), "not finite"),
        (one([[1, 2, 3, 4]], [float("inf")]), "not finite"),
        ([{"image_id": 1, "bbox": [1, 2, 3, 4]}], "entry 0: needs 'image_id', 'bbox' and 'score'"),
        ([{"image_id": 1, "bbox": [1, 2, 3], "score": 1}], "entry 0: 'bbox' is x, y, width"),
        ([{"image_id": [1], "bbox": [1, 2, 3, 4], "score": 1}], "entry 0: 'image_id' is a number"),
        ([{"image_id": 1, "bbox": [1, 2, -3, 4], "score": 1}], "'1': the box"),
        ([{"image_id": 1, "bbox": [1, 2, 3, 4], "score": "b"}], "'1': boxes are lists"),
    ],
)
def test_other_content_is_told_in_one_line(content, words, tmp_path):
    path = tmp_path / "found.json"
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=words) as fault:
        read_detections(path)
    assert str(fault.value).startswith(str(path)) and "\n" not in str(fault.value)


def test_files_and_images_that_are_not_there_are_told(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_detections(tmp_path / "none.json")
    path = tmp_path / "results.json"
    path.write_text('[{"image_id": 1, "bbox": [1, 2, 3, 4], "score": 1}]', encoding="utf-8")
    with pytest.raises(InputError, match="entry 0: the annotations have no image of the id 1"):
        read_detections(path, {2: "a"})
    for content, words in (("[]", "list 'images'"), ('{"images": [{"id": 1}]}', "without 'id' or")):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(InputError, match=words):
            coco_names(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="not JSON"):
        read_detections(path)
