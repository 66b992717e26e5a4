"""The page of recipes says what the recipes say."""

from pathlib import Path

import pytest

from thirdaxis.tasks.rows import markdown

REPOSITORY = Path(__file__).parents[1]
RECIPES = sorted((REPOSITORY / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_the_page_holds_each_recipes_section_as_it_is(recipe: Path) -> None:
    page = (REPOSITORY / "docs" / "recipes.md").read_text("utf-8")
    assert markdown(recipe) in page, f"put rows.markdown of {recipe.name} into docs/recipes.md"


def test_the_page_has_no_other_sections() -> None:
    page = (REPOSITORY / "docs" / "recipes.md").read_text("utf-8")
    found = [line.removeprefix("## ") for line in page.splitlines() if line.startswith("## ")]
    assert found == [recipe.name for recipe in RECIPES]
