import itertools

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data.meta_tensor import MetaTensor
from scipy import ndimage
from scipy.spatial.transform import Rotation

from thirdaxis.data.grid import onto, to_grid
from thirdaxis.data.volume import Volume, same_grid
from thirdaxis.errors import InputError, UsageError

ORIENTATIONS = [
    "".join(letters)
    for order in itertools.permutations(["LR", "PA", "IS"])
    for letters in itertools.product(*order)
]


@st.composite
def volumes(draw, max_size=6, tilt=0.5, channels=1):
    shape = tuple(draw(st.integers(2, max_size)) for _ in range(3))
    order = draw(st.permutations(range(3)))
    flips = [draw(st.sampled_from([-1.0, 1.0])) for _ in range(3)]
    spacing = [draw(st.floats(0.3, 6)) for _ in range(3)]
    angles = [draw(st.floats(-tilt, tilt)) for _ in range(3)]
    origin = [draw(st.floats(-200, 200)) for _ in range(3)]
    affine = np.eye(4)
    turned = np.eye(3)[:, order] * flips * spacing
    affine[:3, :3] = Rotation.from_euler("xyz", angles).as_matrix() @ turned
    affine[:3, 3] = origin
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    array = rng.normal(size=(channels, *shape)).astype(np.float32)
    return Volume(torch.from_numpy(array), torch.from_numpy(affine))


def world(volume):
    """Value of each voxel with its place, sorted by value."""
    index = np.indices(volume.shape).reshape(3, -1)
    places = volume.affine.numpy() @ np.vstack([index, np.ones(index.shape[1])])
    values = volume.array[0].numpy().ravel()
    order = np.argsort(values)
    return values[order], places[:3, order]


def oracle(volume, like, order):
    """SciPy's interpolation at the places of `like`'s voxels, border values outside."""
    index = np.indices(like.shape).reshape(3, -1)
    places = like.affine.numpy() @ np.vstack([index, np.ones(index.shape[1])])
    at = (np.linalg.inv(volume.affine.numpy()) @ places)[:3]
    flat = [
        ndimage.map_coordinates(c.double().numpy(), at, order=order, mode="nearest")
        for c in volume.array
    ]
    return np.stack(flat).reshape(-1, *like.shape), at.reshape(3, *like.shape)


@settings(deadline=None, max_examples=60)
@given(volumes(), st.sampled_from(ORIENTATIONS))
def test_turning_keeps_every_voxel_in_its_place(volume, orientation):
    turned = to_grid(volume, orientation)
    before, after = world(volume), world(turned)
    np.testing.assert_array_equal(before[0], after[0])
    np.testing.assert_allclose(before[1], after[1], atol=1e-8)
    assert "".join(nib.aff2axcodes(turned.affine.numpy())) == orientation


@settings(deadline=None, max_examples=60)
@given(volumes(channels=2), st.sampled_from(ORIENTATIONS))
def test_there_and_back_is_bit_equal(volume, orientation):
    back = onto(to_grid(volume, orientation), volume)
    assert torch.equal(back.array, volume.array)
    assert torch.equal(back.affine, volume.affine)
    assert type(back.array) is torch.Tensor and not isinstance(back.array, MetaTensor)


def test_every_orientation_is_listed_once():
    assert len(set(ORIENTATIONS)) == 48


@settings(deadline=None, max_examples=40)
@given(volumes(channels=2), st.tuples(*[st.floats(0.4, 5)] * 3))
def test_bilinear_spacing_agrees_with_scipy(volume, spacing):
    result = to_grid(volume, spacing=spacing)
    expected, _ = oracle(volume, result, order=1)
    assert type(result.array) is torch.Tensor
    np.testing.assert_allclose(result.array.numpy(), expected, atol=2e-4)
    np.testing.assert_allclose(result.spacing, spacing, rtol=1e-9)


@settings(deadline=None, max_examples=40)
@given(volumes(), volumes())
def test_onto_an_unrelated_grid_agrees_with_scipy(volume, like):
    result = onto(volume, like)
    expected, _ = oracle(volume, like, order=1)
    # Far outside, float32 coordinates clip to the border just as float64 ones do.
    np.testing.assert_allclose(result.array.numpy(), expected, atol=5e-4)
    assert same_grid(result, like)


@settings(deadline=None, max_examples=40)
@given(volumes(), st.tuples(*[st.floats(0.4, 5)] * 3))
def test_labels_go_to_the_nearest_voxel_and_keep_their_type(volume, spacing):
    labels = Volume((volume.array * 3).round().to(torch.int16), volume.affine)
    result = to_grid(labels, spacing=spacing)
    expected, at = oracle(labels, result, order=0)
    assert result.array.dtype == torch.int16
    clear = (np.abs(at - np.floor(at) - 0.5) > 1e-3).all(axis=0)
    np.testing.assert_array_equal(result.array.numpy()[0][clear], expected[0][clear])


