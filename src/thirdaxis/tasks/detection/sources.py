"""The scans that lesions are looked for in: files, DICOM series, or series of DeepLesion."""

from dataclasses import dataclass
from pathlib import Path

from thirdaxis.data.folder import Case, read_case
from thirdaxis.data.lesions.deeplesion_volume import StoredSeries, stored_series
from thirdaxis.data.volume import Volume
from thirdaxis.tasks.scans import find_scans


@dataclass(frozen=True)
class Source:
    """A scan.

    Args:
        name: of it.
        scan: where it is.
    """

    name: str
    scan: Case | StoredSeries

    @property
    def place(self) -> Path:
        """Its file or folder."""
        return self.scan.images[0] if isinstance(self.scan, Case) else self.scan.folder

    def read(self) -> Volume:
        """The scan in HU.

        Raises:
            InputError: it cannot be read.
        """
        return read_case(self.scan, {})[0] if isinstance(self.scan, Case) else self.scan.read()

    def slice_names(self, count: int) -> list[str]:
        """What its slices are called in files of detections, upwards.

        Those of DeepLesion keep their names, of others they count from 0 as in `read_lesion_boxes`.

        Args:
            count: of the slices.
        """
        if isinstance(self.scan, Case):
            return [f"{self.name}/{number:03d}" for number in range(count)]
        return [f"{self.name}/{path.stem}" for path in self.scan.files()]


def find_sources(inputs: Path) -> list[Source]:
    """Lists the scans of a path.

    Args:
        inputs: as in `find_scans`, or a folder of DeepLesion, or one of its series.

    Raises:
        InputError: nothing there.
        UsageError: two scans of one name.
    """
    stored = stored_series(inputs)
    if stored:
        return [Source(series.name, series) for series in stored]
    return [Source(scan.name, scan) for scan in find_scans(inputs)]
