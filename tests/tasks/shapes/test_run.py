from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.utils.data import TensorDataset

import thirdaxis
from thirdaxis.data.shapes import Shapes2D, Shapes3D
from thirdaxis.errors import InputError, UsageError
from thirdaxis.nets.unet import UNet
from thirdaxis.tasks.shapes import run as shapes_run
from thirdaxis.tasks.shapes.fit import read_state
from thirdaxis.tasks.shapes.recipe import Recipe, read_recipe
from thirdaxis.tasks.shapes.run import features_auc, pick_machine, run, started, states_in

PARAMETERS = {"2.5D r.": 389_286, "2.5D p.": 389_286, "3D r.": 1_164_582} | {
    "ACS r.": 389_286,
    "ACS p.": 389_286,
}


@pytest.fixture(scope="module")
def published(repository: Path) -> Recipe:
    return read_recipe(repository / "recipes" / "poc")


@pytest.fixture(scope="module")
def tiny(published: Recipe) -> Recipe:
    data = {"images": 8, "test_images": 4, "volumes": 1, "test_volumes": 1}
    brief = {"epochs": 1, "batch": 4}
    return published.model_copy(
        update={
            "data": published.data.model_copy(update=data),
            "pretraining": published.pretraining.model_copy(update=brief),
            "training": published.training.model_copy(update=brief),
        }
    )


def test_each_row_starts_as_the_paper_says(published):
    torch.manual_seed(7)
    net2d = UNet(1, 3)
    for row in published.rows:
        net3d = started(row, net2d, 1)
        weights = dict(net3d.named_parameters())
        if row.name in PARAMETERS:
            assert sum(w.numel() for w in weights.values()) == PARAMETERS[row.name]
        again = dict(started(row, net2d, 1).named_parameters())
        assert all(torch.equal(weight, again[name]) for name, weight in weights.items())
        other = dict(started(row, net2d, 2).named_parameters())
        assert not torch.equal(weights["head.weight"], other["head.weight"])
        kernel, bias = weights["enc2.0.weight"], weights["enc2.0.bias"]
        bound = kernel.detach().abs().max().item()
        taps = kernel[0].numel()
        if row.start == "pretrained":
            assert torch.equal(bias, net2d.enc2[0].bias)
            flat = kernel.sum(2) if kernel.dim() == 5 else kernel
            torch.testing.assert_close(flat, net2d.enc2[0].weight)
            assert weights["head.weight"].shape[0] == 6
        else:
            assert not torch.equal(bias, net2d.enc2[0].bias)
            # PyTorch's own start is uniform up to 1 / sqrt(taps), He et al.'s to sqrt(6 / taps).
            widest = taps**-0.5 * (6**0.5 if row.start == "kaiming" else 1)
            assert 0.999 * widest < bound <= widest


def _three_dimensional(part: nn.Sequential) -> nn.Sequential:
    """The same layers as torch has them in 3D, with the converted ones' weights."""
    twins = []
    for layer in part:
        if isinstance(layer, nn.Conv2d):
            twin = nn.Conv3d(layer.in_channels, layer.out_channels, 3, padding=1)
        else:
            twin = nn.BatchNorm3d(layer.num_features) if hasattr(layer, "num_features") else None
        if twin is None:
            twin = nn.MaxPool3d(2) if isinstance(layer, nn.MaxPool2d) else nn.ReLU()
        else:
            twin.load_state_dict(layer.state_dict())
        twins.append(twin)
    return nn.Sequential(*twins).eval()


def test_the_3d_row_is_an_ordinary_3d_unet(published):
    net = started(published.chosen(["3D r."])[0], None, 0).eval()
    volume = torch.randn(2, 1, 8, 12, 16)
    grow = {"mode": "trilinear", "align_corners": False}
    skip = _three_dimensional(net.enc1)(volume)
    deep = F.interpolate(_three_dimensional(net.enc2)(skip), skip.shape[2:], **grow)
    fine = _three_dimensional(net.dec1)(torch.cat([skip, deep], 1))
    fine = F.interpolate(fine, volume.shape[2:], **grow)
    expected = F.conv3d(fine, net.head.weight[..., None], net.head.bias)
    torch.testing.assert_close(net(volume), expected)


def test_untrained_features_are_judged_channel_by_channel(lively):
    """Against the 2D network on every slice, and scikit-learn."""
    torch.manual_seed(0)
    net2d = lively(UNet(1, 3), 1)
    volumes, labels = torch.randn(3, 1, 4, 8, 8), torch.randint(6, (3, 4, 8, 8))
    volumes += (labels != 5)[:, None] * 2
    slices = volumes.transpose(1, 2).flatten(0, 1)
    with torch.no_grad():
        skip = net2d.enc1(slices)
        deep = F.interpolate(net2d.enc2(skip), scale_factor=2)
        small = net2d.dec1(torch.cat([skip, deep], 1))
        full = F.interpolate(small, scale_factor=2, mode="bilinear", align_corners=False)
    solid = (labels != 5).flatten()
    areas = [roc_auc_score(solid, channel.flatten()) for channel in full.unbind(1)]
    assert min(areas) < 0.45 and max(areas) > 0.55
    expected = sum(max(area, 1 - area) for area in areas) / 32
    net3d = thirdaxis.convert(net2d, "slicewise", depth_stride=False)
    found = features_auc(net3d, TensorDataset(volumes, labels.to(torch.uint8)), 2)
    assert found == pytest.approx(expected, abs=1e-5)


