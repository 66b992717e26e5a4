import pytest

from thirdaxis.tasks.shapes.recipe import read_recipe
from thirdaxis.tasks.shapes.report import table_text, write_report


def _state(seed: int, dices: list[list[float]], untrained: float = 0.5) -> dict:
    history = [
        {"epoch": i + 1, "loss": 0.5, "dice": d, "iou": [v / 2 for v in d], "seconds": 1800.0}
        for i, d in enumerate(dices)
    ]
    return {
        **{"settings": {"seed": seed}, "epoch": len(dices), "untrained": untrained},
        **{"parameters": 389_286, "on": ["torch 2, cpu"], "history": history},
    }


@pytest.fixture(scope="module")
def recipe(repository):
    return read_recipe(repository / "recipes" / "poc")


# Cone, pyramid, cube, cylinder, ball, background: the paper's mean takes the first five, the mean
# of its code the last five.
EARLY = [0.5, 0.5, 0.5, 0.5, 0.5, 1.0]  # 50 and 60
BEST = [0.9, 0.7, 0.6, 0.5, 0.3, 0.8]  # 60 and 58
LATE = [0.4, 0.4, 0.4, 0.4, 0.4, 0.4]


def _cells(text: str, name: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(f"| {name} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_line_of_a_row_is_its_best_epoch_by_either_mean(recipe):
    text = table_text(recipe, {"ACS p.": [_state(0, [EARLY, BEST, LATE], 0.881)]})
    assert _cells(text, "ACS p.") == [
        *("ACS p.", "389,286", "1.6", "88.1"),
        *("60.0", "30.0"),  # at epoch 2
        *("88.1", "95.4", "92.0"),
        *("60.0", "30.0"),  # at epoch 1
        *("2", "3 of 50", "1.5"),
    ]
    assert "Ran on torch 2, cpu." in text


def test_seeds_are_told_as_mean_and_deviation(recipe):
    better = [value + 0.1 for value in BEST]
    states = [_state(0, [BEST], 0.8), _state(1, [LATE, better], 0.9)]
    cells = _cells(table_text(recipe, {"ACS p.": states}), "ACS p.")
    assert cells[3:6] == ["85.0 ± 7.1", "65.0 ± 7.1", "32.5 ± 3.5"]
    assert cells[-3:] == ["1, 2", "1 of 50, 2 of 50", "0.5, 1.0"]


def test_what_is_not_measured_is_a_dash(recipe, tmp_path):
    begun = _state(0, [], 0.7)
    text = write_report(recipe, {"3D r.": [begun]}, tmp_path).read_text(encoding="utf-8")
    assert _cells(text, "3D r.")[3:6] == ["70.0", "–", "–"]
    assert _cells(text, "3D r.")[-3:] == ["–", "0 of 50", "–"]
    assert set(_cells(text, "I3D p.")[1:]) == {"–"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curves.png", "table.md"]
