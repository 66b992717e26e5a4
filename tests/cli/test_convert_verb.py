import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from thirdaxis.cli.main import run
from thirdaxis.nets.saved import load_converted
from thirdaxis.nets.unet import UNet


def test_the_line_of_the_readme(tmp_path, capsys):
    out = tmp_path / "net3d"
    assert run(["convert", "timm:resnet18", "--fusion", "acs", "-o", str(out)]) == 0
    told = capsys.readouterr().out
    assert "acs" in told.lower() and str(out) in told
    with torch.no_grad():
        assert load_converted(out)(torch.randn(1, 3, 8, 32, 32)).shape == (1, 1000)


def test_every_option_reaches_the_network(tmp_path, capsys):
    out = tmp_path / "net3d"
    words = "--fusion i3d --no-depth-stride --in-channels 1 --stem mean --classes 4 --task segment"
    assert run(["convert", "torchvision:squeezenet1_1", "-o", str(out), *words.split()]) == 0
    recipe = json.loads((out / "network.json").read_text(encoding="utf-8"))
    assert recipe["fusion"]["name"] == "i3d" and recipe["depth_stride"] is False
    assert (recipe["in_channels"], recipe["stem"]) == (1, "mean")
    with torch.no_grad():
        assert load_converted(out)(torch.randn(1, 1, 5, 40, 40)).shape == (1, 4, 5, 40, 40)


def test_weights_of_a_file_are_used_and_accounted_for(tmp_path, capsys):
    torch.manual_seed(0)
    source = UNet(1, 3)
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    words = ["-o", str(tmp_path / "net"), "--weights", str(tmp_path / "w.safetensors")]
    assert run(["convert", "unet", "--classes", "5", *words]) == 0
    assert "2 skipped" in capsys.readouterr().out
    written = load_file(tmp_path / "net" / "net.safetensors")
    assert torch.equal(written["enc1.0.weight"], source.enc1[0].weight)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["unet", "--fusion", "asc"], 2, "did you mean 'acs'"),
        (["unett"], 2, "did you mean 'unet'"),
        (["unet", "--stem", "green", "--task", "segmentt"], 2, "did you mean 'segment'"),
        (["torchvision:resnet18", "--in-channels", "1", "--stem", "men"], 2, "unknown stem"),
        (["unet", "--weights", "nowhere.pth"], 1, "no such weights file"),
        (["unet", "--weights", "library"], 2, "no library weights"),
        (["unet", "--classes", "0"], 2, "classes"),
    ],
)
def test_wrong_words_end_in_one_line_and_leave_nothing(tmp_path, capsys, words, code, message):
    assert run(["convert", *words, "-o", str(tmp_path / "net")]) == code
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_other_files_is_left_alone(tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("years of work")
    assert run(["convert", "unet", "-o", str(tmp_path)]) == 2
    assert "holds other files" in capsys.readouterr().err
    assert run(["convert", "unet", "-o", str(tmp_path), "--overwrite"]) == 0
    assert len(list(tmp_path.iterdir())) == 3
