"""The boxes of samples as a transform of MONAI, for configurations that MONAI runs."""

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

from monai.config.type_definitions import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms.transform import MapTransform

from thirdaxis.data.crops import Box, read_crop
from thirdaxis.data.samples import Sample
from thirdaxis.tasks.classification.predict import read_samples
from thirdaxis.tasks.classification.settings import ClassifySettings
from thirdaxis.tasks.model import load_model


def samples(model: str | Path, inputs: str | Path) -> list[Sample]:
    """The samples of a table, a scan or a folder of scans.

    Args:
        model: folder of a trained classifier, or a bundle of it, whose settings name the columns.
        inputs: as `thirdaxis.tasks.classification.predict.predict` takes them.

    Raises:
        InputError: a table or scan that cannot be read.
        UsageError: scans without a table where the model needs masks or centres.
    """
    settings = load_model(model, task="classify", trust=True).settings
    assert isinstance(settings, ClassifySettings)
    return list(read_samples(settings, Path(inputs))[0].samples.values())


class ReadBoxd(MapTransform):
    """Reads the scans of samples and cuts their boxes, as `read_crop` does.

    Beside each key ``NAME_meta_dict`` holds the sample's name as ``filename_or_obj``.

    Args:
        keys: of the samples, each a `Sample`.
        box: the fields of `Box`.
    """

    def __init__(self, keys: KeysCollection, **box: Any) -> None:
        super().__init__(keys)
        sizes = {name: tuple(v) for name, v in box.items() if isinstance(v, list)}
        self.box = Box(**{**box, **sizes})

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The same data with boxes (C, d, h, w) in place of samples."""
        read = dict(data)
        for key in self.key_iterator(read):
            sample = read[key]
            crop = read_crop(sample, self.box)
            read[key] = MetaTensor(crop.array, affine=crop.affine)
            read[f"{key}_meta_dict"] = {"filename_or_obj": sample.name}
        return read
