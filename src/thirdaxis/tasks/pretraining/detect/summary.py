"""The end of a pretraining on photographs with boxes: the score, the file of weights, its card."""

import math
from typing import Any

import torch
from torch import nn

from thirdaxis.atomic import write_text
from thirdaxis.data.coco import CocoSet
from thirdaxis.nets.saved import fill_exactly
from thirdaxis.tasks.classification.evaluate import json_text
from thirdaxis.tasks.engine import Display, Watch, no_watch
from thirdaxis.tasks.hardware import autocast, pick_device
from thirdaxis.tasks.keep import BEST, HISTORY, LAST, read_checkpoint, read_history, told_epochs
from thirdaxis.tasks.pictures import draw_curves
from thirdaxis.tasks.pretraining.card import Pretrained, write_pretrained
from thirdaxis.tasks.pretraining.detect.cases import part
from thirdaxis.tasks.pretraining.detect.data import Photographs, held_loader
from thirdaxis.tasks.pretraining.detect.module import DAMAGE, Found, on_picture, scored
from thirdaxis.tasks.pretraining.detect.network import make_photograph_detector
from thirdaxis.tasks.pretraining.detect.settings import DetectPretrainSettings
from thirdaxis.tasks.run_folder import CURVES, METRICS, Run
from thirdaxis.tasks.run_page import recorded_results, write_run_page


def detect_photographs(
    net: nn.Module, coco: CocoSet, settings: DetectPretrainSettings, watch: Watch = no_watch
) -> dict[str, Found]:
    """What a trained detector finds on pictures, by name; damaged ones are left out.

    Args:
        net: an `SvdDetector` in evaluation mode, on the device to run on.
        coco: the pictures.
        settings: of its run.
        watch: wraps the batches.
    """
    device = next(net.parameters()).device
    pictures = Photographs(coco, settings, training=False)
    found = {}
    loader = held_loader(pictures, settings.batch, settings.workers)
    for batch in watch(loader, "looking at pictures"):  # type: ignore[arg-type]
        with torch.inference_mode(), autocast(settings.precision, device):
            answers = net(batch["image"].to(device))
        told = zip(batch["number"].tolist(), batch["fitted"].tolist(), answers, strict=True)
        for number, fitted, answer in told:
            one = coco.pictures[number]
            if pictures.name(number) not in batch["damaged"]:
                found[one.name] = on_picture(answer, fitted, one.size)
    return found


def finish(run: Run[Any, Any], sets: tuple[CocoSet, CocoSet], shown: Display) -> dict[str, object]:
    """Scores the chosen network on the held-out pictures and writes the file of its weights.

    Args:
        run: a run whose epochs are done.
        sets: its data.
        shown: how the run shows itself.

    Returns:
        What `metrics.json` holds: the chosen epoch, average precision on the held-out pictures over
        all categories and of each, steps and time.
    """
    settings, plan, folder = run.settings, run.plan, run.folder
    history = read_history(folder / HISTORY)
    epochs = told_epochs(history, "ap")
    chosen = LAST if epochs["validation_ap"] is None else BEST
    net = _filled(run, chosen).to(pick_device(settings.accelerator))
    held = part(sets[1], run.validation)
    found = detect_photographs(net, held, settings, shown.watch)
    numbers, classes = scored(found, held.pictures)
    by_name = {f"ap of {plan.names[label - 1]}": ap for label, ap in sorted(classes.items())}
    known = {name: value for name, value in (numbers | by_name).items() if not math.isnan(value)}
    pictures = read_checkpoint(folder / LAST)[DAMAGE]
    metrics: dict[str, object] = {
        **epochs,
        "training_pictures": plan.pictures,
        "training_boxes": plan.boxes,
        "categories": len(plan.names),
        "held_out_pictures": len(held.pictures),
        "held_out_boxes": sum(int((~one.crowds).sum()) for one in held.pictures),
        "damaged": pictures["damaged"],
        "converted": len(pictures["converted"]),
        "scores": known,
        "intervals": {},
    }
    write_text(folder / METRICS, json_text(metrics))
    draw_curves(history, folder / CURVES)
    write_run_page(run, recorded_results(folder))
    if pictures["damaged"]:
        shown.say(f"{len(pictures['damaged'])} damaged pictures were left out; see {METRICS}")
    data = {
        "pictures": plan.pictures,
        "boxes": plan.boxes,
        "categories": len(plan.names),
        "held-out pictures": plan.held_out,
        "damaged pictures left out": len(pictures["damaged"]),
        "pictures converted to RGB": len(pictures["converted"]),
    }
    scores = {name: known[name] for name in numbers if name in known}
    file = write_pretrained(folder, net, settings, Pretrained.of(epochs, data, scores))
    shown.say(
        f"held-out pictures: AP {numbers['ap']:.4f}, at an overlap of 0.5 {numbers['ap50']:.4f}, "
        f"{len(held.pictures)} pictures; weights: {file}"
    )
    return metrics


def _filled(run: Run[Any, Any], name: str) -> nn.Module:
    """The network of a checkpoint, on the CPU, in evaluation mode."""
    net = make_photograph_detector(run.settings, run.plan, load=False).net
    state = read_checkpoint(run.folder / name)["state_dict"]
    inner = {k.removeprefix("net."): v for k, v in state.items() if k.startswith("net.")}
    fill_exactly(net, inner, f"{run.folder / name}: does not fit the run's network")
    return net.eval()
