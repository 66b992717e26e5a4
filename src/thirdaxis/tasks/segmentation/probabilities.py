"""Class probabilities of a scan as one file, collected on disk however large they are."""

import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from thirdaxis.atomic import atomic_path
from thirdaxis.data.grid import onto
from thirdaxis.data.volume import Volume
from thirdaxis.tasks.segmentation.segmenter import Keep


@contextmanager
def probabilities_to(
    path: Path, scan: Volume, turned: Volume, labels: Mapping[int, str]
) -> Iterator[Keep]:
    """Takes probabilities as a segmenter gives them and writes them at the end.

    The file holds `probabilities` (classes, D, H, W), float16, on the scan's own grid, `affine`
    (4, 4), the voxel index (d, h, w, 1) to millimetres, RAS+, and `labels`, the names of the
    classes. Until then they lie in an unnamed file beside it.

    Args:
        path: the `.npz` to write, whole or not at all.
        scan: gives the grid of the file.
        turned: gives the grid of the rows that come, the scan's but for turned axes.
        labels: class -> name.

    Yields:
        What a segmenter takes as `keep`.

    Raises:
        OSError: the folder is missing, full or not writable.
    """
    with tempfile.TemporaryFile(dir=path.parent) as file:
        shape = (len(labels), *turned.shape)
        held = np.memmap(file, np.float16, "w+", shape=shape)

        def keep(value: int, start: int, rows: Tensor) -> None:
            held[value, start : start + len(rows)] = rows.numpy()

        yield keep
        with (
            atomic_path(path) as temporary,
            zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        ):
            with archive.open("probabilities.npy", "w", force_zip64=True) as stream:
                head = {
                    "descr": "<f2",
                    "fortran_order": False,
                    "shape": (len(labels), *scan.shape),
                }
                np.lib.format.write_array_header_1_0(stream, head)
                for one in held:  # one class in memory at a time
                    moved = onto(Volume(torch.from_numpy(one)[None], turned.affine), scan)
                    stream.write(moved.array.numpy().tobytes())
            names = np.array([labels[value] for value in sorted(labels)])
            for name, array in (("affine", scan.affine.numpy()), ("labels", names)):
                with archive.open(f"{name}.npy", "w") as stream:
                    np.lib.format.write_array(stream, array)
