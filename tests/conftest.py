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


def _lidc_xml(series: str, sessions: list[str]) -> str:
    """An XML file in LIDC-IDRI's own form around the readers' sessions."""
    read = "".join(
        "<readingSession><annotationVersion>3.12</annotationVersion>"
        f"<servicingRadiologistID>anonymous</servicingRadiologistID>{marks}</readingSession>"
        for marks in sessions
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<LidcReadMessage uid="1.3.6.1.4.1.14519.5.2.1.6279.6001.1307390687803.0" '
        'xmlns="http://www.nih.gov" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        'xsi:schemaLocation="http://www.nih.gov http://troll.rad.med.umich.edu/lidc/Lidc.xsd">'
        "<ResponseHeader><Version>1.8.1</Version><MessageId>-421198203</MessageId>"
        "<TaskDescription>Second unblinded read</TaskDescription>"
        f"<SeriesInstanceUid>{series}</SeriesInstanceUid>"
        f"<StudyInstanceUID>{series}.9</StudyInstanceUID></ResponseHeader>{read}</LidcReadMessage>"
    )


def _lidc_roi(uid: str, z: float, picture: np.ndarray, inclusion: str) -> str:
    """The outline through the first pixels outside a picture's one convex blob, in order."""
    from scipy.ndimage import binary_dilation, center_of_mass

    outside = np.argwhere(binary_dilation(picture) & ~picture)
    away = outside - center_of_mass(picture)
    points = outside[np.argsort(np.arctan2(away[:, 0], away[:, 1]))]
    edges = "".join(
        f"<edgeMap><xCoord>{x}</xCoord><yCoord>{y}</yCoord></edgeMap>" for y, x in points
    )
    return (
        f"<roi><imageZposition>{z}</imageZposition><imageSOP_UID>{uid}</imageSOP_UID>"
        f"<inclusion>{inclusion}</inclusion>{edges}</roi>"
    )


class LidcPatient:
    """A synthetic patient of LIDC-IDRI: what `make_lidc` wrote, and what is true of it."""

    spacing = (2.0, 0.8, 0.7)  # mm along (d, h, w)
    shape = (30, 72, 64)
    balls = (((20.0, 20.0, 15.0), 7.0), ((42.0, 40.0, 30.0), 5.0))  # (d, h, w) mm, radius mm
    hole = ((42.0, 40.0, 30.0), 2.5)

    def __init__(self, folder: Path, series: str, patient: str) -> None:
        self.folder, self.series, self.patient = folder, series, patient
        self.origin = np.array([-30.0, 14.0, -90.0])  # LPS mm

    def inside(self, ball: tuple[tuple[float, ...], float], change: float = 0.0) -> np.ndarray:
        """Voxels of the scan within a ball, its radius changed by some mm."""
        centre, radius = ball
        grid = np.moveaxis(np.indices(self.shape), 0, -1) * self.spacing
        return ((grid - centre) ** 2).sum(-1) < (radius + change) ** 2

    def reading(self, reader: int, number: int) -> np.ndarray:
        """Voxels that a reader calls nodule: each draws a little larger than the one before."""
        drawn = self.inside(self.balls[number], (-0.6, -0.2, 0.2, 0.6)[reader])
        return drawn & ~self.inside(self.hole) if number == 1 and reader < 2 else drawn

    def uid(self, d: int) -> str:
        """SOP Instance UID of a slice."""
        return f"{self.series}.{d + 1}"

    def write(self, ratings: list[list[int | None]]) -> None:
        """Writes the series and its XML; `ratings[number][reader]` is a malignancy or no mark."""
        self.folder.mkdir(parents=True)
        image = np.full(self.shape, -850, np.int16)
        for ball in self.balls:
            image[self.inside(ball)] = 60
        for d, pixels in enumerate(image):
            self._write_slice(d, pixels)
        sessions = [
            "".join(self._nodule(r, n, row[r]) for n, row in enumerate(ratings))
            for r in range(len(ratings[0]))
        ]
        point = "<edgeMap><xCoord>9</xCoord><yCoord>9</yCoord></edgeMap>"
        sessions[0] += (
            "<unblindedReadNodule><noduleID>small</noduleID><roi>"
            f"<imageZposition>{self.height(25)}</imageZposition><imageSOP_UID>{self.uid(25)}"
            f"</imageSOP_UID><inclusion>TRUE</inclusion>{point}</roi></unblindedReadNodule>"
        )
        sessions[1] += (
            f"<nonNodule><nonNoduleID>1</nonNoduleID><imageZposition>{self.height(3)}"
            f"</imageZposition><imageSOP_UID>{self.uid(3)}</imageSOP_UID>"
            "<locus><xCoord>5</xCoord><yCoord>6</yCoord></locus></nonNodule>"
        )
        (self.folder / "069.xml").write_text(_lidc_xml(self.series, sessions), encoding="utf-8")

    def height(self, d: int) -> float:
        """z of a slice, LPS mm."""
        return float(self.origin[2] + d * self.spacing[0])

    def _nodule(self, reader: int, number: int, malignancy: int | None) -> str:
        if malignancy is None:
            return ""
        drawn = self.inside(self.balls[number], (-0.6, -0.2, 0.2, 0.6)[reader])
        parts = [(drawn, "TRUE")]
        if number == 1 and reader < 2:
            parts.append((self.inside(self.hole), "FALSE"))
        rois = "".join(
            _lidc_roi(self.uid(d), self.height(d), picture, inclusion)
            for part, inclusion in parts
            for d, picture in enumerate(part)
            if picture.any()
        )
        rated = "".join(
            f"<{key}>{value}</{key}>"
            for key, value in (
                *(("subtlety", 5), ("internalStructure", 1), ("calcification", 6)),
                *(("sphericity", 5), ("margin", 5), ("lobulation", 1)),
                *(("spiculation", 1 + number), ("texture", 5), ("malignancy", malignancy)),
            )
        )
        return (
            f"<unblindedReadNodule><noduleID>Nodule {number}{reader}</noduleID>"
            f"<characteristics>{rated}</characteristics>{rois}</unblindedReadNodule>"
        )

    def _write_slice(self, d: int, pixels: np.ndarray) -> None:
        import SimpleITK as sitk

        image = sitk.GetImageFromArray(pixels[None])  # HU: the writer stores them shifted
        image.SetSpacing(self.spacing[::-1])
        x, y, _ = self.origin
        tags = {
            **{"0008|0060": "CT", "0010|0020": self.patient, "0018|0050": "2.0"},
            **{"0020|000e": self.series, "0020|000d": f"{self.series}.9"},
            **{"0008|0018": self.uid(d), "0020|0013": str(50 - d)},
            **{"0020|0032": f"{x}\\{y}\\{self.height(d)}", "0020|0037": "1\\0\\0\\0\\1\\0"},
            **{"0028|1052": "-1024", "0028|1053": "1"},
        }
        for key, value in tags.items():
            image.SetMetaData(key, value)
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetFileName(str(self.folder / f"1-{50 - d:03d}.dcm"))
        writer.Execute(image)


