"""A classification run on stand-ins for its boxes: one step of training, one prediction."""

from collections.abc import Callable
from pathlib import Path

import torch

from thirdaxis.data.medmnist import SETS
from thirdaxis.tasks.classify_cases import in_order
from thirdaxis.tasks.classify_crops import Crops, intensity_of
from thirdaxis.tasks.classify_data import ClassifyData
from thirdaxis.tasks.classify_module import ClassifyModule
from thirdaxis.tasks.classify_network import make_classifier
from thirdaxis.tasks.classify_plan import ClassifyPlan
from thirdaxis.tasks.classify_predict import Classifier
from thirdaxis.tasks.classify_settings import ClassifySettings
from thirdaxis.tasks.cost import cost_of, smallest_patch

SIDE = 64
SAMPLES = 4


def dry_run(settings: ClassifySettings, say: Callable[[str], None], *, step: bool = True) -> None:
    """Goes through a run without its data: the real network counted, a small one trained a step.

    Args:
        settings: of the run; its data need not exist.
        say: told line by line what came out.
        step: whether to train and predict besides counting.

    Raises:
        ThirdaxisError: whatever would stop the run, but for absent data and weights.
    """
    plan = stand_in_plan(settings, size_of(settings))
    with torch.device("meta"):
        net = make_classifier(settings, plan, load=False).net
    cost = cost_of(net, (settings.batch, 1, *plan.size), settings.optimiser)
    say(f"network: {settings.network} by {settings.fusion}: {cost}")
    say(f"batch: {(settings.batch, 1, *plan.size)} to {cost.answer}")
    if not step:
        return
    d, h, w = smallest_patch(net, 1, plan.size)
    absent = settings.weights is not None and not Path(settings.weights).is_file()
    if absent:
        say(f"weights: {settings.weights} not loaded; a random start stands in")
    changes = {"batch": 2, "epoch_steps": 1, "workers": 0, "devices": 1, "accelerator": "cpu"}
    told = settings.model_copy(update={**changes, **({"weights": None} if absent else {})})
    loss, answers = _one_step(told, stand_in_plan(settings, (d, h, w)))
    say(f"one step on stand-ins in boxes of {d}×{h}×{w}: loss {loss:.4f}")
    say(f"answers to {len(answers)} held-out stand-ins: {tuple(answers.shape)}")


def size_of(settings: ClassifySettings) -> tuple[int, int, int]:
    """The size of the boxes as far as the settings tell; 64 voxels a side where the data do."""
    if settings.size is not None:
        return settings.size
    if settings.size_mm is not None and settings.spacing is not None:
        pairs = zip(settings.size_mm, settings.spacing, strict=True)
        d, h, w = (max(1, round(length / step)) for length, step in pairs)
        return d, h, w
    side = 28 if settings.medmnist and not settings.data.endswith("_64.npz") else SIDE
    return side, side, side


def stand_in_plan(settings: ClassifySettings, size: tuple[int, int, int]) -> ClassifyPlan:
    """Classes as far as the settings tell; two where the data do."""
    known = SETS.get(Path(settings.data).stem.removesuffix("_64"))
    names: tuple[str, ...] = settings.label_columns
    if settings.kind == "classes":
        mapped = tuple(
            sorted(set((settings.classes or {"0": "0", "1": "1"}).values()), key=in_order)
        )
        names = settings.class_names or (known.labels if known else mapped)
    counts = (SAMPLES,) * len(names)
    return ClassifyPlan(settings.kind, names, counts, 1, size, mean=0.5, spread=1.0)


def _one_step(settings: ClassifySettings, plan: ClassifyPlan) -> tuple[float, torch.Tensor]:
    random = torch.Generator().manual_seed(settings.seed)
    margin = settings.shift()
    sides = [side + 2 * margin for side in plan.size]
    number = SAMPLES * plan.outputs
    boxes = tuple(torch.randn(1, *sides, generator=random) for _ in range(number))
    names = tuple(f"stand-in {n}" for n in range(number))
    crops = Crops(names, boxes, margin, (1.0,) * number, intensity_of(settings))
    truth = torch.arange(number) % plan.outputs
    if plan.kind == "labels":
        truth = torch.randint(2, (number, plan.outputs), generator=random)
    elif plan.kind == "grade":
        truth = torch.arange(number).float()
    net = make_classifier(settings, plan).net
    module = ClassifyModule(net, settings, plan, steps=1, training=2 * SAMPLES)
    (optimiser,), _ = module.configure_optimizers()
    batch = next(iter(ClassifyData((crops, truth), None, settings).train_dataloader()))
    loss = module.loss(module(batch["image"], batch["thickness"]), batch["truth"])
    loss.backward()
    optimiser.step()
    answers = Classifier(net.eval(), settings, plan, torch.device("cpu"))(crops)
    return float(loss.detach()), answers
