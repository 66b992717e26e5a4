import json

import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from thirdaxis.nets.licences import UNKNOWN, licence_of
from thirdaxis.tasks.pretraining.card import CARD, FILE, Pretrained, write_pretrained
from thirdaxis.tasks.settings_files import make_settings

TOLD = Pretrained(
    data={"pictures": 24, "classes": 3},
    epochs=2,
    chosen_epoch=1,
    steps=6,
    scores={"top-1": 0.75},
    note="Made up.",
)


def settings_of(**told):
    values = {"task": "pretrain-classify", "data": "/shelf/someone/photos"} | told
    return make_settings(values, "test")


@pytest.fixture
def net():
    return nn.Sequential(nn.Conv3d(1, 4, 3), nn.BatchNorm3d(4))


def test_file_and_card_say_the_same(net, tmp_path):
    told = {"licence": "cc-by-4.0", "data_licence": "free", "ema": 0.9, "weights": "/shelf/x/w.pth"}
    path = write_pretrained(tmp_path, net, settings_of(**told), TOLD)
    assert path == tmp_path / FILE
    state = load_file(path)
    assert state.keys() == net.state_dict().keys()
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    with safe_open(path, "pt") as opened:
        header = opened.metadata()
    assert header["license"] == "cc-by-4.0" and header["data_licence"] == "free"
    assert json.loads(header["scores"]) == {"top-1": 0.75} and header["data"] == "photos"
    assert json.loads(header["settings"])["learning_rate"] == 0.1
    assert "torch" in json.loads(header["versions"]) and header["network"] == "resnet3d:18"
    card = (tmp_path / CARD).read_text(encoding="utf-8")
    about = yaml.safe_load(card.split("---\n")[1])
    assert about["license"] == "cc-by-4.0" and about["datasets"] == ["photos"]
    for words in ("| top-1 | 0.7500 |", "24 pictures, 3 classes", "free", "Made up.", "w.pth"):
        assert words in card
    assert "a moving average at the end of epoch 1" in card
    assert "someone" not in card + str(header) and "/shelf" not in card + str(header)
    assert licence_of("resnet3d:18", path) == "cc-by-4.0"


def test_what_was_not_told_is_said_to_be_so(net, tmp_path):
    path = write_pretrained(tmp_path, net, settings_of(transform="none"), TOLD)
    card = (tmp_path / CARD).read_text(encoding="utf-8")
    assert "license: other" in card and "not stated by whoever trained it" in card
    assert "`resnet3d:18`, in 2D" in card
    assert licence_of("resnet3d:18", path) == UNKNOWN


def test_the_recipe_in_the_card_makes_the_settings_again(net, tmp_path):
    settings = settings_of(epochs=7, mean=[1, 2, 3], fold=3)
    write_pretrained(tmp_path, net, settings, TOLD)
    text = (tmp_path / CARD).read_text(encoding="utf-8").split("```yaml\n")[1].split("```")[0]
    again = make_settings({"task": settings.task, **yaml.safe_load(text)}, "card")
    assert again == settings.model_copy(update={"data": "photos"})
