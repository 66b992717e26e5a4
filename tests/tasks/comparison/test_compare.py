import json
import math

import numpy as np
import pytest
from scipy import stats

from thirdaxis.errors import InputError, UsageError
from thirdaxis.tasks.comparison.compare import better, compare

SCORES = {"scratch": [0.80, 0.82, 0.78], "acs": [0.88, 0.86, 0.90], "i3d": [0.87, 0.85, 0.77]}
FUSION = {"scratch": "slicewise", "acs": "acs", "i3d": "i3d"}


@pytest.fixture
def three(tmp_path, finished_run):
    """Three groups of three seeds; two share a fusion's name with nobody."""
    for name, values in SCORES.items():
        for seed, value in enumerate(values):
            told = {"task": "classify", "fusion": FUSION[name], "seed": seed, "cache": f"c{seed}"}
            told["fold"] = seed
            finished_run(tmp_path / f"{name}-{seed}", told, {"auc": value, "ece": 1 - value})
    return tmp_path


def test_groups_of_seeds_against_the_best_as_scipy_has_it(three):
    found = compare([three])
    assert (found.score, found.by, found.task, found.runs) == ("auc", ("fusion",), "classify", 9)
    rows = {row.group.label: row for row in found.rows}
    assert set(rows) == {"slicewise", "acs", "i3d"}
    assert rows["acs"].reference and rows["acs"].test is None
    for name, values in SCORES.items():
        row = rows[FUSION[name]]
        assert sorted(row.values) == sorted(values)
        assert row.mean == pytest.approx(np.mean(values))
        assert row.sd == pytest.approx(np.std(values, ddof=1))
        sem = stats.sem(values)
        assert row.interval == pytest.approx(stats.t.interval(0.95, 2, np.mean(values), sem))
        if name != "acs":
            assert row.against == "acs"
            assert row.test.p == pytest.approx(stats.ttest_ind(values, SCORES["acs"]).pvalue)
    welch = {row.group.label: row for row in compare([three], welch=True).rows}
    expected = stats.ttest_ind(SCORES["i3d"], SCORES["acs"], equal_var=False).pvalue
    assert welch["i3d"].test.p == pytest.approx(expected)
    assert welch["i3d"].test.freedom != rows["i3d"].test.freedom


def test_of_errors_the_least_is_the_best(three):
    rows = {row.group.label: row for row in compare([three], score="ece").rows}
    assert rows["acs"].reference
    assert better("Anterior.hd95_mm_mean", 1.0, 2.0) and not better("dice_mean", 0.1, 0.2)
    assert better("x.volume_difference_ml_mean", -0.1, 0.5) and better("froc", 0.4, 0.3)


def test_against_takes_a_part_of_a_label_that_only_one_group_has(three):
    rows = {row.group.label: row for row in compare([three], against="slice").rows}
    assert rows["slicewise"].reference and rows["acs"].against == "slicewise"
    assert rows["acs"].test.difference == pytest.approx(0.08)
    with pytest.raises(UsageError, match="'s' is in several groups: acs; slicewise"):
        compare([three], against="s")
    with pytest.raises(UsageError, match="no group 'i3'.*|no group 'ac3'; did you mean 'acs'"):
        compare([three], against="ac3")


def test_by_joins_what_else_differs_and_says_so(three, finished_run):
    told = {"task": "classify", "fusion": "acs", "seed": 9, "batch": 3}
    finished_run(three / "acs-more-9", told, {"auc": 0.5})
    assert compare([three]).by == ("fusion", "batch")
    found = compare([three], by=["fusion"])
    assert [len(row.values) for row in found.rows] == [4, 3, 3]
    assert "runs differ in other settings too: batch" in found.notes
    named = compare([three], by=["name"])
    assert [row.group.label for row in named.rows] == ["acs", "acs-more", "i3d", "scratch"]


def test_one_run_a_group_has_no_deviation_and_the_note_says_so(three):
    found = compare([three / "acs-0", three / "i3d-0"])
    assert all(math.isnan(row.sd) for row in found.rows)
    assert math.isnan(found.rows[1].test.p)
    assert found.notes[0].startswith("one run a group: no deviation and no test over runs")


def test_a_group_of_one_run_is_not_the_best_by_luck(three, finished_run):
    told = {"task": "classify", "fusion": "tsm", "seed": 0}
    finished_run(three / "lucky", told, {"auc": 0.99})
    rows = {row.group.label: row for row in compare([three]).rows}
    assert rows["acs"].reference and not rows["tsm"].reference


def test_runs_of_one_seed_and_fold_are_not_independent(three, finished_run):
    told = {"task": "classify", "fusion": "acs", "seed": 0, "fold": 0}
    finished_run(three / "twin", told, {"auc": 0.88})
    assert (
        "acs: several runs have seed 0, fold 0; they are not independent" in compare([three]).notes
    )


