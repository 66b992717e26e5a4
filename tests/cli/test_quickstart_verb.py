import functools

from thirdaxis.cli.main import run
from thirdaxis.tasks.shapes import quickstart
from thirdaxis.tasks.shapes.quickstart import Budget

TINY = Budget(
    images=8, epochs_2d=1, batch_2d=8, test_images=2, volumes=1, epochs_3d=1, test_volumes=1
)


def test_the_verb_leaves_a_report_and_says_where(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(quickstart, "run", functools.partial(quickstart.run, budget=TINY))
    assert run(["quickstart", "--out", str(tmp_path / "q"), "--seed", "1"]) == 0
    told = capsys.readouterr().out
    assert "pretrained" in told and str(tmp_path / "q" / "report.html") in told
    assert (tmp_path / "q" / "report.html").is_file()


def test_an_unusable_place_is_told_before_the_work(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(quickstart, "run", None)
    (tmp_path / "file").write_text("")
    assert run(["quickstart", "--out", str(tmp_path / "file" / "q")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
