"""The table of operators and what is made from it."""

import dataclasses

import pytest

import thirdaxis
from thirdaxis.fusion.table import FUSIONS, NAMES, markdown, resolve


def test_the_page_shows_the_table_of_the_code(repository):
    page = (repository / "docs" / "why.md").read_text("utf-8")
    assert markdown() in page, "put thirdaxis.fusion.table.markdown() into docs/why.md"


@pytest.mark.parametrize("name", FUSIONS)
def test_every_operator_is_described_and_shown(name):
    kind = FUSIONS[name]
    assert kind.runs and kind.extra and kind.fixed_point and name in NAMES
    assert getattr(thirdaxis, kind.__name__) is kind
    assert resolve(name) == kind() == resolve(kind)
    assert str(kind()) == f"{kind.__name__}()"
    assert "Source:" in kind.__doc__ or "et al." in kind.__doc__ or "Carreira" in kind.__doc__
    with pytest.raises(dataclasses.FrozenInstanceError):
        kind().name = "other"


def test_settings_are_told_where_they_differ():
    assert str(thirdaxis.AlignShift(reference=1.0)) == "AlignShift(reference=1.0)"
    assert str(thirdaxis.A3D(depth=3, pointwise=True)) == "A3D(depth=3, pointwise=True)"
