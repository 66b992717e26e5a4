import shutil
from pathlib import Path
from typing import Any, ClassVar

import huggingface_hub
import pytest
from huggingface_hub import constants

from thirdaxis.cli.main import run
from thirdaxis.errors import InputError, UsageError
from thirdaxis.tasks.model import load_model
from thirdaxis.tasks.trained.files import MODEL
from thirdaxis.tasks.trained.hub import hub_name

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(tmp_path, monkeypatch, phantom_run):
    """A cache as huggingface_hub lays it out, with one model, and no network."""
    cache = tmp_path / "hub"
    repository = cache / "models--jane--kidney"
    snapshot, blobs = repository / "snapshots" / COMMIT, repository / "blobs"
    for folder in (snapshot, blobs, repository / "refs"):
        folder.mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    for number, file in enumerate(sorted((phantom_run / MODEL).iterdir())):
        shutil.copy(file, blobs / f"{number}")
        (snapshot / file.name).symlink_to(Path("../../blobs") / f"{number}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return cache


def test_a_model_of_the_hub_predicts_as_the_run(hub, phantom_run, tmp_path):
    scan = phantom_run.parent / "data" / "imagesTr" / "phantom_002.nii.gz"
    for words, name in (
        (["--model", "hf://jane/kidney", str(scan)], "hub"),
        (["--model", f"hf://jane/kidney@{COMMIT}", str(scan)], "commit"),
        ([str(phantom_run), str(scan)], "run"),
    ):
        assert run(["predict", *words, "-o", str(tmp_path / name)]) == 0
    expected = (tmp_path / "run" / scan.name).read_bytes()
    for name in ("hub", "commit"):
        assert (tmp_path / name / scan.name).read_bytes() == expected


@pytest.mark.parametrize("name", ["hf://jane/heart", "hf://jane/kidney@other"])
def test_what_is_not_in_the_cache_is_one_line_without_a_network(hub, name, tmp_path, capsys):
    assert run(["predict", "--model", name, str(tmp_path)]) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"error: {name.partition('@')[0]}: cannot be fetched")
    assert told.count("\n") == 1


def test_a_repository_of_another_kind_is_refused(hub):
    snapshot = hub / "models--jane--kidney" / "snapshots" / COMMIT
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(InputError, match="not of a model of thirdaxis"):
        load_model("hf://jane/kidney")


def test_names_on_the_hub():
    assert hub_name("hf://jane/kidney") == ("jane/kidney", None)
    assert hub_name(Path("hf://jane/kidney@v1")) == ("jane/kidney", "v1")
    assert hub_name("runs/kidney") is None
    for wrong in ("hf://jane", "hf://jane/kidney/deep", "hf://../kidney/x", "hf:jane"):
        with pytest.raises(UsageError, match="expected hf://user/name"):
            hub_name(wrong)


class Api:
    """Stands for the hub: keeps what is uploaded."""

    calls: ClassVar[list[Any]] = []

    def create_repo(self, name, **settings):
        self.calls.append((name, settings))

    def upload_folder(self, repo_id, folder_path, **_):
        self.calls.append({path.name: path.read_bytes() for path in Path(folder_path).iterdir()})
        return f"https://huggingface.co/{repo_id}/commit/1"


def test_pushing_uploads_the_model_folder(phantom_run, monkeypatch, capsys):
    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(Api, "calls", [])
    assert run(["pack", str(phantom_run), "--push", "hf://jane/kidney"]) == 0
    assert capsys.readouterr().out == "https://huggingface.co/jane/kidney/commit/1\n"
    (created, files) = Api.calls
    assert created == ("jane/kidney", {"private": True, "exist_ok": True})
    assert files == {path.name: path.read_bytes() for path in (phantom_run / MODEL).iterdir()}


def test_a_hub_that_refuses_is_one_line(phantom_run, monkeypatch, capsys):
    def refuse(self, name, **_):
        raise OSError("401 Client Error: please log in")

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(Api, "create_repo", refuse)
    assert run(["pack", str(phantom_run), "--push", "hf://jane/kidney"]) == 1
    assert "401 Client Error: please log in" in capsys.readouterr().err
    assert run(["pack", str(phantom_run), "--push", "jane/kidney"]) == 2
    assert "expected hf://user/name to push to" in capsys.readouterr().err
