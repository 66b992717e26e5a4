import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from thirdaxis.errors import InputError
from thirdaxis.nets.weights import load_weights, read_tensors, transfer


def _net(channels_in=3, classes=5):
    return nn.Sequential(
        nn.Conv2d(channels_in, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, classes)
    )


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".nested.pt"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_round_trip_through_each_kind_of_file(tmp_path, suffix, prefix):
    torch.manual_seed(0)
    source, target = _net(), _net()
    state = {prefix + name: value for name, value in source.state_dict().items()}
    path = tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": state, "epoch": 3} if "nested" in suffix else state, path)
    report = load_weights(target, path)
    assert sorted(report.loaded) == sorted(source.state_dict())
    assert not (report.adapted or report.skipped or report.missing)
    for name, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[name], value)


def test_what_does_not_fit_is_told_apart():
    torch.manual_seed(0)
    source, target = _net(3, classes=5), _net(1, classes=2)
    before = {name: value.clone() for name, value in target.state_dict().items()}
    state = dict(source.state_dict())
    del state["1.running_mean"], state["1.num_batches_tracked"]
    state["extra.weight"] = torch.zeros(2)
    report = transfer(target, state, "a file")

    assert report.adapted == [("0.weight", "RGB kernel summed for one grey channel")]
    assert dict(report.skipped).keys() == {"3.weight", "3.bias", "extra.weight"}
    assert dict(report.skipped)["3.weight"] == "shape (5, 4) in the file, (2, 4) in the network"
    assert report.missing == ["1.running_mean"]
    assert set(report.loaded) == {"0.bias", "1.weight", "1.bias", "1.running_var"}
    after = target.state_dict()
    assert torch.equal(after["3.weight"], before["3.weight"])
    grey = torch.randn(1, 1, 5, 5)
    given = nn.functional.conv2d(grey.expand(1, 3, 5, 5), state["0.weight"], state["0.bias"])
    torch.testing.assert_close(target[0](grey), given)
    text = str(report)
    assert "4 tensors loaded, 1 adapted, 3 skipped, 1 missing" in text
    assert "skipped extra.weight: not in the network" in text


def test_a_linear_layer_becomes_a_pointwise_convolution():
    linear, conv = nn.Linear(6, 3), nn.Conv2d(6, 3, 1)
    report = transfer(conv, linear.state_dict(), "a file")
    assert report.adapted == [("weight", "shape (3, 6) to (3, 6, 1, 1)")]
    x = torch.randn(2, 6)
    torch.testing.assert_close(conv(x[..., None, None])[..., 0, 0], linear(x))


def test_a_transposed_linear_layer_is_not_mistaken_for_one():
    report = transfer(
        nn.Sequential(nn.Linear(6, 3), nn.Linear(3, 3)),
        {"0.weight": torch.zeros(6, 3), "1.weight": torch.ones(3, 3)},
        "a file",
    )
    assert [name for name, _ in report.skipped] == ["0.weight"]


def test_the_account_of_a_cut_network():
    report = transfer(_net(), _net().state_dict(), "a file")
    cut = report.keep({n for n in report.loaded if not n.startswith("3.")}, "cut off")
    assert cut.skipped == [("3.weight", "cut off"), ("3.bias", "cut off")]
    assert len(cut.loaded) == len(report.loaded) - 2


@pytest.mark.parametrize("name", ["broken.safetensors", "broken.pth", "empty.pth"])
def test_unreadable_files_are_one_line(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"" if "empty" in name else b"no weights at all, just some text")
    with pytest.raises(InputError, match=name) as caught:
        read_tensors(path)
    assert "\n" not in str(caught.value)


def test_missing_files_and_files_without_tensors(tmp_path):
    with pytest.raises(InputError, match="no such weights file"):
        read_tensors(tmp_path / "nowhere.pth")
    torch.save([1, 2, 3], tmp_path / "list.pth")
    with pytest.raises(InputError, match="no named tensors"):
        read_tensors(tmp_path / "list.pth")


class _Bomb:
    def __reduce__(self):
        return print, ("executed",)


def test_a_file_with_code_in_it_is_refused_unexecuted(tmp_path, capsys):
    torch.save({"state_dict": _Bomb()}, tmp_path / "bomb.pth")
    with pytest.raises(InputError, match="not readable as weights"):
        read_tensors(tmp_path / "bomb.pth")
    assert "executed" not in capsys.readouterr().out


def test_weights_of_another_network_are_refused():
    with pytest.raises(InputError, match=r"no weights fit.*'0\.weight'.*'other\.weight'"):
        transfer(_net(), {"other.weight": torch.zeros(1)}, "a file")
