"""Scans smaller than anything the networks halve: one slice, a few voxels."""

import nibabel
import torch

from thirdaxis.data.volume import read_volume
from thirdaxis.tasks.segmentation.model import load_segmenter
from thirdaxis.tasks.stages import runs_of, train_stages


def test_both_stages_of_ah_net_train_and_predict_on_single_slices(
    tmp_path, make_phantoms, phantom_settings
):
    """In a stack of three the padding above and below is none of the loss's concern."""
    data = make_phantoms(tmp_path / "data", 4)
    for file in data.glob("*/*.nii.gz"):
        scan = nibabel.load(file)
        nibabel.save(scan.slicer[:, :, 4:5], file)
    common = {"data": str(data), "batch": 2, "epochs": 1, "epoch_steps": 1, "folds": 2}
    gcn = {"network": "gcn:resnet18", "stem": "depth", "fusion": "slicewise", "loss_rim": 1}
    gcn |= {"patch": [3, 16, 16], "depth_stride": False}
    second = {"network": "ahnet:resnet18", "freeze": "encoder", "patch": [1, 16, 16]}
    stages = {"slices": gcn, "volumes": second | {"fusion": "slicewise"}}
    told = phantom_settings | common | {"stages": stages}
    train_stages(runs_of(told, tmp_path / "out", "test"), tmp_path / "out")
    first, last = (load_segmenter(tmp_path / "out" / name) for name in stages)
    encoder = first.net.state_dict()
    for name, value in last.net.state_dict().items():  # weights and running statistics
        if name.startswith("encoder."):
            assert torch.equal(value, encoder[name]), name
    scan = read_volume(next(data.glob("imagesTr/*.nii.gz")))
    assert 1 in scan.shape
    for segmenter in (first, last):
        assert segmenter(scan).shape == scan.shape
