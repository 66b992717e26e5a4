import numpy as np
import pytest
from matplotlib.image import imread

from thirdaxis.metrics.froc import froc
from thirdaxis.tasks.froc.plot import SHOWN, Line, draw_froc, froc_figure, froc_line


def scored(hits, seed=0):
    """Twenty images with a lesion each, of which a share is found, and two false alarms each."""
    random = np.random.default_rng(seed)
    truth = {str(n): [[0, 0, 9, 9]] for n in range(20)}
    alarms = [[50, 50, 59, 59], [80, 80, 89, 89]]
    found = {}
    for number, name in enumerate(truth):
        boxes = [*alarms, *(truth[name] if number < hits else [])]
        found[name] = (boxes, random.uniform(size=len(boxes)))
    return froc(found, truth)


def test_curves_bands_and_names_are_drawn():
    patients = {str(n): str(n // 2) for n in range(20)}
    lines = [froc_line("one", scored(18), patients, draws=50), Line("other", scored(4, 1))]
    figure = froc_figure(lines, "Synthetic: drawn")
    (axes,) = figure.axes
    for curve, line in zip(axes.lines, lines, strict=True):
        np.testing.assert_array_equal(curve.get_xdata(), SHOWN)
        np.testing.assert_array_equal(curve.get_ydata(), line.scored.sensitivity_at(SHOWN))
    assert len(axes.collections) == 1  # the band of the first alone
    low, high = zip(*(lines[0].ends.at[rate] for rate in SHOWN.tolist()), strict=True)
    drawn = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert drawn.min() == pytest.approx(min(low)) and drawn.max() == pytest.approx(max(high))
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == [f"{line.name}, mean {line.scored.mean:.3f}" for line in lines]
    assert axes.get_title() == "Synthetic: drawn"


def test_many_curves_are_told_apart():
    (axes,) = froc_figure([Line(str(n), scored(n)) for n in range(14)]).axes
    looks = {(line.get_color(), line.get_linestyle()) for line in axes.lines}
    assert len(looks) == 14


def test_a_set_without_lesions_is_drawn_empty(tmp_path):
    nothing = froc({}, {"a": [], "b": []})
    draw_froc([froc_line("none", nothing, {"a": "p", "b": "q"}, draws=5)], tmp_path / "froc.png")
    assert imread(tmp_path / "froc.png").shape[2] == 4
    with pytest.raises(OSError):
        draw_froc([Line("x", scored(3))], tmp_path / "missing" / "froc.png")
    assert [path.name for path in tmp_path.iterdir()] == ["froc.png"]
