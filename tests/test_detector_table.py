"""The table of parts that `benchmarks/detector.py` prints, against the papers."""

import importlib
import sys

import pytest

from thirdaxis.nets.lesion.settings import DetectorSettings

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def benchmark(repository):
    sys.path.insert(0, str(repository / "benchmarks"))
    try:
        yield importlib.import_module("detector")
    finally:
        sys.path.remove(str(repository / "benchmarks"))


def test_multiply_accumulates_are_the_published_ones(benchmark):
    told = benchmark.parts(DetectorSettings(depth=3), 512)
    assert told.as_printed == pytest.approx(40.64, abs=0.0051)
    assert sum(told.parameters.values()) == pytest.approx(70.53, abs=0.01)
    laterals = 512 * (256 * 128**2 + 512 * 64**2 + 1024 * 32**2) / 1e9
    reductions = 3 * (256**2 * 128**2 + 512**2 * 64**2 + 1024**2 * 32**2) / 1e9
    heads = {
        "reductions": reductions,
        "pyramid": laterals,
        "proposals": 128**2 * 512 * (9 * 512 + 18 * 5) / 1e9,
        "box head": 300 * (25088 * 2048 + 2048 * 2048 + 2048 * 10) / 1e9,
        "mask head": 50 * 256 * 196 * (9 * 512 + 3 * 9 * 256 + 4 * 256 + 4 * 2) / 1e9,
    }
    assert {name: told.macs[name] for name in heads} == pytest.approx(heads)


def test_a_step_runs(benchmark):
    settings = DetectorSettings("torchvision:mobilenet_v2", depth=1, width=8, hidden=8)
    images, targets = benchmark.batch_of(1, 1, 64, "cpu")
    train, _, found = benchmark.timed(benchmark.make_detector(settings), images, targets, 1)
    assert train > 0 and found > 0
