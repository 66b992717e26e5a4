"""How many photographs a second one core reads, decodes and varies, and a network learns.

Pictures are made up, 500 x 400 pixels of smooth colours with noise as JPEG, in folders and in
shards; and those of a zip of folders, such as `natural_images_cifar10_subset.zip`. What is timed is
what training calls for each sample, in the process's own seconds, which other work on the machine
lengthens little: with several worker processes there are as many times more.

A training step is forward, backward and the optimiser's, on a batch that is there already; its
column is what a network takes in a second, so that a look at both tells how many workers feed it.

    python benchmarks/photographs.py --pictures 200 --zip natural_images_cifar10_subset.zip
    python benchmarks/photographs.py --device cuda --batch 256 --size 224 --precision bf16-mixed
"""

import argparse
import io
import os
import statistics
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tables
import torch
from PIL import Image

from thirdaxis.data.photographs.decode import decode
from thirdaxis.data.photographs.folder import read_photo_folder
from thirdaxis.data.photographs.pictures import Pictures
from thirdaxis.data.photographs.shards import read_shards
from thirdaxis.tasks.hardware import autocast
from thirdaxis.tasks.pretraining.classify.data import TrainingViews
from thirdaxis.tasks.pretraining.classify.network import make_pretrainee
from thirdaxis.tasks.pretraining.classify.settings import ClassifyPretrainSettings
from thirdaxis.tasks.schedule import optimiser_of
from thirdaxis.tasks.settings_files import make_settings

CLASSES = ("a", "b")
HEIGHT, WIDTH = 400, 500


def made_up(root: Path, count: int) -> None:
    """Writes JPEGs in folders of two classes, and the same in one shard."""
    random = np.random.default_rng(0)
    (root / "folder").mkdir()
    with tarfile.open(root / "made-0.tar", "w") as tar:
        for number in range(count):
            small = Image.fromarray(random.integers(0, 256, (25, 32, 3), dtype=np.uint8))
            smooth = np.asarray(small.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), float)
            pixels = (smooth + random.normal(0, 12, smooth.shape)).clip(0, 255).astype(np.uint8)
            out = io.BytesIO()
            Image.fromarray(pixels).save(out, "JPEG", quality=90)
            label = number % 2
            place = root / "folder" / CLASSES[label]
            place.mkdir(exist_ok=True)
            (place / f"{number}.jpg").write_bytes(out.getvalue())
            for ending, content in (("jpg", out.getvalue()), ("cls", str(label).encode())):
                info = tarfile.TarInfo(f"{number:06d}.{ending}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))


def settings_of(**told: object) -> ClassifyPretrainSettings:
    """Settings of a run that is never begun."""
    settings = make_settings({"task": "pretrain-classify", "data": "none", **told}, "benchmark")
    assert isinstance(settings, ClassifyPretrainSettings)
    return settings


def a_second(call: Callable[[int], object], count: int) -> float:
    """Calls a second of the process's own time, over numbers from 0."""
    call(0)
    begin = time.process_time()
    for number in range(count):
        call(number)
    return count / (time.process_time() - begin)


def loading(name: str, pictures: Pictures, size: int, count: int) -> list[str]:
    """Rows of pictures a second: read, decoded too, and as training has them."""
    count = min(count, len(pictures))
    rows = []
    read = a_second(pictures.content, count)
    decoded = a_second(lambda number: decode(pictures.content(number)), count)
    bytes_each = statistics.mean(len(pictures.content(n)) for n in range(count)) / 1000
    shape = tuple(decode(pictures.content(0))[0].shape[1:])
    for augment in ("resized_crop", "crop", "padded_crop"):
        views = TrainingViews(pictures, settings_of(size=size, augment=augment), 0)
        whole = a_second(views.__getitem__, count)
        rows.append(
            f"| {name} | {shape[1]}×{shape[0]}, {bytes_each:.1f} kB | {augment} to {size} "
            f"| {read:,.0f} | {decoded:,.0f} | {whole:,.0f} |"
        )
    return rows


def learning(
    told: argparse.Namespace, network: str, transform: str, precision: str, channels_last: bool
) -> str:
    """A row of a training step: the median of some, after one that is not counted."""
    settings = settings_of(
        network=network, transform=transform, size=told.size, precision=precision
    )
    device = torch.device(told.device)
    net = make_pretrainee(settings, 1000).net.to(device)
    optimiser = optimiser_of(settings, net.parameters())
    image = torch.randn(told.batch, *settings.sample, device=device)
    if channels_last:
        layout = torch.channels_last_3d if image.ndim == 5 else torch.channels_last
        image = image.to(memory_format=layout)
    truth = torch.randint(0, 1000, (told.batch,), device=device)

    def step() -> None:
        with autocast(precision, device):
            logits = net(image)
        loss = torch.nn.functional.cross_entropy(logits.float(), truth, label_smoothing=0.1)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    own_time = device.type == "cpu" and torch.get_num_threads() == 1
    clock = time.process_time if own_time else time.perf_counter
    seconds = []
    for _ in range(told.steps + 1):
        begin = clock()
        step()
        seconds.append(clock() - begin)
    middle = statistics.median(seconds[1:])
    layout_word = "together" if channels_last else "apart"
    return (
        f"| {network}{', in 2D' if transform == 'none' else ''} | {told.batch} of {told.size} "
        f"| {precision} | {layout_word} | {middle:.3f} | {told.batch / middle:,.1f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--zip", type=Path, help="folders of classes, in train/ or at its top")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--small", type=int, default=32, help="size for the pictures of the zip")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=3, help="0 times no network")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", nargs="+", default=["32", "bf16-mixed"])
    parser.add_argument("--network", nargs="+", default=["resnet3d:18", "torchvision:resnet18"])
    told = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    busy = os.getloadavg()[0]
    lines = [
        "| pictures | stored as | augmentation | read /s | and decoded /s | and varied /s |",
        "|---|---|---|---:|---:|---:|",
    ]
    with tempfile.TemporaryDirectory(prefix="thirdaxis-photographs-") as place:
        root = Path(place)
        if told.pictures:
            made_up(root, told.pictures)
            folder, shard = read_photo_folder(root / "folder"), read_shards(f"{root}/made-0.tar")
            lines += loading("folder, made up", folder, told.size, told.pictures)
            lines += loading("shard, made up", shard, told.size, told.pictures)
        if told.zip is not None:
            with zipfile.ZipFile(told.zip) as archive:
                archive.extractall(root / "zip")
            inner = root / "zip" / "train"
            real = read_photo_folder(inner if inner.is_dir() else root / "zip")
            lines += loading(told.zip.stem, real, told.small, 10 * told.pictures)
    if told.steps:
        lines += [
            "",
            "| network | batch | precision | channels | seconds a step | pictures /s |",
            "|---|---|---|---|---:|---:|",
        ]
        for network in told.network:
            transform = "none" if network.startswith(("torchvision:", "timm:")) else None
            for precision in told.precision:
                for channels_last in (False, True):
                    kind = transform or "variable_dimension"
                    lines.append(learning(told, network, kind, precision, channels_last))
    kind = torch.cuda.get_device_name() if told.device == "cuda" else "CPU"
    where = tables.versions("torch", "torchvision", "Pillow")
    load = tables.threads_and_load(torch.get_num_threads(), busy)
    lines += ["", f"{where}; networks on {kind}. {load}"]
    tables.leave("photographs", "Photographs a second, for one core and for a network", lines)


if __name__ == "__main__":
    main()
