"""A segmentation run on stand-ins for its data: one step of training, one prediction."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from thirdaxis.data.patients import TABLE
from thirdaxis.data.stand_in import write_stand_in, write_table
from thirdaxis.tasks.cost import cost_of, smallest_patch
from thirdaxis.tasks.engine import no_watch
from thirdaxis.tasks.plan import Plan
from thirdaxis.tasks.prepare import LARGEST_PATCH, data_folder, make_plan, prepare
from thirdaxis.tasks.preprocess import preprocessing
from thirdaxis.tasks.run_folder import cases_named, split_cases
from thirdaxis.tasks.segment_data import SegmentData
from thirdaxis.tasks.segment_module import SegmentModule
from thirdaxis.tasks.segment_network import make_network
from thirdaxis.tasks.segment_regions import scored
from thirdaxis.tasks.segment_settings import SegmentSettings
from thirdaxis.tasks.windows import logits_of

CASES = 4


def classes_of(settings: SegmentSettings) -> dict[int, str]:
    """Label value -> name of a stand-in data set: two classes where the settings name none."""
    values = {value for group in (settings.labels or {}).values() for value in group} or {1, 2}
    return {value: f"value {value}" if value else "background" for value in range(max(values) + 1)}


def write_data(settings: SegmentSettings, patch: tuple[int, int, int], root: Path) -> None:
    """Writes the stand-ins: scans a little larger than a patch, and the table of patients if any.

    Args:
        settings: give spacing, the window of intensities, label values and the table.
        patch: (d, h, w).
        root: an empty folder.
    """
    told = settings.spacing if isinstance(settings.spacing, tuple) else (1.0, 1.0, 1.0)
    names = write_stand_in(
        root,
        (patch[0] + 3, *patch[1:]),
        classes_of(settings),
        cases=CASES,
        spacing=[step or 1.0 for step in told],
        between=settings.window or (0.0, 1000.0),
        seed=settings.seed,
    )
    if table := TABLE.match(settings.patient or ""):
        rows = [(name, f"patient {number}") for number, name in enumerate(names)]
        write_table(root / table["file"], ("file", table["column"]), rows)


def shrunk(settings: SegmentSettings, patch: tuple[int, int, int], data: Path) -> SegmentSettings:
    """The same run on stand-ins: a step of two small patches on the CPU."""
    listed = TABLE.match(settings.patient or "") is not None
    absent = settings.weights is not None and not Path(settings.weights).is_file()
    return settings.model_copy(
        update={
            "data": str(data),
            "patch": patch,
            "batch": 2,
            "epochs": 1,
            "epoch_steps": 1,
            "folds": 2,
            "fold": 0,
            "fraction": 1.0,
            "patient": settings.patient if listed else None,
            "weights": None if absent else settings.weights,
            "cache": None,
            "workers": 0,
            "devices": 1,
            "accelerator": "cpu",
        }
    )


def dry_run(settings: SegmentSettings, say: Callable[[str], None], *, step: bool = True) -> None:
    """Goes through a run without its data: the real network counted, a small one trained a step.

    Args:
        settings: of the run; its data need not exist.
        say: told line by line what came out.
        step: whether to train and predict besides counting.

    Raises:
        ThirdaxisError: whatever would stop the run, but for absent data and weights.
    """
    patch = settings.patch or LARGEST_PATCH
    names = (
        ["background", *settings.labels] if settings.labels else list(classes_of(settings).values())
    )
    scored(settings, dict(enumerate(names)))
    plan = Plan(dict(enumerate(names)), ("stand-in",), None, 1.0, patch)
    with torch.device("meta"):
        net = make_network(settings, plan, load=False).net
    cost = cost_of(net, (settings.batch, 1, *patch), settings.optimiser)
    say(f"network: {settings.network} by {settings.fusion}: {cost}")
    say(f"batch: {(settings.batch, 1, *patch)} to {cost.answer}")
    if not step:
        return
    d, h, w = smallest_patch(net, 1, patch)
    small = (d, h, w)
    with tempfile.TemporaryDirectory(prefix="thirdaxis-dry-") as place:
        write_data(settings, small, Path(place))
        told = shrunk(settings, small, Path(place))
        if told.weights != settings.weights:
            say(f"weights: {settings.weights} not loaded; a random start stands in")
        loss, answer = _one_step(told)
    say(f"one step on stand-ins in patches of {'×'.join(map(str, small))}: loss {loss:.4f}")
    say(f"prediction of a held-out stand-in: {tuple(answer.shape)}")


def _one_step(settings: SegmentSettings) -> tuple[float, Tensor]:
    folder = data_folder(settings)
    training, validation = (cases_named(folder, n) for n in split_cases(settings, folder))
    plan = make_plan(settings, folder, training, no_watch)
    net = make_network(settings, plan).net
    steps = preprocessing(settings, plan)
    both = [prepare(cases, plan, steps, None, no_watch, "") for cases in (training, validation)]
    data = SegmentData(both[0], both[1], settings, plan)
    module = SegmentModule(net, settings, plan, steps=1)
    (optimiser,), _ = module.configure_optimizers()
    loss = module.training_step(next(iter(data.train_dataloader())), 0)
    loss.backward()
    optimiser.step()
    scan = both[1][0]
    answer = logits_of(
        net.eval(), scan.image, plan.patch, settings.overlap, thickness=scan.spacing[0]
    )
    return float(loss.detach()), answer