def test_data_for_training_and_testing_are_apart(tiny, monkeypatch):
    used = []

    def noting(kind):
        def made(n, seed):
            used.append((kind, n, seed))
            return kind(n, seed)

        return made

    monkeypatch.setattr(shapes_run, "Shapes2D", noting(Shapes2D))
    monkeypatch.setattr(shapes_run, "Shapes3D", noting(Shapes3D))
    monkeypatch.setattr(shapes_run, "fit", lambda net, *rest: {"best": net.state_dict()})
    shapes_run.volumes_of(tiny)
    monkeypatch.setattr(Path, "mkdir", lambda *_, **__: None)
    shapes_run.pretrain(tiny, Path("nowhere"), 0, shapes_run.Machine(), lambda _: None)
    assert {(kind, n) for kind, n, _ in used} == {
        *((Shapes2D, 8), (Shapes2D, 4)),
        (Shapes3D, 1),
    }
    assert len({seed for _, _, seed in used}) == 4


@pytest.fixture(scope="module")
def finished(tiny: Recipe, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    out, said = tmp_path_factory.mktemp("poc"), []
    run(tiny, out, tiny.chosen(["ACS p.", "2.5D r."]), say=said.append)
    return out, said


def test_a_run_leaves_table_curves_and_checkpoints(tiny, finished):
    out, said = finished
    table = (out / "table.md").read_text(encoding="utf-8")
    line = next(line for line in table.splitlines() if line.startswith("| ACS p."))
    state = states_in(tiny, out)["ACS p."][0]
    assert f"| 389,286 | 1.6 | {100 * state['untrained']:.1f} |" in line
    assert "| 88.1 | 95.4 | 92.0 |" in line and "| 1 of 1 |" in line
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert {str(path.relative_to(out)) for path in out.rglob("*.pt")} == {
        "seed0/pretraining/state.pt",
        "seed0/acs-p/state.pt",
        "seed0/2.5d-r/state.pt",
    }
    assert sum("ACS p., seed 0" in line for line in said) == 1
    best2d = read_state(out / "seed0/pretraining/state.pt")["best"]
    assert len(best2d) == len(UNet(1, 3).state_dict())


def test_rows_that_are_done_are_left_alone(tiny, finished, monkeypatch):
    out, _ = finished
    before = {path: path.read_bytes() for path in out.rglob("*.pt")}
    monkeypatch.setattr(shapes_run, "fit", None)
    said = []
    run(tiny, out, tiny.chosen(["ACS p.", "2.5D r."]), say=said.append)
    assert said.count("  done before") == 2
    assert before == {path: path.read_bytes() for path in out.rglob("*.pt")}


def numbers_alone(out: Path, to: Path) -> Path:
    """A folder with what stands beside the checkpoints of another."""
    for path in out.glob("seed*/*/*.json"):
        place = to / path.relative_to(out)
        place.parent.mkdir(parents=True)
        place.write_bytes(path.read_bytes())
    return to


def test_numbers_that_came_without_weights_join_the_table(tiny, finished, tmp_path, monkeypatch):
    out, _ = finished
    brought = numbers_alone(out, tmp_path)
    monkeypatch.setattr(shapes_run, "fit", None)
    said = []
    table = run(tiny, brought, tiny.chosen(["ACS p.", "2.5D r."]), say=said.append)
    assert said.count("  done before") == 2 and not list(brought.rglob("*.pt"))
    assert table.read_text(encoding="utf-8") == (out / "table.md").read_text(encoding="utf-8")


def test_numbers_of_another_recipe_or_damaged_are_refused(tiny, finished, tmp_path):
    brought = numbers_alone(finished[0], tmp_path)
    longer = tiny.model_copy(update={"training": tiny.training.model_copy(update={"epochs": 2})})
    with pytest.raises(UsageError, match=r"state\.json: made by another recipe"):
        run(longer, brought, longer.chosen(["2.5D r."]), say=lambda _: None)
    (brought / "seed0/2.5d-r/state.json").write_text('{"settings": 1}', encoding="utf-8")
    with pytest.raises(InputError, match=r"state\.json: not the numbers of a run"):
        states_in(tiny, brought)


def test_a_row_starts_from_the_best_2d_network(tiny, finished, monkeypatch):
    out, _ = finished
    nets = []
    monkeypatch.setattr(shapes_run, "fit", lambda net, *rest: nets.append(net))
    run(tiny, out, tiny.chosen(["TSM p."]), say=lambda _: None)
    best2d = read_state(out / "seed0/pretraining/state.pt")["best"]
    for name, value in nets[0].state_dict().items():
        assert torch.equal(value, best2d[name]) != name.startswith("head")


def test_a_folder_of_another_recipe_is_refused(tiny, finished):
    longer = tiny.model_copy(update={"training": tiny.training.model_copy(update={"epochs": 2})})
    with pytest.raises(UsageError, match="another recipe"):
        run(longer, finished[0], longer.chosen(["2.5D r."]), say=lambda _: None)


@pytest.mark.parametrize("name", ["gpu", "cuda"])
def test_a_device_that_is_not_there_is_refused(name, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_machine("auto") == shapes_run.Machine()
    with pytest.raises(UsageError, match="cpu"):
        pick_machine(name)


def test_kaiming_reaches_every_kernel():
    torch.manual_seed(0)
    net = thirdaxis.convert(UNet(1, 6), "i3d")
    before = {name: value.clone() for name, value in net.named_parameters()}
    shapes_run.kaiming(net)
    kernels = [name for name, value in before.items() if value.dim() > 1]
    assert len(kernels) == sum(isinstance(m, nn.Conv2d) for m in net.modules()) == 7
    assert not any(torch.equal(net.get_parameter(name), before[name]) for name in kernels)
