"""A short pretraining on photographs with boxes, on a synthetic set in COCO's form.

Small photographs of CIFAR-10 are pasted on canvases, which are other photographs, enlarged and out
of focus: pixels are real, scenes are not, and edges of boxes are easier to find than in life. The
table tells whether average precision on unseen photographs rises above that of the untrained
network, and above that of perfect boxes with labels by chance.

    python benchmarks/pasted.py natural_images_cifar10_subset.zip
"""

import argparse
import io
import json
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import tables
import torch
from PIL import Image, ImageFilter

from thirdaxis.data.coco import CocoSet
from thirdaxis.metrics.average_precision import average_precision_of_classes
from thirdaxis.tasks import runs
from thirdaxis.tasks.engine import Display
from thirdaxis.tasks.pretraining.detect.cases import part, read_photographs, split_photographs
from thirdaxis.tasks.pretraining.detect.module import scored
from thirdaxis.tasks.pretraining.detect.network import make_photograph_detector
from thirdaxis.tasks.pretraining.detect.summary import detect_photographs
from thirdaxis.tasks.run_folder import read_run
from thirdaxis.tasks.settings_files import make_settings, read_assignments

PARTS = {"train2017": "train", "val2017": "test"}
SIDES = (28, 56)
MOST = 3
FREE = 0.05  # overlap that two pasted pictures may have


def make_set(archive: Path, root: Path, classes: list[str], counts: list[int], side: int) -> None:
    """Writes a folder in COCO's layout.

    Args:
        archive: ZIP of photographs as train/CLASS/NAME.jpg and test/CLASS/NAME.jpg.
        root: a new folder.
        classes: that are pasted; canvases are of all others.
        counts: canvases for training and held out.
        side: of the square canvases, in pixels.
    """
    (root / "annotations").mkdir(parents=True)
    with zipfile.ZipFile(archive) as store:
        names = [name for name in store.namelist() if name.endswith(".jpg")]
        for (folder, origin), count in zip(PARTS.items(), counts, strict=True):
            of: dict[str, list[str]] = {}
            for name in names:
                first, label, _ = name.split("/")
                if first == origin:
                    of.setdefault(label, []).append(name)
            others = [name for label in of if label not in classes for name in of[label]]
            random = np.random.default_rng(len(folder))

            def photo(
                choices: list[str], store: zipfile.ZipFile = store, random: Any = random
            ) -> Image.Image:
                name = choices[int(random.integers(len(choices)))]
                return Image.open(io.BytesIO(store.read(name))).convert("RGB")

            (root / folder).mkdir()
            images, annotations = [], []
            for number in range(count):
                canvas = photo(others).resize((side, side), Image.Resampling.BICUBIC)
                canvas = canvas.filter(ImageFilter.GaussianBlur(side / 16))
                taken: list[tuple[int, int, int]] = []
                for _ in range(int(random.integers(1, MOST + 1))):
                    size = int(random.integers(*SIDES))
                    x, y = (int(v) for v in random.integers(0, side - size, 2))
                    if any(_shared((x, y, size), other) > FREE for other in taken):
                        continue
                    label = int(random.integers(len(classes)))
                    pasted = photo(of[classes[label]])
                    canvas.paste(pasted.resize((size, size), Image.Resampling.BICUBIC), (x, y))
                    taken.append((x, y, size))
                    annotations.append(
                        {"image_id": number, "category_id": label, "bbox": [x, y, size, size]}
                    )
                name = f"{number:05d}.jpg"
                canvas.save(root / folder / name, quality=95)
                images.append({"id": number, "file_name": name, "width": side, "height": side})
            told = {
                "info": {"description": "synthetic: CIFAR-10 photographs pasted on canvases"},
                "images": images,
                "annotations": annotations,
                "categories": [{"id": i, "name": name} for i, name in enumerate(classes)],
            }
            file = root / "annotations" / f"instances_{folder}.json"
            file.write_text(json.dumps(told), encoding="utf-8")


