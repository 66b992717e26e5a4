"""The end of pretraining by classification: the chosen weights as one file, judged and told."""

from typing import Any

import torch
from torch import Tensor, nn

from thirdaxis.atomic import write_text
from thirdaxis.data.photographs.pictures import Pictures
from thirdaxis.nets.kernels import first_kernels
from thirdaxis.nets.saved import fill_exactly
from thirdaxis.tasks.classification.evaluate import json_text
from thirdaxis.tasks.engine import Display
from thirdaxis.tasks.hardware import autocast, pick_device
from thirdaxis.tasks.keep import BEST, HISTORY, LAST, read_checkpoint, read_history, told_epochs
from thirdaxis.tasks.kernel_pictures import draw_kernels
from thirdaxis.tasks.pictures import draw_curves
from thirdaxis.tasks.pretraining.card import Pretrained, write_pretrained
from thirdaxis.tasks.pretraining.classify.data import held_loader
from thirdaxis.tasks.pretraining.classify.module import DAMAGE, counted, scores_of
from thirdaxis.tasks.pretraining.classify.network import make_pretrainee
from thirdaxis.tasks.pretraining.classify.settings import ClassifyPretrainSettings
from thirdaxis.tasks.run_folder import CURVES, METRICS, PICTURES, Run
from thirdaxis.tasks.run_page import recorded_results, write_run_page


def finish(
    run: Run[Any, Any], both: tuple[Pictures, Pictures], shown: Display
) -> dict[str, object]:
    """Writes the weights of the best epoch and their card, curves, scores and page.

    Args:
        run: a run whose epochs are done.
        both: its training and held-out pictures.
        shown: how the run shows itself.

    Returns:
        What `metrics.json` holds: the chosen epoch, its scores on the held-out pictures, what was
        damaged, steps and time.
    """
    settings, plan = run.settings, run.plan
    history = read_history(run.folder / HISTORY)
    epochs = told_epochs(history, "top-1")
    chosen = LAST if epochs["validation_top-1"] is None else BEST
    state = read_checkpoint(run.folder / chosen)["state_dict"]
    net = make_pretrainee(settings, len(plan.names), load=False).net
    inner = {k.removeprefix("net."): v for k, v in state.items() if k.startswith("net.")}
    fill_exactly(net, inner, f"{run.folder}: its checkpoint is not of its network")
    scores = judged(net, both[1], settings, shown)
    found = read_checkpoint(run.folder / LAST)[DAMAGE]
    counts = {
        "pictures": plan.training,
        "held-out pictures": plan.validation,
        "classes": len(plan.names),
        "damaged pictures left out": len(found["damaged"]),
        "pictures converted to RGB": len(found["converted"]),
    }
    file = write_pretrained(run.folder, net, settings, Pretrained.of(epochs, counts, scores))
    draw_curves(history, run.folder / CURVES)
    if settings.fusion == "i3d":
        (run.folder / PICTURES).mkdir(exist_ok=True)
        draw_kernels(first_kernels(net.state_dict()), run.folder / PICTURES / "first kernels.png")
    metrics: dict[str, object] = {
        **epochs,
        "training_pictures": plan.training,
        "held_out_pictures": plan.validation,
        "damaged": found["damaged"],
        "converted": len(found["converted"]),
        "scores": scores,
        "intervals": {},
    }
    write_text(run.folder / METRICS, json_text(metrics))
    write_run_page(run, recorded_results(run.folder))
    if found["damaged"]:
        shown.say(f"{len(found['damaged'])} damaged pictures were left out; see {METRICS}")
    numbers = ", ".join(f"{name} {value:.4f}" for name, value in scores.items())
    shown.say(f"held-out pictures: {numbers}; weights: {file}")
    return metrics


@torch.no_grad()
def judged(
    net: nn.Module, held: Pictures, settings: ClassifyPretrainSettings, shown: Display
) -> dict[str, float]:
    """Scores of a network on held-out pictures, on one device; damaged ones count nowhere."""
    device = pick_device(settings.accelerator)
    net = net.to(device).eval()
    sums: list[Tensor] = []
    with autocast(settings.precision, device):
        for batch in shown.watch(held_loader(held, settings), "judging"):  # type: ignore[arg-type]
            image, truth = batch["image"].to(device), batch["truth"].to(device)
            sums.append(counted(net(image), truth).cpu())
    return scores_of(torch.stack(sums).sum(0), len(held.classes))
