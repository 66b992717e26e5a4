import pytest

from thirdaxis.errors import InputError, UsageError
from thirdaxis.tasks.rows import check_data, needs, published, row_names, with_row
from thirdaxis.tasks.settings_files import make_settings

TOLD = {
    "about": {
        "paper": "P",
        "table": "T",
        "data": "scans",
        "source": "https://x.org",
        "layout": "a/b",
    },
    "epochs": 3,
    "overrides": {"a": "i3d"},
    "rows": {
        "ACS p.": {"overrides": {"b": "acs"}, "published": {"dice": 76.5}},
        "3D r.": {"epochs": 4},
    },
}


def test_a_rows_settings_lie_over_the_files():
    found = with_row(TOLD, "acs P.", "x.yaml")
    assert found == {
        "about": {**TOLD["about"], "row": "ACS p.", "published": {"dice": 76.5}},
        "epochs": 3,
        "overrides": {"a": "i3d", "b": "acs"},
    }
    assert with_row(TOLD, "3D r.", "x.yaml")["epochs"] == 4
    assert TOLD["rows"]["ACS p."]["published"] == {"dice": 76.5}
    assert row_names(TOLD, "x.yaml") == ["ACS p.", "3D r."]
    settings = make_settings({"data": "d", **found}, "x.yaml")
    assert published(settings) == "published: ACS p.: dice 76.5 (P, T)"
    assert published(make_settings({"data": "d"}, "x")) is None


def test_a_file_without_rows_is_one_run():
    assert with_row({"epochs": 3}, None, "x.yaml") == {"epochs": 3}


@pytest.mark.parametrize(
    ("told", "name", "said"),
    [
        (TOLD, None, "x.yaml: has rows, choose one by --row: ACS p., 3D r."),
        (TOLD, "AXS p.", "x.yaml: unknown row 'AXS p.'; did you mean 'acs p.'"),
        ({"epochs": 3}, "ACS p.", "x.yaml: has no rows, leave --row 'ACS p.' out"),
        (
            {"experiment": "shapes"},
            None,
            "x.yaml: makes its own data, and is run by: thirdaxis run",
        ),
        (
            {"rows": ["ACS p."]},
            "ACS p.",
            "x.yaml: rows is a table of row name -> table of settings",
        ),
        (
            {"rows": {"ACS p.": "acs"}},
            "ACS p.",
            "x.yaml: rows is a table of row name -> table of settings",
        ),
    ],
)
def test_rows_that_cannot_be_chosen(told, name, said):
    with pytest.raises(UsageError) as caught:
        with_row(told, name, "x.yaml")
    assert str(caught.value).startswith(said)


def test_absent_data_are_told_with_where_to_get_them(tmp_path):
    told = with_row(TOLD, "ACS p.", "x.yaml")
    with pytest.raises(InputError) as caught:
        check_data(told, None, "x.yaml")
    assert str(caught.value) == (
        "x.yaml: no data are told; name them by --set data=PATH. "
        "It needs scans; from https://x.org; on disk: a/b"
    )
    settings = make_settings({**told, "data": str(tmp_path / "none")}, "x.yaml")
    with pytest.raises(InputError, match="there are no data at .*none; name them"):
        check_data(told, settings, "x.yaml")
    check_data(told, make_settings({**told, "data": str(tmp_path)}, "x.yaml"), "x.yaml")
    check_data({"epochs": 3}, None, "x.yaml")  # no recipe: the reader says what is wrong
    assert needs(settings.about) == "scans; from https://x.org; on disk: a/b"


def test_a_misspelt_fact_is_told_with_the_nearest():
    with pytest.raises(UsageError, match="unknown setting 'about.papr'; did you mean 'paper'"):
        make_settings({"data": "d", "about": {"papr": "P"}}, "x.yaml")
