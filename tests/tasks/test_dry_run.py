import tempfile
from pathlib import Path

import pytest
import yaml

from thirdaxis.errors import UsageError
from thirdaxis.tasks.dry_run import dry_run
from thirdaxis.tasks.rows import recipes_in, row_names, with_row
from thirdaxis.tasks.settings_files import make_settings, read_settings_file
from thirdaxis.tasks.stages import runs_of

RECIPES = recipes_in(Path(__file__).parents[2] / "recipes")


def rows():
    """Every row of every recipe, and what of it is new: `step`, `count` or `nothing`.

    Rows that differ in their start or their numbers alone are counted, but not trained again; nor
    are large networks under every operator. A detector or a stage is not counted again where it
    differs in that alone, and trained once, and under the one operator that asks for thickness.
    """
    seen, counted = set(), set()
    for title, file in RECIPES.items():
        told = read_settings_file(file)
        for name in reversed(row_names(told, title) or [None]):
            row = {"data": "absent", **with_row(told, name, title)}
            for run, settings in runs_of(row, Path(), title).items():
                operator = (settings.task, settings.fusion)
                new = settings.network not in seen or operator not in seen
                what = "step" if new else "count"
                if settings.task == "detect" or run.name:
                    kind = (settings.network, settings.fusion, getattr(settings, "depth", 0))
                    asks = settings.fusion == "alignshift" or settings.network not in seen
                    what = "nothing" if kind in counted else what if asks else "count"
                    counted.add(kind)
                seen |= {settings.network, operator}
                words = [title.removesuffix(".yaml"), str(name), *filter(None, [run.name])]
                yield pytest.param(settings, what, id="-".join(words))


def test_every_published_table_has_its_recipe():
    assert {title.removesuffix(".yaml") for title in RECIPES} >= {
        *("lidc-segment", "lidc-classify", "lidc-segment-svd", "lidc-classify-svd"),
        *("lits-acs", "lits-svd", "lits-ahnet", "msd", "nnunet"),
        *("deeplesion/acs", "deeplesion/alignshift", "deeplesion/a3d"),
    }


@pytest.mark.parametrize(("settings", "what"), rows())
def test_every_row_of_every_recipe(settings, what, tmp_path, monkeypatch):
    if what == "nothing":
        assert settings.about.row  # which differs in its start, its numbers or another stage
        return
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    lines = []
    dry_run(settings, lines.append, step=what == "step")
    assert yaml.safe_load(lines[0]) == settings.plain()
    assert f"network: {settings.network} by {settings.fusion}: " in lines[1]
    assert f"batch: ({settings.batch}, 1, " in lines[2]
    if what == "step":
        assert any(line.startswith("one step on stand-ins") for line in lines)
        assert lines[-1].startswith("prediction of a held-out stand-in: ")
    assert list(tmp_path.iterdir()) == []


def test_published_sizes_are_found():
    """49.8 "Mb" of Table V are 12.39 M numbers of four bytes, with a stem for RGB."""
    recipe = RECIPES["lidc-segment.yaml"]
    told = with_row(read_settings_file(recipe), "ACS p.", recipe.name)
    lines = []
    dry_run(make_settings({"data": "absent", **told}, "test"), lines.append, step=False)
    # two of three channels of 64 kernels of 7 × 7 less
    assert (12_389_442 - 2 * 64 * 49) // 10_000 == 1238
    assert "12.38 M parameters" in lines[1]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"network": "unett"}, "unknown network 'unett'"),
        ({"fusion": "asc"}, "unknown fusion 'asc'"),
        ({"class_weights": [1, 2, 3, 4]}, "class_weights"),
        ({"regions": {"all": ["livr"]}, "labels": {"liver": 1}}, "no class 'livr'; did you mean"),
    ],
)
def test_what_would_stop_the_run_stops_the_dry_run(values, said, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    told = {"data": "absent", "patch": [8, 16, 16], **values}
    with pytest.raises(UsageError, match=said):
        dry_run(make_settings(told, "test"), lambda line: None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "labels", "label_columns": ["a", "b"], "around": "middle", "size": [9, 9, 9]},
        {"kind": "grade", "around": "centre", "centre_columns": ["x", "y", "z"], "size": [9, 9, 9]},
        {"part_column": "part", "size": [16, 16, 16], "spacing_columns": ["a", "b", "c"]},
        {"around": "middle", "size_mm": [20, 20, 20], "spacing": [2, 1, 1], "centre_unit": "lps"},
        {"data": "organmnist3d.npz", "size": [9, 9, 9]},
    ],
)
def test_every_kind_of_classification(values):
    told = {"task": "classify", "data": "absent.csv", "network": "lidc:resnet18", **values}
    lines = []
    dry_run(make_settings(told, "test"), lines.append)
    assert lines[-1].startswith("prediction of a held-out stand-in: ")


def test_data_and_weights_that_are_there_are_not_needed(tmp_path):
    """A weights file that exists is loaded; its fit is told by an error."""
    told = {"data": "absent", "patch": [8, 16, 16], "weights": str(tmp_path / "none.pth")}
    lines = []
    dry_run(make_settings(told, "test"), lines.append)
    assert any("none.pth not loaded; a random start stands in" in line for line in lines)
