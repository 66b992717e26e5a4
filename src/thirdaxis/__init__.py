"""thirdaxis: 2D networks with their pretrained weights become 3D networks for medical volumes."""

from thirdaxis.convert.carrier import ConversionError
from thirdaxis.convert.check import Check, check
from thirdaxis.convert.entry import reveal
from thirdaxis.convert.harden import harden
from thirdaxis.convert.network import convert
from thirdaxis.convert.report import Report, report
from thirdaxis.convert.stacked import stacked
from thirdaxis.errors import InputError, ThirdaxisError, UsageError
from thirdaxis.export.program import export
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
from thirdaxis.fusion.table import FUSIONS
from thirdaxis.fusion.tsm import TSM

__version__ = "0.1.0"

__all__ = [
    "A3D",
    "ACS",
    "FUSIONS",
    "I3D",
    "P3D",
    "PSC",
    "TSM",
    "AlignShift",
    "Check",
    "ConversionError",
    "Flatten3D",
    "Fusion",
    "InputError",
    "MeanACS",
    "PlaneCycle",
    "Report",
    "Slicewise",
    "SoftACS",
    "ThirdaxisError",
    "UsageError",
    "check",
    "convert",
    "export",
    "harden",
    "report",
    "reveal",
    "stacked",
]
