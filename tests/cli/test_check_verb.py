"""The verb `check`."""

import pytest

from thirdaxis.cli.main import run


def test_a_sound_network(capsys):
    assert run(["check", "unet", "--side", "32"]) == 0
    told = capsys.readouterr().out
    assert "identical slices give the 2D answer: ok" in told
    assert "6 executed, 6 lifted" in told


@pytest.mark.parametrize(
    "words,code,message",
    [
        (["unet", "--fusion", "acc"], 2, "did you mean 'acs'"),
        (["torchvision:resnet81"], 2, "did you mean 'resnet18'"),
        (["unet", "--side", "2"], 1, "too small"),
        (["ahnet:resnet18"], 2, "there is no 2D answer to check it against"),
    ],
)
def test_what_cannot_be_checked(capsys, words, code, message):
    assert run(["check", *words]) == code
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1
