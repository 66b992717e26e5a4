"""Key slices and their measures."""

import math

import torch

from thirdaxis.data.lesions.key_slice import KeySlice, LesionSet


def key_slice(name: str = "a/1", recists: torch.Tensor | None = None) -> KeySlice:
    boxes = torch.tensor([[1.0, 2.0, 5.0, 9.0]])
    return KeySlice(name, "a", boxes, (32, 32), (5.0, 0.5, 0.25), recists)


def test_diameters_are_in_mm_along_each_axis() -> None:
    # Long: 3 rows of 0.5 mm and 8 columns of 0.25 mm; short: 4 columns.
    found = key_slice(recists=torch.tensor([[0.0, 0, 8, 3, 1, 1, 5, 1]])).diameters()
    torch.testing.assert_close(found, torch.tensor([[math.hypot(2.0, 1.5), 1.0]]))


def test_unmeasured_diameters_are_nan() -> None:
    assert key_slice().diameters().isnan().all()


def test_a_part_has_the_order_told() -> None:
    some = LesionSet((key_slice("a/1"), key_slice("b/2")), lambda *_: None, "here")  # type: ignore[arg-type, return-value]
    assert [one.name for one in some.part(["b/2", "a/1"])] == ["b/2", "a/1"]