def test_scans_are_paired_by_their_means_over_the_runs_that_held_them_out(tmp_path, finished_run):
    random = np.random.default_rng(0)
    names = [f"case{number}" for number in range(12)]
    folds = [names[:5], names[5:10], [*names[10:], names[0]]]  # one case is held out twice
    dice = {}
    for fusion, gain in (("acs", 0.05), ("i3d", 0.0)):
        for fold, held_out in enumerate(folds):
            told = {"task": "segment", "fusion": fusion, "fold": fold}
            cases = {name: gain + float(random.uniform(0.5, 0.6)) for name in held_out}
            if fusion == "i3d":
                cases["case1"] = math.nan
            dice[fusion, fold] = cases
            mean = {"dice_mean": float(np.nanmean(list(cases.values())))}
            scores = {"liver": {"dice_mean": 0.1}, "mean": mean}
            finished_run(tmp_path / f"{fusion}-{fold}", told, scores, cases)
    found = compare([tmp_path], against="i3d")
    assert found.score == "dice_mean"
    row = next(row for row in found.rows if not row.reference)
    shared = [name for name in names if name != "case1"]
    means = [
        [
            np.mean([dice[one, fold][name] for fold in range(3) if name in dice[one, fold]])
            for name in shared
        ]
        for one in ("acs", "i3d")
    ]
    assert row.cases.cases == 11
    assert row.cases.mean == pytest.approx(np.mean(means[0]) - np.mean(means[1]))
    assert row.cases.p == pytest.approx(stats.wilcoxon(*means).pvalue)


def test_labels_have_their_own_scores_and_columns(tmp_path, finished_run):
    for fusion, shift in (("acs", 0.2), ("i3d", 0.0)):
        scores = {
            "liver": {"dice_mean": 0.5 + shift},
            "mean": {"dice_mean": 0.4, "hd95_mm_mean": 2},
        }
        run = finished_run(tmp_path / fusion, {"fusion": fusion}, scores)
        (run / "validation").mkdir()
        rows = [f"c{n},0.4,{0.1 * n + shift}" for n in range(5)]
        text = "\n".join(["case,mean_dice,dice liver", *rows])
        (run / "validation" / "scores.csv").write_text(text, encoding="utf-8")
    (row,) = (row for row in compare([tmp_path], score="liver.dice_mean").rows if row.cases)
    assert row.cases.mean == pytest.approx(-0.2) and row.cases.cases == 5
    assert not any(row.cases for row in compare([tmp_path], score="hd95_mm_mean").rows)


def answers(random, lift):
    """Forty samples of twenty patients; the higher `lift`, the better the classes come apart."""
    found = []
    for number in range(40):
        truth = number % 2
        p = 1 / (1 + math.exp(-(lift * (2 * truth - 1) + random.normal())))
        found.append((f"s{number}", f"p{number // 2}", truth, p))
    return found


def brute_auc(rows):
    wins = [
        (one[3] > other[3]) + 0.5 * (one[3] == other[3])
        for one in rows
        for other in rows
        if one[2] == 1 and other[2] == 0
    ]
    return float(np.mean(wins))


def test_classes_are_compared_by_drawing_patients(tmp_path, finished_run):
    random = np.random.default_rng(3)
    rows = {}
    for fusion, lift in (("acs", 2.0), ("i3d", 0.2), ("tsm", 0.2)):
        for seed in range(2):
            # Each seed holds out others; all are held out by one of the two.
            rows[fusion, seed] = answers(random, lift)[10 * seed : 30 + 10 * seed]
            told = {"task": "classify", "fusion": fusion, "seed": seed}
            score = {"auc": brute_auc(rows[fusion, seed]), "secret": 1.0}
            finished_run(tmp_path / f"{fusion}-{seed}", told, score, None, rows[fusion, seed])
    found = {row.group.label: row.cases for row in compare([tmp_path], against="i3d").rows}
    mean = {f: np.mean([brute_auc(rows[f, seed]) for seed in range(2)]) for f in ("acs", "i3d")}
    assert found["acs"].cases == 20
    assert found["acs"].mean == pytest.approx(mean["acs"] - mean["i3d"])
    assert found["acs"].low > 0 and found["acs"].p < 0.05
    assert found["tsm"].low < 0 < found["tsm"].high and found["tsm"].p > 0.05
    assert not any(row.cases for row in compare([tmp_path], score="secret").rows)


def test_images_of_detectors_are_paired_by_the_lesions_found(tmp_path, finished_run):
    for fusion, missed in (("acs", [0, 1, 0, 0]), ("tsm", [1, 2, 1, 0])):
        told = {"task": "detect", "fusion": fusion}
        run = finished_run(tmp_path / fusion, told, {"froc": 0.5, "sensitivity_1": 0.5})
        images = [
            {"name": f"i{n}", "lesions": lesions, "missed": missed[n]}
            for n, lesions in enumerate((1, 4, 2, 0))
        ]
        scores = {"threshold": {"false_alarms_an_image": 1.0}, "images": images}
        (run / "scores.json").write_text(json.dumps(scores), encoding="utf-8")
    found = compare([tmp_path], score="sensitivity_1", against="acs").rows[1]
    assert found.cases.cases == 3
    assert found.cases.mean == pytest.approx(np.mean([0, 0.5, 0.5]) - np.mean([1, 0.75, 1]))
    assert not any(row.cases for row in compare([tmp_path], score="froc").rows)


