import re

import nibabel
import numpy as np
import pytest

from thirdaxis.tasks.segmentation.evaluate import evaluate
from thirdaxis.tasks.segmentation.scores_page import write_scores_page


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Five cases of one label, each worse than the one before, and another method's."""
    root = tmp_path_factory.mktemp("maps")
    for number in range(5):
        truth = np.zeros((12, 12, 10), np.uint8)
        truth[2:8, 2:8, 2:8] = 1
        arrays = {"truth": truth, "found": np.roll(truth, number, 0), "other": np.roll(truth, 1, 1)}
        arrays["scans"] = (truth * 80 + 10).astype(np.int16)
        for folder, array in arrays.items():
            (root / folder).mkdir(exist_ok=True)
            file = root / folder / f"case_{number}.nii.gz"
            nibabel.save(nibabel.Nifti1Image(array, np.diag([1.0, 1, 2, 1])), file)
    return root


def test_the_page_holds_what_was_found_and_sorts(folders, tmp_path, browse):
    scores = evaluate(
        folders / "found", folders / "truth", tmp_path, labels="1=<box>", other=folders / "other"
    )
    page = write_scores_page(
        scores,
        tmp_path,
        "found against truth",
        other="<other>",
        pictures=2,
        images=lambda name: folders / "scans" / f"{name}.nii.gz",
    )
    seen = browse(
        page,
        """() => {
            const table = [...document.querySelectorAll("table")].at(-1);
            const order = () => [...table.tBodies[0].rows].map(row => row.cells[0].innerText);
            const sorted = [order()];
            for (const head of ["Dice", "HD95 mm", "HD95 mm"]) {
                [...table.querySelectorAll("th button")].find(b => b.innerText === head).click();
                sorted.push(order());
            }
            return {
                sorted,
                pictures: [...document.querySelectorAll("figure")].map(f => f.innerText.trim()),
                drawn: [...document.images].map(picture => picture.naturalWidth),
                links: [...document.querySelectorAll("td a")].map(a => !!document.querySelector(
                    a.getAttribute("href"))),
                told: document.body.innerText,
            };
        }""",
    )
    assert seen["requests"] == [page.as_uri()] and seen["complaints"] == []
    found = seen["found"]
    upwards = [f"case_{number}" for number in (4, 3, 2, 1, 0)]
    assert found["sorted"] == [upwards, upwards, upwards[::-1], upwards]
    assert found["pictures"] == [
        *("case_4: Dice <box> 0.333", "case_3: Dice <box> 0.500", "case_0: Dice <box> 1.000")
    ]
    assert min(found["drawn"]) > 500 and found["links"] == [True] * 3
    mean = scores.summary()["mean"]["dice_mean"]
    assert f"{mean:.3f}" in found["told"] and "These predictions less <other>." in found["told"]
    assert f"{scores.compared['<box>']['dice'].p:.4f}" in found["told"]


def test_without_scans_and_pictures_it_is_a_page_still(folders, tmp_path):
    scores = evaluate(folders / "found", folders / "truth", tmp_path)
    text = write_scores_page(scores, tmp_path, "t", pictures=0).read_text(encoding="utf-8")
    assert "<figure" not in text and "Compared" not in text
    drawn = write_scores_page(scores, tmp_path, "t", pictures=9).read_text(encoding="utf-8")
    assert len(re.findall(r"<figure", drawn)) == 5
