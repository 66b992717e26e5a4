import pytest
import torch

from thirdaxis.errors import InputError
from thirdaxis.tasks.classification.evaluate import score_answers
from thirdaxis.tasks.classification.pictures import draw_calibration, draw_grades, draw_roc
from thirdaxis.tasks.classification.table import Answers, read_answers

SAMPLES, PATIENTS = ("a", "b", "c, d", "e"), ("1", "1", "2", "3")
CLASSES = torch.tensor([[6, 1, 1], [1, 6, 1], [2, 1, 5], [3, 2, 3]]) / 8
KINDS = {
    "classes": (("x", "y", "z"), CLASSES, torch.tensor([0, 1, 2, 1])),
    "labels": (("x", "y"), CLASSES[:, :2], torch.tensor([[1, 0], [0, 1], [0, 0], [1, 1]])),
    "grade": (("grade",), 3 * CLASSES[:, 0], torch.tensor([2.0, 0.5, 1.0, 1.5])),
}


def make(kind: str, truth: bool = True) -> Answers:
    names, answers, known = KINDS[kind]
    return Answers(kind, names, SAMPLES, PATIENTS, answers, known if truth else None)


@pytest.mark.parametrize("truth", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_answers_survive_their_table(kind, truth, tmp_path):
    told = make(kind, truth)
    (tmp_path / "p.csv").write_text(told.text(), encoding="utf-8")
    found = read_answers(tmp_path / "p.csv")
    assert (found.kind, found.names) == (kind, told.names)
    assert (found.samples, found.patients) == (SAMPLES, PATIENTS)
    assert torch.equal(found.answers, told.answers)
    assert (found.truth is None) != truth
    if truth:
        assert found.truth.tolist() == told.truth.tolist()


def test_the_decision_is_the_likeliest_class():
    lines = make("classes").text().splitlines()
    assert lines[0] == "sample,patient,truth,decided,probability x,probability y,probability z"
    assert lines[3] == '"c, d",2,z,z,0.25,0.125,0.625'


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("sample,", "name,", "not a table of predictions"),
        ("0.75", "much", "could not convert"),
        ("0.75", "nan", "not finite"),
        ("1,x,x", "1,w,x", "the truth 'w' is none of x, y, z"),
    ],
)
def test_another_table_is_refused(tmp_path, old, new, message):
    text = make("classes").text()
    assert old in text
    (tmp_path / "p.csv").write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_answers(tmp_path / "p.csv")


def test_no_table_and_no_truth_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_answers(tmp_path / "none.csv")
    with pytest.raises(InputError, match="no truth"):
        score_answers(make("classes", truth=False), 10)


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_strict_json_and_pictures_are_drawn(kind, tmp_path):
    scores = score_answers(make(kind), draws=10)
    assert scores.by_patient and "nan" not in repr(scores.plain())
    draws = [draw_grades] if kind == "grade" else [draw_roc, draw_calibration]
    for draw in draws:
        draw(scores, tmp_path / f"{draw.__name__}.png")
        assert (tmp_path / f"{draw.__name__}.png").read_bytes().startswith(b"\x89PNG")
