import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from thirdaxis import A3D, ACS, I3D, InputError, UsageError
from thirdaxis.nets.saved import (
    RECIPE_FILE,
    WEIGHTS_FILE,
    build_converted,
    load_converted,
    make_recipe,
    save_converted,
)

SMALL = "torchvision:squeezenet1_1"
RECIPES = {
    "unet": make_recipe("unet", classes=3, in_channels=2),
    "a3d": make_recipe("unet", classes=2, fusion=A3D(depth=5), overrides={"@3x3": "p3d"}),
    "i3d": make_recipe("unet", classes=2, fusion="i3d", depth_stride=False),
    "settings": make_recipe("unet", classes=2, fusion=ACS(planes=("sagittal", "axial", "coronal"))),
    "encoder": make_recipe(SMALL, classes=3, in_channels=1, stem="mean"),
    "depth stem": make_recipe(SMALL, classes=3, in_channels=1, stem="depth", fusion="slicewise"),
    "classifier": make_recipe(SMALL, classes=5, in_channels=3, task="classify"),
    "overrides": make_recipe(
        "unet",
        classes=2,
        overrides={"enc1*": "slicewise", "enc2": {"fusion": I3D(), "depth_stride": False}},
    ),
}


@pytest.mark.parametrize("kind", RECIPES)
def test_a_saved_network_comes_back_the_same(tmp_path, kind):
    torch.manual_seed(0)
    recipe = RECIPES[kind]
    net, report = build_converted(recipe)
    assert report is None
    volume = torch.randn(1, recipe["in_channels"], 5, 33, 40)
    with torch.no_grad():
        net.train()(volume.expand(2, -1, -1, -1, -1))  # moves running statistics
        expected = net.eval()(volume)
        folder = tmp_path / "deep" / "net3d"
        save_converted(folder, recipe, net)
        torch.manual_seed(1)
        again = load_converted(folder)
        assert not again.training
        assert torch.equal(again(volume), expected)
    size = (5,) if kind == "classifier" else (recipe["classes"], 5, 33, 40)
    assert expected.shape == (1, *size)
    assert {p.name for p in folder.iterdir()} == {RECIPE_FILE, WEIGHTS_FILE}
    assert load_file(folder / WEIGHTS_FILE).keys() == net.state_dict().keys()
    written = json.loads((folder / RECIPE_FILE).read_text(encoding="utf-8"))
    assert written["versions"]["torch"] == torch.__version__
    assert written["name"] == recipe["name"]
    assert [p.name for p in folder.parent.iterdir()] == ["net3d"]


def test_settings_survive_the_file(tmp_path):
    """The planes of ACS change the answer, so that losing them would be seen above."""
    torch.manual_seed(0)
    net, _ = build_converted(RECIPES["settings"])
    save_converted(tmp_path / "a", RECIPES["settings"], net)
    plain = make_recipe("unet", classes=2)
    save_converted(tmp_path / "b", plain, net)
    volume = torch.randn(1, 1, 8, 16, 16)
    with torch.no_grad():
        a, b = (load_converted(tmp_path / name)(volume) for name in "ab")
    assert not torch.allclose(a, b, atol=1e-3)


def test_pretrained_weights_reach_the_converted_network(tmp_path):
    recipe = make_recipe("unet", classes=3)
    source, _ = build_converted(recipe)
    save_file(source.state_dict(), tmp_path / "unet.safetensors")
    net, report = build_converted(recipe, tmp_path / "unet.safetensors")
    assert len(report.loaded) == len(source.state_dict())
    for name, value in net.state_dict().items():
        assert torch.equal(value, source.state_dict()[name])


def test_only_own_folders_are_written_over(tmp_path):
    recipe, other = make_recipe("unet", classes=2), make_recipe("unet", classes=3)
    net, _ = build_converted(recipe)
    folder = tmp_path / "net"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="holds other files"):
        save_converted(folder, recipe, net)
    assert [p.name for p in folder.iterdir()] == ["thesis.txt"]
    save_converted(folder, recipe, net, overwrite=True)
    save_converted(folder, other, build_converted(other)[0])
    assert (folder / "thesis.txt").read_text(encoding="utf-8") == "years of work"
    assert load_converted(folder).head.out_channels == 3
    with pytest.raises(UsageError, match="is a file"):
        save_converted(folder / "thesis.txt", recipe, net)


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    recipe = make_recipe("unet", classes=2)
    net, _ = build_converted(recipe)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        save_converted(tmp_path / "net", recipe, net)
    assert list(tmp_path.iterdir()) == []


def test_folders_that_are_none_of_ours(tmp_path):
    recipe = make_recipe("unet", classes=2)
    folder = tmp_path / "net"
    with pytest.raises(InputError, match=r"network\.json is missing"):
        load_converted(folder)
    save_converted(folder, recipe, build_converted(recipe)[0])
    good = (folder / RECIPE_FILE).read_text(encoding="utf-8")

    (folder / RECIPE_FILE).write_text("{")
    with pytest.raises(InputError, match="not readable as JSON"):
        load_converted(folder)
    (folder / RECIPE_FILE).write_text('{"name": "unet"}')
    with pytest.raises(InputError, match="lacks classes, in_channels"):
        load_converted(folder)
    (folder / RECIPE_FILE).write_text(good.replace('"classes": 2', '"classes": 4'))
    with pytest.raises(InputError, match=r"not the weights of this unet \(size mismatch for head"):
        load_converted(folder)
    (folder / RECIPE_FILE).write_text(good.replace('"acs"', '"abs"'))
    with pytest.raises(UsageError, match="did you mean 'acs'"):
        load_converted(folder)
    (folder / RECIPE_FILE).write_text(good.replace('"planes"', '"plains"'))
    with pytest.raises(UsageError, match="plains"):
        load_converted(folder)
    (folder / RECIPE_FILE).write_text(good)
    (folder / WEIGHTS_FILE).write_bytes(b"not tensors")
    with pytest.raises(InputError, match="not readable as safetensors"):
        load_converted(folder)
    (folder / WEIGHTS_FILE).unlink()
    with pytest.raises(InputError, match=r"net\.safetensors is missing"):
        load_converted(folder)


def test_an_unknown_fusion_is_refused_at_once():
    with pytest.raises(UsageError, match="did you mean 'acs'"):
        make_recipe("unet", classes=2, fusion="asc")


def test_modules_stay_those_of_the_2d_network():
    net, _ = build_converted(make_recipe("unet", classes=2))
    assert [type(m) for m in net.enc1][1:3] == [nn.BatchNorm2d, nn.ReLU]
