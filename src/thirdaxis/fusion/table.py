"""The table of fusion operators: the one place where a new operator is entered."""

from thirdaxis.errors import UsageError, did_you_mean
from thirdaxis.fusion.a3d import A3D
from thirdaxis.fusion.acs import ACS
from thirdaxis.fusion.alignshift import AlignShift
from thirdaxis.fusion.base import Fusion
from thirdaxis.fusion.flatten3d import Flatten3D
from thirdaxis.fusion.i3d import I3D
from thirdaxis.fusion.mean_acs import MeanACS
from thirdaxis.fusion.p3d import P3D
from thirdaxis.fusion.planecycle import PlaneCycle
from thirdaxis.fusion.psc import PSC
from thirdaxis.fusion.slicewise import Slicewise
from thirdaxis.fusion.soft_acs import SoftACS
from thirdaxis.fusion.tsm import TSM

KINDS: tuple[type[Fusion], ...] = (
    *(Slicewise, I3D, P3D, ACS, MeanACS, SoftACS, PSC, TSM, AlignShift, A3D),
    *(PlaneCycle, Flatten3D),
)
FUSIONS: dict[str, type[Fusion]] = {kind.name: kind for kind in KINDS}
# Those that any convolution gives something to do.
ON_CONVOLUTIONS = [name for name, kind in FUSIONS.items() if not kind.needs_attention]
NAMES = f"{', '.join(list(FUSIONS)[:-1])} or {list(FUSIONS)[-1]}"


def markdown() -> str:
    """The operators as a Markdown table."""
    lines = [
        "| `fusion` | kernels that run on (D, H, W) | parameters more than 2D | fixed point |",
        "|---|---|---|---|",
    ]
    for name, kind in FUSIONS.items():
        lines.append(f"| `{name}` | {kind.runs} | {kind.extra} | {kind.fixed_point} |")
    return "\n".join(lines) + "\n"


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
