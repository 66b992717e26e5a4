import pytest

from thirdaxis.errors import InputError
from thirdaxis.tasks.pretraining.damage import Damage


def test_a_picture_counts_once_however_often_it_comes():
    damage = Damage(2)
    for _ in range(5):
        damage.note({"a.jpg": "cut short"}, ["grey.jpg"])
    damage.note({"b.jpg": "no picture"})
    assert damage.plain() == {
        "damaged": {"a.jpg": "cut short", "b.jpg": "no picture"},
        "converted": ["grey.jpg"],
    }


def test_one_more_than_allowed_stops_by_its_name():
    damage = Damage(1)
    damage.note({"a.jpg": "cut short"})
    with pytest.raises(InputError, match=r"b.jpg: a damaged picture \(empty\).* allows 1; replace"):
        damage.note({"b.jpg": "empty"})
    with pytest.raises(InputError, match="a.jpg: a damaged picture"):
        Damage(0).note({"a.jpg": "cut short"})


def test_a_resumed_run_goes_on_counting():
    before, after = Damage(1), Damage(1)
    before.note({"a.jpg": "cut short"}, ["grey.jpg"])
    after.take(before.plain())
    after.note({"a.jpg": "cut short"})
    with pytest.raises(InputError, match="b.jpg"):
        after.note({"b.jpg": "cut short"})
    assert before.plain()["damaged"] == {"a.jpg": "cut short"}
