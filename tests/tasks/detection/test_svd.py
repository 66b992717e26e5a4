import pytest
import torch

from thirdaxis.errors import UsageError
from thirdaxis.nets.lesion.svd import SvdDetector
from thirdaxis.tasks import runs
from thirdaxis.tasks.detection.network import make_lesion_detector
from thirdaxis.tasks.detection.plan import DetectPlan
from thirdaxis.tasks.detection.slab import through_windows
from thirdaxis.tasks.keep import read_checkpoint
from thirdaxis.tasks.model import load_model
from thirdaxis.tasks.settings_files import make_settings

SVD = {
    "task": "detect",
    "network": "p3d:18ba-gn",
    "depth": 9,
    "interval": 2.5,
    "masks": False,
    "width": 8,
    "hidden": 16,
    "anchors": [16, 32, 64, 128, 256],
    "score_threshold": 0,
}


def settings(**values):
    return make_settings({**SVD, "data": "d", **values}, "test")


def test_a_run_trains_all_but_what_is_frozen(make_deeplesion, tmp_path):
    data = make_deeplesion(tmp_path / "data", (1, 1, 1, 2, 3), slices=3)
    small = {"size": 64, "augment": "flips", "epochs": 1, "epoch_steps": 1, "batch": 2}
    rest = {"accelerator": "cpu", "precision": "32", "warmup": 0, "draws": 10}
    frozen = ["backbone.net.conv1", "backbone.net.norm1", "backbone.net.layer1"]
    told = settings(**small, **rest, data=str(data), freeze=frozen)
    runs.train(told, tmp_path / "run")
    start = make_lesion_detector(told, DetectPlan.of(told)).net.state_dict()
    trained = read_checkpoint(tmp_path / "run" / "best.ckpt")["state_dict"]
    same = {n for n, v in start.items() if torch.equal(v, trained[f"net.{n}"])}
    assert same == {n for n in start if n.startswith(tuple(f"{part}." for part in frozen))}
    model = load_model(tmp_path / "run" / "model", task="detect")
    assert isinstance(model.net, SvdDetector) and model.settings.fusion == "i3d"


def test_a_scan_is_looked_through_window_by_window():
    told = settings(most=5)
    net = make_lesion_detector(told, DetectPlan.of(told)).net.eval()
    series = torch.randn(1, 1, 11, 64, 70)
    stacks = [tuple(range(first, first + 9)) for first in range(3)]

    def prepared(numbers):
        return series[:, :, list(numbers)].movedim(2, 0).movedim(1, 2)

    with torch.no_grad():
        found = dict(through_windows(net, prepared, stacks, 2.5, 2))
        for number, stack in enumerate(stacks):
            [expected] = net(series[:, :, list(stack)])
            assert len(expected["boxes"])
            for name in ("boxes", "scores"):
                torch.testing.assert_close(
                    found[number][name], expected[name], rtol=1e-3, atol=1e-3
                )


def test_depth_is_reduced_unless_it_is_told_to_be_kept():
    with torch.device("meta"):
        for values, slices in (({}, (9, 5, 3, 1)), ({"depth": 3, "depth_stride": False}, (3,) * 4)):
            told = settings(**values)
            net = make_lesion_detector(told, DetectPlan.of(told)).net
            assert net.backbone.slices == slices


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"depth": 3}, "takes 9 slices, got 3"),
        ({"place": "@3x3"}, "3D network as it is"),
        ({"fusion": "acs"}, "3D by i3d"),
        ({"masks": True}, "boxes alone"),
        ({"freeze": ["layer1"]}, "no part of the network is called 'layer1'"),
        ({"start": "xavier", "weights": "library"}, "no library weights"),
    ],
)
def test_what_the_detector_cannot_do_is_one_line(values, said):
    told = settings(**values)
    with torch.device("meta"), pytest.raises(UsageError, match=said):
        make_lesion_detector(told, DetectPlan.of(told))
