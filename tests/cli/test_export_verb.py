import onnxruntime
import pytest
import torch

from thirdaxis.cli.main import run
from thirdaxis.nets.saved import load_converted


def test_a_converted_network_is_exported(tmp_path, capsys):
    net, out = tmp_path / "net3d", tmp_path / "net.onnx"
    assert run(["convert", "unet", "-o", str(net)]) == 0
    assert run(["export", str(net), "-o", str(out), "--side", "16", "--fixed", "batch"]) == 0
    assert "axes of any size: depth, height, width" in capsys.readouterr().out
    volume = torch.randn(1, 1, 9, 32, 24)
    (written,) = onnxruntime.InferenceSession(out).run(None, {"volume": volume.numpy()})
    with torch.no_grad():
        expected = load_converted(net)(volume)
    torch.testing.assert_close(torch.from_numpy(written), expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["-o", "net.onnx"], 1, "nowhere"),
        (["-o", "net.onnx", "--fixed", "dept"], 2, "did you mean 'depth'"),
    ],
)
def test_wrong_words_end_in_one_line(tmp_path, capsys, monkeypatch, words, code, message):
    monkeypatch.chdir(tmp_path)
    assert run(["export", "nowhere", *words]) == code
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