@pytest.fixture(scope="session")
def make_lidc() -> Callable[[Path, str, str, list[list[int | None]]], LidcPatient]:
    """Writes a CT series of balls with four readers' XML file, as LIDC-IDRI lies on disk."""

    def make(root: Path, series: str, patient: str, ratings: list[list[int | None]]) -> LidcPatient:
        made = LidcPatient(root / patient / "study" / series, series, patient)
        made.write(ratings)
        return made

    return make


@pytest.fixture(scope="session")
def finished_run() -> Callable[..., Path]:
    """Writes what a finished run of any task leaves of its settings and scores, without training.

    `cases` are held-out scans with their Dice; `answers` are samples with patient, class and the
    probability of the second class.
    """
    from thirdaxis.tasks.settings_files import make_settings

    def write(
        folder: Path,
        told: dict[str, Any],
        scores: dict[str, Any] | None,
        cases: dict[str, float] | None = None,
        answers: list[tuple[str, str, int, float]] | None = None,
    ) -> Path:
        folder.mkdir(parents=True)
        settings = make_settings({"data": "/data/scans", **told}, "test").plain()
        (folder / "settings.yaml").write_text(json.dumps(settings), encoding="utf-8")
        if scores is not None:
            content = json.dumps({"epochs": 1, "scores": scores, "seconds": 1.5})
            (folder / "metrics.json").write_text(content, encoding="utf-8")
        if cases is not None:
            (folder / "validation").mkdir()
            rows = ["case,mean_dice", *(f"{name},{value}" for name, value in cases.items())]
            (folder / "validation" / "scores.csv").write_text("\n".join(rows), encoding="utf-8")
        if answers is not None:
            rows = ["sample,patient,truth,decided,probability 0,probability 1"]
            rows += [
                f"{sample},{patient},{truth},{int(p >= 0.5)},{1 - p},{p}"
                for sample, patient, truth, p in answers
            ]
            (folder / "predictions.csv").write_text("\n".join(rows), encoding="utf-8")
        return folder

    return write
