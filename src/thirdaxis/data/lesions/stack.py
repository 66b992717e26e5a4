"""The slices around a key slice, at a distance told in mm."""

import math
from collections.abc import Callable
from typing import Literal

import numpy as np

from thirdaxis.errors import UsageError

INTERVAL_MM = 2.0
"""Between slices, as the detectors on DeepLesion are trained."""

SNAP = 1e-6
"""Parts of a slice: a place this near to a slice is that slice."""


def interval_for(spacing: float, wanted: float | Literal["native"]) -> float | None:
    """What to ask a `SliceReader` for.

    AlignShift knows the slice interval, so its series of 2 mm and more stay as they are and only
    thinner ones are resampled, to 2 mm (Yang et al., "AlignShift: bridging the gap of imaging
    thickness in 3D anisotropic volumes", MICCAI 2020).

    Args:
        spacing: mm from slice to slice of the series, nan where unknown.
        wanted: mm between slices for all series, or ``native`` for AlignShift's rule.

    Returns:
        mm between the slices, none for the series' own slices.
    """
    if wanted == "native":
        return None if spacing >= INTERVAL_MM else INTERVAL_MM
    return wanted


def slice_weights(
    depth: int, spacing: float, interval: float | None, legacy: bool = False
) -> tuple[list[int], np.ndarray]:
    """Which slices, counted from the key slice, make a stack and with what weights.

    Slices in between are interpolated linearly. `legacy` keeps the weights of the first step for
    all others, as the code of 3DCE, MULAN, AlignShift and A3D does: with slices of 5 mm at
    an interval of 2 mm, the second slice is mixed 0.4 to 0.6 where it should be 0.8 to 0.2. It is
    there to repeat their numbers.

    Args:
        depth: of the stack, odd.
        spacing: mm from slice to slice of the series; where it is nan or not above 0, the key
            slice is repeated.
        interval: mm between the slices of the stack; none takes the series' own slices, whatever
            their spacing.
        legacy: see above.

    Returns:
        Offsets in slices of the series, ascending, and their weights, ``(depth, offsets)`` float32,
        each row adding up to 1.

    Raises:
        UsageError: an even depth, or an interval that is not a positive length.
    """
    if depth < 1 or depth % 2 == 0:
        raise UsageError(
            f"depth is an odd number of slices, the key slice in the middle, not {depth}"
        )
    if interval is not None and not (math.isfinite(interval) and interval > 0):
        raise UsageError(f"interval is a positive length in mm, not {interval}")
    if interval is None:
        step = 1.0
    else:
        step = interval / spacing if spacing > 0 and math.isfinite(spacing) else 0.0
    half = depth // 2
    found: list[dict[int, float]] = []
    for number in range(-half, half + 1):
        place, sign = abs(number) * step, -1 if number < 0 else 1
        below, above = math.floor(place + SNAP), math.ceil(place - SNAP)
        share = _beyond(step if legacy else place) if above > below else 0.0
        mix = {sign * below: 1 - share}
        if above > below:
            mix[sign * above] = share
        found.append(mix)
    offsets = sorted({offset for mix in found for offset in mix})
    weights = np.array([[mix.get(offset, 0.0) for offset in offsets] for mix in found], np.float32)
    return offsets, weights


def stack_slices(
    load: Callable[[int], np.ndarray],
    present: Callable[[int], bool],
    key: int,
    offsets: list[int],
    weights: np.ndarray,
) -> np.ndarray:
    """Loads each slice that is needed once and mixes them.

    Where a slice is missing, the next one towards the key slice stands in for it.

    Args:
        load: number of a slice -> ``(H, W)``.
        present: whether a series has a slice of this number.
        key: number of the key slice.
        offsets: from `slice_weights`.
        weights: from `slice_weights`.

    Returns:
        ``(depth, H, W)`` float32.
    """
    numbers = []
    for offset in offsets:
        while offset and not present(key + offset):
            offset -= 1 if offset > 0 else -1
        numbers.append(key + offset)
    loaded = {number: load(number).astype(np.float32) for number in sorted(set(numbers))}
    if weights.shape[0] == 1 and len(numbers) == 1:
        return loaded[numbers[0]][None]
    return np.tensordot(weights, np.stack([loaded[number] for number in numbers]), axes=1)


def _beyond(place: float) -> float:
    return place - math.floor(place + SNAP)
