import math

from thirdaxis.metrics.froc_images import OneImage
from thirdaxis.metrics.froc_paired import FrocDifference
from thirdaxis.tasks.froc.page import comparison, image_table, outcome
from thirdaxis.tasks.page import Link

ROWS = [OneImage("one", "p1", 3, 2, 1, 0.75), OneImage("two", "p2", 0, 0, 0, math.nan)]


def test_images_are_told_with_what_was_missed_and_lead_to_their_pictures():
    more = {"twice the lesions": lambda one: 2 * one.lesions}
    table = image_table(ROWS, {"one": "picture-7"}, "image", 0.25, 2.0, more)
    first, second = table.rows
    assert first == [Link("one", "#picture-7"), "p1", 3, 2, 1, 0.75, 6]
    assert second[:5] == ["two", "p2", 0, 0, 0] and math.isnan(second[5]) and second[6] == 0
    assert len(table.heads) == 7 and table.sortable
    assert "score of 0.25 on" in table.caption and "2 false positives an image" in table.caption
    assert "a volume" in image_table(ROWS, {}, "volume", 0.25, 2.0).caption
    assert outcome(ROWS[0]) == "one: 2 of 3 lesions missed, 1 false positives"


def test_what_has_nothing_to_compare_with_says_nothing():
    assert comparison(None, "these less those") == []
    text, table = comparison(FrocDifference(0.9, 0.7, 0.1, 0.3, 0.01, 12), "these less those")
    assert text.text == "these less those"
    (row,) = table.rows
    assert row[:2] == [0.9, 0.7] and math.isclose(row[2], 0.2) and row[3:] == [0.1, 0.3, 0.01, 12]