def _shared(one: tuple[int, int, int], other: tuple[int, int, int]) -> float:
    """Overlap of two squares over the smaller one."""
    sides = [min(a + one[2], b + other[2]) - max(a, b) for a, b in zip(one, other, strict=False)]
    return max(0, sides[0]) * max(0, sides[1]) / min(one[2], other[2]) ** 2


def by_chance(held: CocoSet) -> dict[str, float]:
    """Perfect boxes with labels and scores by chance."""
    random = np.random.default_rng(0)
    found = {}
    for one in held.pictures:
        labels = random.integers(1, len(held.names) + 1, len(one.boxes))
        found[one.name] = one.boxes, random.random(len(one.boxes)), labels
    truth = {one.name: (one.boxes, one.labels, one.crowds) for one in held.pictures}
    return average_precision_of_classes(found, truth)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path, help="ZIP of photographs, a folder each class")
    parser.add_argument("--classes", default="automobile,frog,ship")
    parser.add_argument("--canvases", type=int, nargs=2, default=[250, 80])
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--out", type=Path, help="run folder to keep")
    parser.add_argument("--set", action="append", default=[], help="any setting as NAME=VALUE")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "pasted"
        classes = told.classes.split(",")
        make_set(told.archive, root, classes, told.canvases, told.side)
        values = {
            "task": "pretrain-detect",
            "data": str(root),
            "data_name": "CIFAR-10 photographs pasted on canvases (synthetic)",
            "network": "p3d:18ba-gn",
            "scales": [told.side - 16, told.side, told.side + 16],
            "size": told.side,
            "width": 64,
            "hidden": 128,
            "anchors": [16, 32, 64, 128, 256],
            "proposals_before": [300, 300],
            "proposals_after": [200, 100],
            "batch": 4,
            "epochs": told.epochs,
            "validate_every": 2,
            "optimiser": "adamw",
            "reference_batch": None,
            "learning_rate": 5e-4,
            "warmup": 30,
            "accelerator": "cpu" if not torch.cuda.is_available() else "gpu",
            **read_assignments(told.set),
        }
        settings: Any = make_settings(values, "benchmark")
        out = told.out or Path(place) / "run"
        start = time.process_time()
        metrics: Any = runs.train(settings, out, Display(say=lambda line: print(line, flush=True)))
        minutes = (time.process_time() - start) / 60
        run = read_run(out)
        sets = read_photographs(run.settings, print)
        held = part(sets[1], split_photographs(sets, run.settings)[1])
        fresh = make_photograph_detector(run.settings, run.plan).net.eval()
        rows = {
            "untrained network": scored(
                detect_photographs(fresh, held, run.settings), held.pictures
            )[0],
            "perfect boxes, labels by chance": by_chance(held),
            "trained": metrics["scores"],
        }
    lines = [
        f"{run.plan.pictures} synthetic canvases of {told.side} pixels with {run.plan.boxes} "
        f"photographs of CIFAR-10 pasted on them ({', '.join(classes)}), {metrics['epochs']} "
        f"epochs of batches of {settings.batch} with {settings.network} from a random start, "
        f"{minutes:.1f} minutes of one core for all of it; scored on {len(held.pictures)} canvases "
        "of other photographs. The set is made, and says nothing of MS-COCO.",
        "",
        "| | AP | AP at 0.5 | AP at 0.75 |",
        "|---|---|---|---|",
    ]
    for name, found in rows.items():
        numbers = [found.get(key, float("nan")) for key in ("ap", "ap50", "ap75")]
        lines.append(f"| {name} | " + " | ".join(f"{value:.3f}" for value in numbers) + " |")
    packages = tables.versions("torchvision", "lightning", "pycocotools")
    tables.leave("pasted", "Pretraining on pasted photographs", [*lines, "", packages])


if __name__ == "__main__":
    main()
