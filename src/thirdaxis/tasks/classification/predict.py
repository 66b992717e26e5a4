"""From scans to what a trained classifier says of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from thirdaxis.atomic import write_text
from thirdaxis.data.samples import Sample
from thirdaxis.errors import InputError, UsageError
from thirdaxis.tasks.classification.cases import Cases, read_cases
from thirdaxis.tasks.classification.crops import Crops, prepare
from thirdaxis.tasks.classification.data import HeldBoxes
from thirdaxis.tasks.classification.plan import ClassifyPlan
from thirdaxis.tasks.classification.settings import ClassifySettings
from thirdaxis.tasks.classification.table import Answers
from thirdaxis.tasks.engine import Watch, no_watch
from thirdaxis.tasks.hardware import autocast
from thirdaxis.tasks.model import Model, load_model
from thirdaxis.tasks.module import RunModule
from thirdaxis.tasks.scans import find_scans


@dataclass(frozen=True, eq=False)
class Classifier:
    """A trained network and all it needs to be run on boxes of scans."""

    net: nn.Module
    settings: ClassifySettings
    plan: ClassifyPlan
    device: torch.device

    def __call__(self, crops: Crops) -> Tensor:
        """What the network says of boxes.

        Args:
            crops: as `prepare` gives them.

        Returns:
            ``(N, classes)`` probabilities, or ``(N,)`` grades.

        Raises:
            InputError: boxes of another size or other channels than the network was trained on.
        """
        expected = (self.plan.channels, *self.plan.size)
        if crops.shape != expected:
            raise InputError(
                f"boxes have {crops.shape[0]} channels and {crops.shape[1:]} voxels, the network "
                f"was trained on {expected[0]} and {expected[1:]}"
            )
        module = RunModule(self.net, self.settings, self.plan, 1)
        found = []
        no_truth = torch.zeros(len(crops))
        for batch in DataLoader(HeldBoxes(crops, no_truth), self.settings.batch):
            with torch.no_grad(), autocast(self.settings.precision, self.device):
                logits = module(batch["image"].to(self.device), batch["thickness"].to(self.device))
            found.append(self.plan.answers(logits).cpu())
        return torch.cat(found)


def load_classifier(
    path: str | Path | Model, accelerator: str | None = None, *, trust: bool = False
) -> Classifier:
    """Loads a network trained to classify.

    Args:
        path: a run folder, or a trained model in any form that `load_model` reads.
        accelerator: `auto`, `cpu` or `gpu`; none takes the run's own.
        trust: whether a program that the model names as its network may be called.

    Raises:
        InputError: not a trained model, or one of another task.
    """
    model = load_model(path, task="classify", trust=trust)
    settings, plan = model.settings, model.plan
    assert isinstance(settings, ClassifySettings) and isinstance(plan, ClassifyPlan)
    return Classifier(model.net, settings, plan, model.moved(accelerator))


def predict(
    model: str | Path | Model,
    inputs: Path,
    out: Path,
    *,
    accelerator: str | None = None,
    watch: Watch = no_watch,
) -> Answers:
    """Writes what a trained classifier says of scans.

    Args:
        model: a run folder, or a trained model in any form that `load_model` reads.
        inputs: a table with the columns of the run's (labels may be missing), a set of MedMNIST,
            or, for runs on whole scans and their middles, a scan or a folder of scans.
        out: the CSV file to write.
        accelerator: `auto`, `cpu` or `gpu`; none takes the run's own.
        watch: wraps the samples to show progress.

    Returns:
        The answers.

    Raises:
        InputError: a scan that cannot be read or does not fit the network.
        UsageError: scans without a table where the run needs masks or centres.
    """
    if out.suffix.lower() != ".csv":
        raise UsageError(f"{out}: probabilities are written as .csv")
    classifier = load_classifier(model, accelerator)
    cases, settings = read_samples(classifier.settings, inputs)
    found = answer(classifier, cases, settings, watch, labelled=False)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, found.text())
    return found


def answer(
    classifier: Classifier,
    cases: Cases,
    settings: ClassifySettings,
    watch: Watch,
    *,
    labelled: bool = True,
) -> Answers:
    """What a classifier says of samples, beside the truth where they are labelled."""
    crops = prepare(cases, settings, watch, "reading scans")
    names = list(cases.samples)
    return Answers(
        settings.kind,
        classifier.plan.names,
        crops.names,
        tuple(cases.patient(name) for name in names),
        classifier(crops),
        classifier.plan.truth(cases.labels(names)) if labelled else None,
    )


def read_samples(settings: ClassifySettings, inputs: Path) -> tuple[Cases, ClassifySettings]:
    """The samples of a path, and the run's settings with it as their data.

    Raises:
        InputError: a table or scan that cannot be read.
        UsageError: another kind of data than the run's, or no table where it needs one.
    """
    if inputs.suffix.lower() in (".csv", ".npz"):
        told = settings.model_copy(update={"data": str(inputs)})
        if told.medmnist != settings.medmnist:
            raise UsageError(f"{inputs}: the run was trained on {settings.data}, give such a file")
        return read_cases(told, labelled=False), told
    if settings.medmnist:
        raise UsageError(f"{inputs}: the run was trained on a set of MedMNIST; give one (.npz)")
    if settings.around in ("mask", "centre"):
        raise UsageError(
            f"{inputs}: the run looks around the {settings.around} of its samples, which a table "
            "(.csv) tells; give one"
        )
    scans: Sequence[Sample] = [
        Sample(scan.name, scan.images[0], (), scan.name) for scan in find_scans(inputs)
    ]
    return Cases({scan.name: scan for scan in scans}), settings
