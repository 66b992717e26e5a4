"""Which label values of the files make which class of a run, merged or left out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from thirdaxis.errors import UsageError

BACKGROUND = "background"


@dataclass(frozen=True)
class Classes:
    """Classes 1, 2, ... of a run and the label values of the files that make them.

    Args:
        names: of the classes, background first.
        of_value: label value -> class, as pairs; values without a class are background. None where
            values are the classes themselves.
    """

    names: tuple[str, ...]
    of_value: tuple[tuple[int, int], ...] | None = None

    def table(self) -> dict[int, str]:
        """Class -> name, background first."""
        return dict(enumerate(self.names))


def regroup(
    told: Mapping[str, Sequence[int]], known: Mapping[int, str] | None, origin: str
) -> Classes:
    """Classes by name from label values, such as `{"liver": [1, 2]}` for tumours as liver.

    Args:
        told: class name -> label values, in the order of the classes; others become background.
        known: label value -> name in the data set; none where it does not say.
        origin: the data set, for errors.

    Raises:
        UsageError: no class, a class without values, a value told twice, background's, or one that
            the data set does not have.
    """
    values = [value for group in told.values() for value in group]
    if not told or not all(told.values()):
        raise UsageError(f"labels: each class needs label values, as in liver: [1, 2], not {told}")
    if BACKGROUND in told or min(values) < 1:
        raise UsageError("labels: background is what no class names; label values start at 1")
    if len(set(values)) < len(values):
        raise UsageError(f"labels: a label value belongs to one class, not {dict(told)}")
    for value in values:
        if known is not None and value not in known:
            shown = ", ".join(f"{k} ({v})" for k, v in known.items() if k)
            raise UsageError(f"labels: {origin} has no label {value}, it has {shown}")
    pairs = [(v, number) for number, group in enumerate(told.values(), 1) for v in group]
    return Classes((BACKGROUND, *told), tuple(sorted(pairs)))


def as_classes(labels: Tensor, of_value: Sequence[tuple[int, int]] | None) -> Tensor:
    """A label map of files as classes.

    Args:
        labels: label values, any shape.
        of_value: from `Classes`.

    Returns:
        Classes, in the same shape and type; the same map where values are classes.
    """
    if of_value is None:
        return labels
    found = torch.zeros_like(labels)
    for value, number in of_value:
        found[labels == value] = number
    return found
