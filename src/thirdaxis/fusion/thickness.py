"""How far an operator that counts in millimetres reaches along depth, from slice thickness."""

from torch import Tensor, where

from thirdaxis.axes import Geometry
from thirdaxis.errors import InputError


def reach(geometry: Geometry, reference: float, operator: str) -> Tensor:
    """Slices of each volume that stand for one of the reference thickness: (N,), from 0 to 1.

    ``min(1, reference / thickness)``: thin slices count as those of the reference, as its networks
    resample them. A thickness that is NaN or not positive is unknown: 0, as an infinite one.

    Args:
        geometry: of the convolution, with the thickness of the call's volumes, (N,) in mm.
        reference: in mm.
        operator: its name, for the error.

    Raises:
        InputError: no thickness was given.
    """
    thickness = geometry.thickness
    if thickness is None:
        raise InputError(
            f"{operator} needs the thickness of the slices: call the network with "
            "thickness=..., a tensor (N,) in mm, one number a volume"
        )
    share = (reference / thickness).clamp(0, 1)
    return where(thickness > 0, share, share.new_zeros(()))
