"""The page of recipes says what the recipes say."""

from pathlib import Path

import pytest

from thirdaxis.tasks.rows import markdown, recipes_in

REPOSITORY = Path(__file__).parents[1]
RECIPES = recipes_in(REPOSITORY / "recipes")


@pytest.mark.parametrize("title", RECIPES)
def test_the_page_holds_each_recipes_section_as_it_is(title: str) -> None:
    page = (REPOSITORY / "docs" / "recipes.md").read_text("utf-8")
    section = markdown(RECIPES[title], title)
    assert section in page, f"put rows.markdown of {title} into docs/recipes.md"


def test_the_page_has_no_other_sections() -> None:
    page = (REPOSITORY / "docs" / "recipes.md").read_text("utf-8")
    found = [line.removeprefix("## ") for line in page.splitlines() if line.startswith("## ")]
    assert found == list(RECIPES)
