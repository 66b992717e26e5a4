import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import nibabel
import numpy as np
import pytest
import torch
from torch import nn

import thirdaxis

# The first call of a torch operation can take a second on a busy machine, whatever the example.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout, for tests that read the project's own files."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real scans and weights kept beside the checkout, too large to track."""
    named = os.environ.get("THIRDAXIS_SHARED")
    folder = Path(named) if named else REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set THIRDAXIS_SHARED to the folder that holds them")
    return folder


@pytest.fixture(scope="session")
def lively() -> Callable[[nn.Module], nn.Module]:
    """Calibrates batch norms on noise: with random weights a network would ignore its input."""

    def calibrated(net: nn.Module, channels: int = 3, side: int = 64) -> nn.Module:
        for norm in net.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.momentum = 1.0
        with torch.no_grad():
            net.train()(torch.randn(4, channels, side, side))
        return net.eval()

    return calibrated


PHANTOM_SPACING = (1.0, 1.2, 2.5)


def _phantom(number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A bright and a dark ellipsoid in noise, on a tilted grid that is not RAS, as (x, y, z)."""
    random = np.random.default_rng(number)
    shape = (20 + number % 3, 22 - number % 2, 9 + number % 2)
    grid = np.stack(np.meshgrid(*(np.arange(size) for size in shape), indexing="ij"), -1)
    labels = np.zeros(shape, np.uint8)
    for value, share in ((1, 0.35), (2, 0.65)):
        centre = np.array(shape) * (share, 0.5, 0.5) + random.uniform(-1, 1, 3)
        far = (((grid - centre) / (3.5, 5.0, 2.5)) ** 2).sum(-1)
        labels[far < 1] = value
    image = random.normal(100, 8, shape) + np.array([0.0, 90.0, -70.0])[labels]
    angle = 0.1 * number
    turn = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag(PHANTOM_SPACING) @ np.diag([-1, 1, 1 if number % 2 else -1])
    affine[:3, 3] = random.uniform(-50, 50, 3)
    return image.astype(np.float32), labels, affine


@pytest.fixture(scope="session")
def make_phantoms() -> Callable[[Path, int], Path]:
    """Writes a Decathlon folder of small synthetic scans; tests may then spoil their copy."""

    def make(root: Path, cases: int = 6) -> Path:
        training = []
        for folder in ("imagesTr", "labelsTr"):
            (root / folder).mkdir(parents=True)
        for number in range(cases):
            image, labels, affine = _phantom(number)
            name = f"phantom_{number:03d}.nii.gz"
            nibabel.save(nibabel.Nifti1Image(image, affine), root / "imagesTr" / name)
            nibabel.save(nibabel.Nifti1Image(labels, affine), root / "labelsTr" / name)
            training.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
        about = {
            "labels": {"0": "background", "1": "bright", "2": "dark"},
            "modality": {"0": "MRI"},
            "training": training,
        }
        (root / "dataset.json").write_text(json.dumps(about))
        return root

    return make


@pytest.fixture(scope="session")
def phantom_settings() -> dict[str, Any]:
    """A run on the phantoms that takes seconds: the own U-Net, two epochs of two steps."""
    return {
        "network": "unet",
        "fusion": "acs",
        "patch": [8, 16, 16],
        "batch": 2,
        "patches_per_volume": 1,
        "epochs": 2,
        "folds": 3,
        "learning_rate": 0.003,
        "accelerator": "cpu",
        "overlap": 0.25,
    }


@pytest.fixture(scope="session")
def phantom_run(
    tmp_path_factory: pytest.TempPathFactory,
    make_phantoms: Callable[[Path, int], Path],
    phantom_settings: dict[str, Any],
) -> Path:
    """A finished run on phantoms, to be read and not changed; its data lie beside it."""
    from thirdaxis.tasks.segment import make_settings, train

    place = tmp_path_factory.mktemp("phantoms")
    data = make_phantoms(place / "data", 6)
    train(make_settings({"data": str(data), **phantom_settings}, "test"), place / "run")
    return place / "run"


@pytest.fixture(scope="session")
def operator() -> Callable[[str, int], thirdaxis.Fusion]:
    """Settings of an operator of the table that suit volumes of so many slices."""

    def named(name: str, depth: int) -> thirdaxis.Fusion:
        return thirdaxis.A3D(depth=depth) if name == "a3d" else thirdaxis.FUSIONS[name]()

    return named


@pytest.fixture(scope="session")
def told() -> Callable[[str, torch.Tensor], dict[str, Any]]:
    """What a call has to give beside the volume for an operator of the table."""

    def named(name: str, volume: torch.Tensor) -> dict[str, Any]:
        if not thirdaxis.FUSIONS[name]().needs_thickness:
            return {}
        return {"thickness": torch.linspace(3.0, 6.0, len(volume), dtype=volume.dtype)}

    return named


@pytest.fixture(scope="session")
def browse() -> Iterator[Callable[..., dict[str, Any]]]:
    """Opens a page in headless Chromium and runs a script in it.

    Gives what the script `found`, the addresses of all `requests` but embedded data, and the
    `complaints` of the browser's console.
    """
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    binary = next(filter(None, map(shutil.which, names)), None)
    with playwright.sync_playwright() as driver:
        try:
            browser = driver.chromium.launch(executable_path=binary, args=["--no-sandbox"])
        except playwright.Error as fault:
            pytest.skip(f"no browser: {str(fault).splitlines()[0]}")

        def opened(page_file: Path, script: str, dark: bool = False) -> dict[str, Any]:
            page = browser.new_page(color_scheme="dark" if dark else "light")
            requests: list[str] = []
            complaints: list[str] = []
            page.on("request", lambda request: requests.append(request.url))
            page.on("console", lambda message: complaints.append(message.text))
            page.on("pageerror", lambda fault: complaints.append(str(fault)))
            page.goto(page_file.as_uri())
            found = page.evaluate(script)
            page.close()
            asked = [address for address in requests if not address.startswith("data:")]
            return {"found": found, "requests": asked, "complaints": complaints}

        yield opened
        browser.close()


@pytest.fixture
def double_precision() -> Iterator[None]:
    """Seeds torch and makes double precision its default, so that rounding says nothing."""
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)
