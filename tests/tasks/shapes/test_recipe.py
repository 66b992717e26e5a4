from pathlib import Path

import pytest

from thirdaxis.errors import UsageError
from thirdaxis.tasks.shapes.recipe import read_recipe


@pytest.fixture(scope="module")
def recipe_text(repository: Path) -> str:
    return (repository / "recipes" / "poc.toml").read_text(encoding="utf-8")


def test_the_proof_of_concept_is_as_published(repository):
    recipe = read_recipe(repository / "recipes" / "poc")
    data, flat, solid = recipe.data, recipe.pretraining, recipe.training
    assert (data.images, data.test_images, data.volumes, data.test_volumes) == (
        *(10_000, 2_000),
        *(100, 200),
    )
    assert (flat.optimiser, flat.learning_rate, flat.momentum, flat.weight_decay) == (
        *("sgd", 0.01),
        *(0.9, 1e-4),
    )
    assert (flat.batch, flat.epochs, flat.milestones) == (64, 50, (25,))
    assert (solid.optimiser, solid.learning_rate, solid.weight_decay) == ("adam", 1e-3, 0)
    assert (solid.batch, solid.test_batch, solid.epochs, solid.milestones) == (4, 20, 50, ())
    published = {
        row.name: (row.published.mauc, row.published.dice, row.published.miou)
        for row in recipe.rows
        if row.published
    }
    assert published == {
        "2.5D r.": (69.0, 82.2, 72.5),
        "2.5D p.": (85.1, 82.7, 73.3),
        "3D r.": (72.1, 94.6, 90.8),
        "ACS r.": (68.7, 94.7, 90.7),
        "ACS p.": (88.1, 95.4, 92.0),
    }
    others = [(row.fusion, row.start) for row in recipe.rows if not row.published]
    kinds = ["i3d", "p3d", "tsm", "a3d", "mean_acs", "soft_acs"]
    assert others == [(kind, "pretrained") for kind in kinds]


def test_rows_are_chosen_by_name_in_the_order_asked_for(repository):
    recipe = read_recipe(repository / "recipes" / "poc.toml")
    assert recipe.chosen(None) == list(recipe.rows)
    assert [row.name for row in recipe.chosen(["acs p", "2.5D r."])] == ["ACS p.", "2.5D r."]
    with pytest.raises(UsageError, match=r"'asc p\.'.*did you mean 'acs p\.'"):
        recipe.chosen(["asc p."])


@pytest.mark.parametrize(
    ("was", "becomes", "told"),
    [
        ("images = 10000", "images = 0", "data.images"),
        ("images = 10000", "", "data.images"),
        ('optimiser = "adam"', 'optimiser = "lamb"', "training.optimiser"),
        ("epochs = 50", "epochs = 50\nwarmup = 3", "pretraining.warmup"),
        ('fusion = "acs"', 'fusion = "asc"', "did you mean 'acs'"),
        ("depth = 48", "slices = 48", "'slices'"),
        ('name = "ACS r."', 'name = "acs p"', "two rows"),
        ('experiment = "shapes"', 'experiment = "else"', "experiment"),
        ("[data]", "[data", "not a valid TOML file"),
    ],
)
def test_a_fault_is_told_in_one_line(tmp_path, recipe_text, was, becomes, told):
    assert was in recipe_text
    file = tmp_path / "bad.toml"
    file.write_text(recipe_text.replace(was, becomes, 1), encoding="utf-8")
    with pytest.raises(UsageError) as fault:
        read_recipe(file)
    assert told in str(fault.value) and str(file) in str(fault.value).split(": ")[0]
    assert "\n" not in str(fault.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"none\.toml: no such recipe"):
        read_recipe(tmp_path / "none")
