import re

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg

from thirdaxis.errors import InputError
from thirdaxis.tasks.detection.evaluate import score
from thirdaxis.tasks.detection.page import write_scores_page
from thirdaxis.tasks.detection.pictures import FOUND, HIT, MISSED, TRUTH, slice_figure
from thirdaxis.tasks.detection.truth import Truth, find_truth

SORT = """() => {
  const table = document.querySelector("table.sortable");
  const column = () => [...table.tBodies[0].rows].map(row => row.cells[4].dataset.key);
  const before = column();
  table.tHead.rows[0].cells[4].firstChild.click();
  const pictures = [...document.images];
  return {before, after: column(), broken: pictures.filter(p => !p.naturalWidth).length,
    pictures: pictures.length, links: [...document.querySelectorAll("td a")].filter(
      a => document.querySelector(a.getAttribute("href"))).length};
}"""


@pytest.fixture(scope="module")
def scored(tmp_path_factory, make_deeplesion):
    truth = find_truth(make_deeplesion(tmp_path_factory.mktemp("lesions") / "data"), "all")
    found = {}
    for number, one in enumerate(truth.slices):
        boxes = [one.boxes] * (number % 3 > 0) + [torch.tensor([[0.0, 0, 6, 6]])] * (number % 4)
        scores = torch.linspace(0.9, 0.2, len(boxes))
        found[one.name] = (torch.cat(boxes) if boxes else torch.zeros(0, 4), scores)
    return score(truth, found, found, draws=5)


def test_a_page_sorts_and_draws_the_worst(scored, tmp_path, browse):
    page = write_scores_page(scored, tmp_path, "Boxes", other="others.json", pictures=3)
    told = browse(page, SORT)
    assert told["requests"] == [page.as_uri()] and not told["complaints"]
    found = told["found"]
    assert found["pictures"] == 5 and not found["broken"]  # the curve, three worst, the best
    assert found["links"] == 4
    alarms = [float(key) for key in found["after"]]
    assert alarms == sorted(alarms) and [float(key) for key in found["before"]] != alarms
    assert "others.json" in page.read_text(encoding="utf-8")


def test_without_images_a_page_has_no_pictures(scored, tmp_path):
    def gone(one, depth, interval):
        raise InputError("no image")

    for read in (None, gone):
        bare = Truth(scored.truth.slices, read, "rows alone", note="Only made up.")
        page = write_scores_page(score(bare, scored.found, draws=5), tmp_path, "Boxes")
        text = page.read_text(encoding="utf-8")
        assert text.count("<img") == 1 and 'href="#image' not in text
        assert "Only made up." in text


def painted(figure) -> np.ndarray:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].astype(int)


def has(picture: np.ndarray, colour: str) -> bool:
    wanted = [int(part, 16) for part in re.findall("..", colour[1:])]
    return bool((np.abs(picture - wanted).sum(-1) < 60).sum() > 20)


def test_each_kind_of_box_has_its_colour():
    grey = np.full((60, 60), -800.0)
    box, far = (10, 10, 25, 25), (35, 35, 50, 50)
    nothing = painted(slice_figure(grey, [], [], [], []))
    assert not any(has(nothing, colour) for colour in (TRUTH, HIT, MISSED, FOUND))
    hit = painted(slice_figure(grey, [(box, 0.9)], [], [box], []))
    assert has(hit, HIT) and not has(hit, MISSED) and not has(hit, FOUND)
    missed = painted(slice_figure(grey, [], [(far, 0.9)], [], [box]))
    assert has(missed, MISSED) and has(missed, FOUND) and not has(missed, HIT)


def test_pictures_show_what_the_table_counts(scored, tmp_path, monkeypatch):
    drawn = []

    def noted(grey, hits, false, truth, missed, ratio):
        drawn.append((len(truth), len(missed), len(false)))
        return slice_figure(grey, hits, false, truth, missed, ratio)

    monkeypatch.setattr("thirdaxis.tasks.detection.page.slice_figure", noted)
    write_scores_page(scored, tmp_path, "Boxes", pictures=3)
    counted = [(one.lesions - one.missed, one.missed, one.alarms) for one in scored.images[:3]]
    assert drawn[:3] == counted
    assert drawn[3][1:] == (0, 0)
    assert any(hit != missed for hit, missed, _ in counted)