def test_a_curve_compares_at_each_place(tmp_path, finished_run):
    values = {("acs", 0.2): 0.7, ("acs", 1.0): 0.8, ("i3d", 0.2): 0.5, ("i3d", 1.0): 0.9}
    for (fusion, fraction), mean in values.items():
        for seed in range(3):
            told = {"task": "classify", "fusion": fusion, "fraction": fraction, "seed": seed}
            score = {"auc": mean + 0.01 * seed}
            finished_run(tmp_path / f"{fusion}-{fraction}-{seed}", told, score)
    found = compare([tmp_path], curve="fraction")
    assert found.by == ("fusion",)
    shown = [(row.at, row.group.label, row.reference) for row in found.rows]
    assert shown == [
        (0.2, "acs", True),
        (0.2, "i3d", False),
        (1.0, "acs", False),
        (1.0, "i3d", True),
    ]
    assert found.rows[2].test.difference == pytest.approx(-0.1)
    fixed = compare([tmp_path], curve="fraction", against="acs")
    assert [row.reference for row in fixed.rows] == [True, False, True, False]
    with pytest.raises(InputError, match="all runs have epochs 50"):
        compare([tmp_path], curve="epochs")
    with pytest.raises(UsageError, match="fusion is 'acs'.*a curve is over a number"):
        compare([tmp_path], curve="fusion")
    with pytest.raises(UsageError, match="unknown setting 'fractoin'; did you mean 'fraction'"):
        compare([tmp_path], curve="fractoin")


def test_what_cannot_be_compared_is_refused(three, finished_run, tmp_path):
    other = three / "other"
    segment = finished_run(other / "seg", {}, {"mean": {"dice_mean": 0.5}})
    with pytest.raises(InputError, match="seg is a run of the task 'segment', .* of 'classify'"):
        compare([three / "acs-0", segment])
    told = {"task": "classify", "data": "/data/others", "fusion": "acs"}
    moved = {"task": "classify", "data": "/elsewhere/scans", "fusion": "acs", "seed": 7}
    elsewhere = finished_run(other / "else", told, {"auc": 0.5})
    again = finished_run(other / "moved", moved, {"auc": 0.5})
    with pytest.raises(InputError, match="else was trained on /data/others, .* name --by data"):
        compare([three / "acs-0", elsewhere])
    assert len(compare([three / "acs-0", elsewhere], by=["data"]).rows) == 2
    assert len(compare([three / "acs-0", again]).rows) == 1
    with pytest.raises(UsageError, match="no 'acu'; did you mean 'auc'"):
        compare([three / "acs-0"], score="acu")
    with pytest.raises(UsageError, match="unknown setting 'fuson'; did you mean 'fusion'"):
        compare([three / "acs-0"], by=["fuson"])
    none = finished_run(other / "none", {"task": "classify"}, {"auc": None})
    with pytest.raises(InputError, match="none: its auc is no number"):
        compare([none], score="auc")


def test_unfinished_runs_are_refused_by_name_and_left_out_of_folders(three, finished_run):
    begun = finished_run(three / "begun", {"task": "classify", "fusion": "tsm"}, None)
    with pytest.raises(InputError, match="begun: this run is not finished; go on with it by:"):
        compare([three / "acs-0", begun])
    (three / "loop").symlink_to(three)
    (three / ".partial").mkdir()
    finished_run(three / ".partial" / "run", {"task": "classify"}, {"auc": 0.1})
    finished_run(three / "acs-0" / "inside", {"task": "classify"}, {"auc": 0.1})
    found = compare([three, three / "acs-0"])
    assert found.runs == 9
    assert f"not finished and left out: {begun}" in found.notes
    with pytest.raises(InputError, match="no such folder"):
        compare([three / "gone"])
    (three / "empty").mkdir()
    with pytest.raises(InputError, match="empty: holds no finished run"):
        compare([three / "empty"])
    (begun / "metrics.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(InputError, match=r"metrics.json: not the scores of a run"):
        compare([begun])


def test_nothing_in_common_is_said(three, finished_run):
    run = finished_run(three / "a" / "b", {"task": "classify"}, {})
    other = finished_run(three / "a" / "c", {"task": "classify", "seed": 2}, {})
    (run / "metrics.json").write_text('{"one": 1}', encoding="utf-8")
    (other / "metrics.json").write_text('{"two": 2}', encoding="utf-8")
    with pytest.raises(InputError, match="have no score in common"):
        compare([run, other])
