import io
import json
import math

import pandas as pd
import pytest

from thirdaxis.metrics.table import Row, csv_text, json_text, summary

NAN, INF = math.nan, math.inf
LABELS = {1: "left, upper", 2: "right"}
ROWS = [
    Row("a", {1: 0.8, 2: NAN}, {1: 2.0, 2: NAN}),
    Row("b", {1: 0.5, 2: 0.0}, {1: 4.0, 2: INF}),
    Row("c", {1: 0.2, 2: 1.0}, {1: 12.0, 2: 0.0}),
]
GLOBAL = {1: 0.6, 2: 0.7}


def test_a_summary_is_written_out():
    found = summary(ROWS, LABELS, GLOBAL)
    assert found["left, upper"] == pytest.approx(
        {
            "dice_mean": 0.5,
            "dice_median": 0.5,
            "dice_global": 0.6,
            "absent": 0,
            "hd95_mm_mean": 6.0,
            "hd95_mm_median": 4.0,
            "hd95_infinite": 0,
        }
    )
    assert found["right"] == pytest.approx(
        {
            "dice_mean": 0.5,
            "dice_median": 0.5,
            "dice_global": 0.7,
            "absent": 1,
            "hd95_mm_mean": 0.0,
            "hd95_mm_median": 0.0,
            "hd95_infinite": 1,
        }
    )
    assert found["mean"] == pytest.approx(
        {"dice_mean": 0.5, "dice_global": 0.65, "hd95_mm_mean": 3.0, "hd95_infinite": 1}
    )


def test_the_mean_of_a_row_leaves_absent_classes_out():
    assert [row.mean_dice for row in ROWS] == pytest.approx([0.8, 0.25, 0.6])
    assert math.isnan(Row("d", {1: NAN}).mean_dice)


def test_csv_is_read_back_by_pandas():
    frame = pd.read_csv(io.StringIO(csv_text(ROWS, LABELS)))
    assert list(frame["case"]) == ["a", "b", "c"]
    assert list(frame["dice left, upper"]) == [0.8, 0.5, 0.2]
    assert list(frame["dice right"].fillna(-1)) == [-1, 0, 1]
    assert frame["hd95_mm right"][1] == INF
    assert list(frame.columns) == [
        "case",
        "mean_dice",
        "dice left, upper",
        "dice right",
        "hd95_mm left, upper",
        "hd95_mm right",
    ]


def test_json_is_strict_and_holds_every_number():
    def forbidden(name):
        raise AssertionError(f"{name} is not JSON")

    text = json_text(ROWS, LABELS, GLOBAL)
    content = json.loads(text, parse_constant=forbidden)
    assert content["cases"][0]["dice"] == {"left, upper": 0.8, "right": None}
    assert content["cases"][1]["hd95_mm"]["right"] == "inf"
    assert content["summary"]["right"]["hd95_infinite"] == 1
    assert content["summary"]["mean"]["dice_mean"] == pytest.approx(0.5)


def test_no_cases_make_an_empty_table():
    content = json.loads(json_text([], LABELS, {1: NAN, 2: NAN}))
    assert content["cases"] == []
    assert content["summary"]["mean"]["dice_mean"] is None
    assert csv_text([], LABELS).count("\n") == 1
