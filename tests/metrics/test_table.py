import io
import json
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from thirdaxis.metrics.table import Row, csv_text, json_text, summary

NAN, INF = math.nan, math.inf
LABELS = {1: "left, upper", 2: "right"}
ROWS = [
    Row("a", {1: 0.8, 2: NAN}, {1: 2.0, 2: NAN}, {1: (14.0, 10.0), 2: (0.0, 0.0)}),
    Row("b", {1: 0.5, 2: 0.0}, {1: 4.0, 2: INF}, {1: (0.0, 3.0), 2: (2.0, 0.0)}),
    Row("c", {1: 0.2, 2: 1.0}, {1: 12.0, 2: 0.0}, {1: (12.0, 10.0), 2: (5.0, 5.0)}),
]
GLOBAL = {1: 0.6, 2: 0.7}


def close(found, expected):
    """Whether the summary says this, whatever else it says."""
    return {key: found[key] for key in expected} == pytest.approx(expected, nan_ok=True)


def test_a_summary_is_written_out():
    found = summary(ROWS, LABELS, GLOBAL)
    assert close(
        found["left, upper"],
        {
            "dice_mean": 0.5,
            "dice_sd": 0.3,
            "dice_median": 0.5,
            "dice_global": 0.6,
            "absent": 0,
            "hd95_mm_mean": 6.0,
            "hd95_mm_median": 4.0,
            "hd95_infinite": 0,
            "volume_difference_ml_mean": 1.0,
            "volume_error_ml_mean": 3.0,
            "volume_error_ml_sd": math.sqrt(((4 - 3) ** 2 + (3 - 3) ** 2 + (2 - 3) ** 2) / 2),
            "volume_error_percent_mean": (40 + 100 + 20) / 3,
        },
    )
    assert close(
        found["right"],
        {
            "dice_mean": 0.5,
            "dice_median": 0.5,
            "dice_global": 0.7,
            "absent": 1,
            "hd95_mm_mean": 0.0,
            "hd95_mm_median": 0.0,
            "hd95_infinite": 1,
            # An infinite share of nothing is left out.
            "volume_error_percent_mean": 0.0,
        },
    )
    assert close(
        found["mean"],
        {"dice_mean": 0.5, "dice_global": 0.65, "hd95_mm_mean": 3.0, "hd95_infinite": 1},
    )


def test_intervals_are_those_of_scipy_up_to_the_draws():
    random = np.random.default_rng(1)
    values = random.uniform(size=30)
    rows = [Row(str(n), {1: value, 2: 1.0}) for n, value in enumerate(values)]
    found = summary(rows, LABELS, GLOBAL)
    expected = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=20000
    ).confidence_interval
    assert found["left, upper"]["dice_low"] == pytest.approx(expected.low, abs=0.015)
    assert found["left, upper"]["dice_high"] == pytest.approx(expected.high, abs=0.015)
    assert found["right"]["dice_low"] == found["right"]["dice_high"] == 1.0
    half = (expected.high - expected.low) / 2  # the second class does not vary
    mean = found["mean"]
    assert mean["dice_high"] - mean["dice_low"] == pytest.approx(half, abs=0.015)


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
        "volume_ml left, upper",
        "volume_ml right",
        "true_volume_ml left, upper",
        "true_volume_ml right",
        "volume_difference_ml left, upper",
        "volume_difference_ml right",
        "volume_difference_percent left, upper",
        "volume_difference_percent right",
    ]
    assert list(frame["volume_difference_percent left, upper"]) == [40, -100, 20]
    assert frame["volume_difference_percent right"][1] == INF


def test_json_is_strict_and_holds_every_number():
    def forbidden(name):
        raise AssertionError(f"{name} is not JSON")

    text = json_text(ROWS, LABELS, GLOBAL)
    content = json.loads(text, parse_constant=forbidden)
    assert content["cases"][0]["dice"] == {"left, upper": 0.8, "right": None}
    assert content["cases"][1]["hd95_mm"]["right"] == "inf"
    assert content["summary"]["right"]["hd95_infinite"] == 1
    assert content["summary"]["mean"]["dice_mean"] == pytest.approx(0.5)
    assert content["cases"][2]["volume_ml"] == {"left, upper": 12.0, "right": 5.0}
    more = json.loads(json_text(ROWS, LABELS, GLOBAL, {"told": {"p": NAN}}))
    assert more["told"] == {"p": None}


def test_no_cases_make_an_empty_table():
    content = json.loads(json_text([], LABELS, {1: NAN, 2: NAN}))
    assert content["cases"] == []
    assert content["summary"]["mean"]["dice_mean"] is None
    assert csv_text([], LABELS).count("\n") == 1
