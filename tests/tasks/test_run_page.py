import json
import re
import shutil

import pytest
import yaml
from matplotlib.figure import Figure

from thirdaxis.cli.main import run
from thirdaxis.errors import InputError
from thirdaxis.tasks.run_page import recorded_results
from thirdaxis.tasks.runs import report


def test_the_page_of_a_finished_run(phantom_run, browse):
    page = phantom_run / "report.html"  # `train` wrote it
    seen = browse(
        page,
        """() => ({
            drawn: [...document.images].map(picture => picture.naturalWidth),
            heads: [...document.querySelectorAll("h2")].map(head => head.innerText),
            opened: [...document.querySelectorAll("summary")].map(one => {
                one.click();
                return one.parentElement.querySelector("pre").innerText;
            }),
            told: document.body.innerText,
        })""",
    )
    assert seen["requests"] == [page.as_uri()] and seen["complaints"] == []
    found = seen["found"]
    assert found["heads"] == [
        *("Held-out cases", "Cases", "Worst cases", "Training", "From what"),
    ]
    assert len(found["drawn"]) == 3 and min(found["drawn"]) > 300
    settings = (phantom_run / "settings.yaml").read_text(encoding="utf-8")
    assert found["opened"][0].strip() == settings.strip()
    assert len(found["opened"]) == 7
    assert "2 of 2" in found["told"] and "random start" in found["told"]
    assert "95 % interval" in found["told"] and "bright" in found["told"]


def test_the_page_of_a_run_under_way(phantom_run, tmp_path, capsys):
    begun = tmp_path / "begun"
    shutil.copytree(phantom_run, begun)
    for name in ("metrics.json", "report.html"):
        (begun / name).unlink()
    assert run(["report", str(begun)]) == 0
    assert capsys.readouterr().out == f"{begun / 'report.html'}\n"
    text = (begun / "report.html").read_text(encoding="utf-8")
    assert "Under way" in text and "Held-out cases" not in text
    assert len(re.findall(r"<img", text)) == 1
    (begun / "metrics.csv").unlink()
    report(begun)
    assert "No epoch is done yet." in (begun / "report.html").read_text(encoding="utf-8")
    assert run(["report", str(tmp_path / "none")]) == 1
    assert "no such folder" in capsys.readouterr().err


def test_a_finished_run_whose_data_are_gone_says_so(phantom_run, tmp_path):
    lost = tmp_path / "lost"
    shutil.copytree(phantom_run, lost)
    told = yaml.safe_load((lost / "settings.yaml").read_text(encoding="utf-8"))
    told["data"] = str(tmp_path / "gone")
    (lost / "settings.yaml").write_text(yaml.safe_dump(told), encoding="utf-8")
    with pytest.raises(InputError, match="gone"):
        report(lost)


def test_results_are_read_from_the_files_of_other_tasks(tmp_path):
    with pytest.raises(InputError, match="not the scores of a run"):
        recorded_results(tmp_path)
    told = {"scores": {"auc": 0.875, "grade_error": None}, "intervals": {"auc": [0.75, 0.95]}}
    (tmp_path / "metrics.json").write_text(json.dumps(told), encoding="utf-8")
    numbers, pictures = recorded_results(tmp_path)
    (table,) = numbers.parts
    assert table.rows == [["auc", 0.875, 0.75, 0.95], ["grade_error", None, None, None]]
    assert pictures.parts == []
    (tmp_path / "pictures").mkdir()
    Figure(figsize=(1, 1)).savefig(tmp_path / "pictures" / "roc.png")
    (picture,) = recorded_results(tmp_path)[1].parts
    assert picture.alt == "roc" and picture.source.startswith("data:image/png;base64,iVBOR")
