import pytest

from thirdaxis.errors import UsageError
from thirdaxis.nets.build import build
from thirdaxis.nets.programs import programs

PROGRAM = "from torch import nn\ndef factory(in_channels, classes): return nn.Conv2d(1, 2, 3)\n"


def test_a_program_is_not_even_imported_where_it_may_not_be_called(tmp_path, monkeypatch):
    place = tmp_path / "net_of_a_stranger.py"
    place.write_text("raise RuntimeError('I was run')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with programs(allowed=False):
        with pytest.raises(UsageError, match="'net_of_a_stranger:factory', which would be run"):
            build("net_of_a_stranger:factory", classes=2)
        build("unet", classes=2)  # is no program
        with programs(allowed=True), pytest.raises(RuntimeError, match="I was run"):
            build("net_of_a_stranger:factory", classes=2)
        with pytest.raises(UsageError, match="which would be run"):
            build("net_of_a_stranger:factory", classes=2)
    place.write_text(PROGRAM)
    assert build("net_of_a_stranger:factory", classes=2).net.out_channels == 2
