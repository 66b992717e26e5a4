import onnxruntime
import pytest
import torch

from thirdaxis.cli.main import run
from thirdaxis.errors import InputError, UsageError
from thirdaxis.tasks.model import load_model, save_model
from thirdaxis.tasks.segmentation.plan import Plan
from thirdaxis.tasks.trained.files import MODEL


@pytest.fixture(scope="module")
def exported(phantom_run, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    assert run(["export", "--model", str(phantom_run / MODEL), "--out", str(path)]) == 0
    return path


def test_the_graph_answers_as_the_network_on_windows(exported, phantom_run):
    session = onnxruntime.InferenceSession(exported)
    net = load_model(phantom_run).net
    for size in ((1, 8, 16, 16), (4, 8, 16, 16), (2, 11, 24, 32)):
        windows = torch.randn(size[0], 1, *size[1:])
        (found,) = session.run(None, {"volume": windows.numpy()})
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(found), net(windows), rtol=1e-3, atol=1e-4)


def test_a_whole_prediction_through_onnx_is_the_same(exported, phantom_run, tmp_path):
    scans = phantom_run.parent / "data" / "imagesTr"
    for source, name in ((exported, "onnx"), (phantom_run, "run")):
        assert run(["predict", "--model", str(source), str(scans), "-o", str(tmp_path / name)]) == 0
    for path in (tmp_path / "run").iterdir():
        assert path.read_bytes() == (tmp_path / "onnx" / path.name).read_bytes()


def test_the_file_holds_the_preprocessing_and_the_labels(exported, phantom_run):
    found, expected = load_model(exported), load_model(phantom_run / MODEL)
    assert found.settings == expected.settings and found.plan == expected.plan
    assert isinstance(found.plan, Plan) and found.plan.labels[2] == "dark"
    assert found.provenance == expected.provenance
    with pytest.raises(UsageError, match="cannot be packed again"):
        save_model(found, exported.parent / "model")


def test_other_and_damaged_graphs_are_refused(exported, tmp_path):
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(exported.read_bytes()[:1000])
    with pytest.raises(InputError, match="not an ONNX graph that can be run"):
        load_model(damaged)
    with pytest.raises(InputError, match="no such file"):
        load_model(tmp_path / "none.onnx")
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(exported)
    del graph.metadata_props[:]
    onnx.save(graph, tmp_path / "plain.onnx")
    with pytest.raises(InputError, match="without settings and labels"):
        load_model(tmp_path / "plain.onnx")


def test_one_source_is_named(phantom_run, tmp_path, capsys):
    out = ["--out", str(tmp_path / "net.onnx")]
    for words in ([], [str(phantom_run), "--model", str(phantom_run)]):
        assert run(["export", *words, *out]) == 2
        assert "name one network" in capsys.readouterr().err