@settings(deadline=None, max_examples=40)
@given(volumes(), st.tuples(*[st.floats(0.4, 5)] * 3))
def test_a_new_spacing_keeps_the_middle_of_the_scan(volume, spacing):
    def middle(one):
        centre = torch.tensor([(n - 1) / 2 for n in one.shape] + [1.0], dtype=torch.float64)
        return (one.affine @ centre).numpy()

    np.testing.assert_allclose(middle(to_grid(volume, spacing=spacing)), middle(volume), atol=1e-8)


@settings(deadline=None, max_examples=30)
@given(volumes())
def test_the_spacing_it_has_changes_nothing(volume):
    turned = to_grid(volume)
    again = to_grid(turned, spacing=turned.spacing)
    assert torch.equal(again.array, turned.array)
    torch.testing.assert_close(again.affine, turned.affine)


def test_a_linear_ramp_survives_halving_and_doubling():
    # The written-out half-voxel rule: 8 voxels of 1 mm become 4 of 2 mm, centred between pairs.
    ramp = torch.arange(8.0).reshape(1, 8, 1, 1).expand(1, 8, 4, 4).contiguous()
    volume = to_grid(Volume(ramp, torch.diag(torch.tensor([1.0, 1, 1, 1]).double())), "RAS")
    half = to_grid(volume, "RAS", spacing=(2, 1, 1))
    assert half.array[0, :, 0, 0].tolist() == pytest.approx([0.5, 2.5, 4.5, 6.5])
    double = to_grid(volume, "RAS", spacing=(0.5, 1, 1))
    assert double.array[0, :4, 0, 0].tolist() == pytest.approx([0.0, 0.25, 0.75, 1.25])


@settings(max_examples=20)
@given(volumes(channels=2), volumes())
def test_slabs_meet_without_a_seam(volume, like):
    whole = onto(volume, like)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("thirdaxis.data.grid.SLAB_VOXELS", 1)
        slabs = onto(volume, like)
    torch.testing.assert_close(slabs.array, whole.array, atol=5e-4, rtol=0)


def test_microscopic_spacing_is_not_taken_for_the_same_grid():
    array = torch.arange(8.0).reshape(1, 8, 1, 1).expand(1, 8, 3, 3).contiguous()
    affine = torch.diag(torch.tensor([1e-4, 1e-4, 1e-4, 1.0]).double())
    moved = affine.clone()
    moved[0, 3] = 2e-4  # two voxels on
    result = onto(Volume(array, affine), Volume(array, moved))
    assert result.array[0, :5, 0, 0].tolist() == pytest.approx([2, 3, 4, 5, 6])


def test_labels_too_large_to_resample_are_refused_not_rounded():
    fits = Volume(torch.full((1, 4, 4, 4), 2**24 - 1), torch.eye(4).double())
    assert to_grid(fits, spacing=(0.7, 0.7, 0.7)).array.unique().tolist() == [2**24 - 1]
    large = Volume(torch.full((1, 4, 4, 4), 2**24 + 1), torch.eye(4).double())
    assert to_grid(large).array.unique().tolist() == [2**24 + 1]
    with pytest.raises(InputError, match="renumber"):
        to_grid(large, spacing=(0.7, 0.7, 0.7))


def test_a_single_slice_can_be_resampled():
    volume = Volume(torch.ones(1, 1, 6, 6), torch.diag(torch.tensor([5.0, 1, 1, 1]).double()))
    result = to_grid(volume, "RAS", spacing=(1, 1, 1))
    assert result.shape == (5, 6, 6)
    assert torch.equal(result.array, torch.ones(1, 5, 6, 6))


@pytest.mark.parametrize("spacing", [(1, 1), (0, 1, 1), (1, -1, 1), (1, 1, float("nan"))])
def test_an_impossible_spacing_is_named(spacing):
    volume = Volume(torch.ones(1, 2, 2, 2), torch.eye(4).double())
    with pytest.raises(UsageError, match="three positive lengths"):
        to_grid(volume, spacing=spacing)


@pytest.mark.parametrize("orientation", ["SPX", "SP", "SSL", "SPLA", ""])
def test_an_impossible_orientation_is_named(orientation):
    volume = Volume(torch.ones(1, 2, 2, 2), torch.eye(4).double())
    with pytest.raises(UsageError, match="three letters"):
        to_grid(volume, orientation)


def test_an_unknown_mode_is_named():
    volume = Volume(torch.ones(1, 2, 2, 2), torch.eye(4).double())
    with pytest.raises(UsageError, match="'cubic'"):
        to_grid(volume, spacing=(1, 1, 2), mode="cubic")
