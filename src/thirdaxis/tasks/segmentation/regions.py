"""What a run's held-out scans are scored by: its classes, and unions of them."""

from collections.abc import Mapping

from thirdaxis.errors import UsageError, did_you_mean
from thirdaxis.tasks.segmentation.settings import SegmentSettings


def scored(settings: SegmentSettings, labels: Mapping[int, str]) -> str | None:
    """The classes and regions of a run, as `read_regions` of `label_maps` reads them.

    Args:
        settings: of the run.
        labels: class -> name, background too.

    Returns:
        Such as `1=liver,2=tumour,1+2=whole liver`; none for a run without regions.

    Raises:
        UsageError: a region of no class, of one that the run does not have, or of a class's name.
    """
    if settings.regions is None:
        return None
    numbers = {name: number for number, name in labels.items() if number}
    words = [f"{number}={name}" for name, number in numbers.items()]
    for region, members in settings.regions.items():
        for name in members:
            if name not in numbers:
                near = did_you_mean(name, numbers)
                raise UsageError(f"regions: {region}: no class {name!r}{near}")
        if not members or region in numbers or any(mark in region for mark in ",=+"):
            raise UsageError(
                f"regions: {region!r}: expected a new name without , = + and at least one class"
            )
        words.append(f"{'+'.join(str(numbers[name]) for name in members)}={region}")
    return ",".join(words)
