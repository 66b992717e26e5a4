"""thirdaxis: 2D networks with their pretrained weights become 3D networks for medical volumes."""

from thirdaxis.convert.carrier import ConversionError
from thirdaxis.convert.check import Check, check
from thirdaxis.convert.entry import reveal
from thirdaxis.convert.network import convert
from thirdaxis.convert.report import Report, report
from thirdaxis.errors import InputError, ThirdaxisError, UsageError
from thirdaxis.export.program import export
from thirdaxis.fusion.acs import ACS
from thirdaxis.fusion.base import Fusion
from thirdaxis.fusion.i3d import I3D
from thirdaxis.fusion.slicewise import Slicewise
from thirdaxis.fusion.table import FUSIONS

__version__ = "0.1.0"

__all__ = [
    "ACS",
    "FUSIONS",
    "I3D",
    "Check",
    "ConversionError",
    "Fusion",
    "InputError",
    "Report",
    "Slicewise",
    "ThirdaxisError",
    "UsageError",
    "check",
    "convert",
    "export",
    "report",
    "reveal",
]
