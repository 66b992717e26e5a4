import numpy as np
import pytest

from thirdaxis.tasks.comparison.compare import compare
from thirdaxis.tasks.comparison.picture import comparison_figure

MEANS = {("acs", 0.2): 0.7, ("acs", 1.0): 0.8, ("i3d", 0.2): 0.5, ("i3d", 1.0): 0.9}


@pytest.fixture
def runs(tmp_path, finished_run):
    for (fusion, fraction), mean in MEANS.items():
        for seed in range(3):
            told = {"task": "classify", "fusion": fusion, "fraction": fraction, "seed": seed}
            score = {"auc": mean + 0.02 * seed}
            finished_run(tmp_path / f"{fusion}-{fraction}-{seed}", told, score)
    return tmp_path


def test_bands_of_a_curve_are_one_deviation_wide(runs):
    (axes,) = comparison_figure(compare([runs], curve="fraction")).axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("fraction", "auc")
    lines = {line.get_label(): line for line in axes.lines if line.get_label() in ("acs", "i3d")}
    assert np.allclose(lines["acs"].get_xydata(), [[0.2, 0.72], [1.0, 0.82]])
    corners = axes.collections[0].get_paths()[0].vertices
    at_first = corners[np.isclose(corners[:, 0], 0.2), 1]
    assert (at_first.min(), at_first.max()) == pytest.approx((0.70, 0.74))
    dots = [line for line in axes.lines if line.get_linestyle() == "None"]
    assert sorted(len(line.get_xydata()) for line in dots) == [6, 6]


def test_points_stand_beside_their_groups(runs):
    figure = comparison_figure(compare([runs]))
    (axes,) = figure.axes
    labels = [text.get_text() for text in axes.get_yticklabels()]
    assert labels == [f"{f}, fraction {x:g}" for f, x in MEANS]
    bars = [container.lines[0].get_xydata()[0] for container in axes.containers]
    assert np.allclose(bars, [[mean + 0.02, n] for n, mean in enumerate(MEANS.values())])
    ends = axes.containers[0].lines[2][0].get_segments()[0][:, 0]
    assert ends == pytest.approx([0.70, 0.74])
