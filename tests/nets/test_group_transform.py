import pytest
import torch

from thirdaxis.errors import InputError
from thirdaxis.nets.group_transform import CentreSlice, GroupTransform


def test_every_group_takes_exactly_the_slices_of_one_channel():
    torch.manual_seed(0)
    fuse = GroupTransform(channels=4, slices=5)
    torch.nn.init.normal_(fuse.fuse.weight)
    maps = torch.randn(2, 4, 5, 3, 6)
    expected = torch.einsum("cd,ncdhw->nchw", fuse.fuse.weight[:, :, 0, 0], maps)
    torch.testing.assert_close(fuse(maps), expected)
    assert sum(p.numel() for p in fuse.parameters()) == 4 * 5

    slices_first = fuse.fuse(maps.transpose(1, 2).flatten(1, 2))  # the other order is another
    assert not torch.allclose(slices_first, expected, atol=1e-2)


def test_it_starts_as_the_mean_and_the_other_takes_the_middle():
    maps = torch.randn(1, 3, 9, 2, 2)
    torch.testing.assert_close(GroupTransform(3, 9)(maps), maps.mean(2))
    assert torch.equal(CentreSlice()(maps), maps[:, :, 4])
    assert torch.equal(CentreSlice()(maps[:, :, :1]), maps[:, :, 0])


def test_another_depth_is_refused():
    with pytest.raises(InputError, match=r"3 slices got maps of 5"):
        GroupTransform(2, 3)(torch.zeros(1, 2, 5, 4, 4))
