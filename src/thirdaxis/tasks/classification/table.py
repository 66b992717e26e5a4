"""Answers of a classifier as a CSV table, a sample a row, and back."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from thirdaxis.errors import InputError
from thirdaxis.metrics.classify import Kind

PROBABILITY, TRUTH = "probability ", "truth "


@dataclass(frozen=True, eq=False)
class Answers:
    """What a classifier said of samples.

    Args:
        kind: of the answers.
        names: of the classes or labels; of a grade, what it is.
        samples: names.
        patients: whom each sample is of.
        answers: ``(N, classes)`` probabilities, or ``(N,)`` grades.
        truth: ``(N,)`` class numbers, ``(N, labels)`` zeros and ones, or ``(N,)`` grades; none
            where it is not known.
    """

    kind: Kind
    names: tuple[str, ...]
    samples: tuple[str, ...]
    patients: tuple[str, ...]
    answers: Tensor
    truth: Tensor | None

    def text(self) -> str:
        """CSV: sample, patient, the truth where it is known, the decision, and probabilities.

        Of several labels each has a column of its truth; a grade has columns `truth` and `answer`.
        """
        heads = ["sample", "patient", *self._truth_heads()]
        if self.kind == "classes":
            heads.append("decided")
        heads += ["answer"] if self.kind == "grade" else [PROBABILITY + one for one in self.names]
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(heads)
        for number, row in enumerate(zip(self.samples, self.patients, strict=True)):
            writer.writerow([*row, *self._truth_cells(number), *self._answer_cells(number)])
        return out.getvalue()

    def _truth_heads(self) -> list[str]:
        if self.truth is None:
            return []
        return [TRUTH + one for one in self.names] if self.kind == "labels" else ["truth"]

    def _truth_cells(self, number: int) -> list[str]:
        if self.truth is None:
            return []
        if self.kind == "classes":
            return [self.names[int(self.truth[number])]]
        return [f"{value:g}" for value in self.truth[number].reshape(-1).tolist()]

    def _answer_cells(self, number: int) -> list[str]:
        cells = [f"{value:.9g}" for value in self.answers[number].reshape(-1).tolist()]
        decided = [self.names[int(self.answers[number].argmax())]] if self.kind == "classes" else []
        return [*decided, *cells]


def read_answers(path: Path) -> Answers:
    """Reads a table that `Answers.text` wrote.

    Raises:
        InputError: no such file, or not such a table.
    """
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (UnicodeDecodeError, csv.Error) as fault:
        raise InputError(f"{path}: not a CSV file in UTF-8 ({fault})") from None
    heads = list(rows[0]) if rows else []
    names = tuple(one.removeprefix(PROBABILITY) for one in heads if one.startswith(PROBABILITY))
    truths = [one for one in heads if one.startswith(TRUTH)]
    if not rows or "sample" not in heads or not (names or "answer" in heads):
        raise InputError(
            f"{path}: not a table of predictions; expected columns sample, patient and "
            f"{PROBABILITY!r}NAME, as `thirdaxis predict` writes them"
        )
    kind: Kind = (
        "grade" if not names else "labels" if truths or "decided" not in heads else "classes"
    )
    columns = [PROBABILITY + name for name in names] if names else ["answer"]
    answers = _numbers(rows, columns, path)
    truth: Tensor | None = None
    if kind == "classes" and "truth" in heads:
        strange = {row["truth"] for row in rows} - set(names)
        if strange:
            raise InputError(f"{path}: the truth {min(strange)!r} is none of {', '.join(names)}")
        truth = torch.tensor([names.index(row["truth"]) for row in rows])
    elif kind == "labels" and truths:
        truth = _numbers(rows, [TRUTH + name for name in names], path).long()
    elif kind == "grade" and "truth" in heads:
        truth = _numbers(rows, ["truth"], path)[:, 0]
    return Answers(
        kind,
        names or ("grade",),
        tuple(row["sample"] for row in rows),
        tuple(row.get("patient") or row["sample"] for row in rows),
        answers if names else answers[:, 0],
        truth,
    )


def _numbers(rows: Sequence[dict[str, str]], columns: Sequence[str], path: Path) -> Tensor:
    try:
        found = torch.tensor([[float(row[column]) for column in columns] for row in rows])
    except (KeyError, ValueError, TypeError) as fault:
        raise InputError(f"{path}: a column or number is missing ({fault})") from None
    if not found.isfinite().all():
        raise InputError(f"{path}: holds a number that is not finite")
    return found
