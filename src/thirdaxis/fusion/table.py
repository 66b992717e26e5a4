"""The table of fusion operators: the one place where a new operator is entered."""

from thirdaxis.errors import UsageError, did_you_mean
from thirdaxis.fusion.acs import ACS
from thirdaxis.fusion.base import Fusion
from thirdaxis.fusion.i3d import I3D
from thirdaxis.fusion.slicewise import Slicewise

FUSIONS: dict[str, type[Fusion]] = {kind.name: kind for kind in (Slicewise, I3D, ACS)}


def resolve(fusion: str | Fusion) -> Fusion:
    """A fusion operator by name, with its default settings, or the settings as they are.

    Raises:
        UsageError: no operator has that name.
    """
    if isinstance(fusion, Fusion):
        return fusion
    if isinstance(fusion, type) and issubclass(fusion, Fusion):
        return fusion()
    if not isinstance(fusion, str):
        raise UsageError(f"fusion takes a name or a settings object, got {fusion!r}")
    if fusion not in FUSIONS:
        raise UsageError(f"unknown fusion {fusion!r}{did_you_mean(fusion, FUSIONS)}")
    return FUSIONS[fusion]()
