"""The depth rule, for every depth, kernel and stride."""

from hypothesis import given
from hypothesis import strategies as st

from thirdaxis.axes import Geometry, depth_window, pair, shared_stride, strided

sizes = st.integers(1, 9)


@given(depth=st.integers(1, 60), kernel=sizes, dilation=st.integers(1, 3), stride=sizes)
def test_windows_give_as_many_slices_as_the_rule_says(depth, kernel, dilation, stride):
    span = dilation * (kernel - 1) + 1
    for half in (False, True) if span % 2 else (False,):
        left, right = depth_window(span, stride, half)
        starts = list(range(-left, depth + right - span + 1, stride))
        assert len(starts) == strided(depth, stride) == -(-depth // stride)
        assert depth + right - stride < starts[-1] + span <= depth + right
        assert all(start < depth and start + span > 0 for start in starts)
        if not half and kernel >= stride and dilation == 1:
            assert {i for s in starts for i in range(s, s + span)} >= set(range(depth))


@given(size=st.integers(9, 60), kernel=sizes, stride=sizes, padding=st.integers(0, 4))
def test_plane_sizes_are_those_of_the_windows_that_fit(size, kernel, stride, padding):
    geometry = Geometry((kernel, 1), (stride, 1), (padding, 0))
    assert geometry.plane_out(0, size) == len(range(0, size + 2 * padding - kernel + 1, stride))
    assert geometry.plane_out(1, size) == size


def test_pairs_and_shared_strides():
    assert pair(3) == (3, 3) == pair((3,))
    assert pair([2, 1]) == (2, 1)
    assert shared_stride((2, 1), True) == 1 and shared_stride((2, 4), True) == 2
    assert shared_stride((2, 2), False) == 1


def test_half_padding_counts_what_was_padded_before():
    assert Geometry((3, 3), padding=(1, 1)).half and Geometry((3, 3), padded=(1, 1)).half
    assert not Geometry((3, 3)).half and not Geometry((2, 2), padding=(1, 1)).half
    assert Geometry((3, 3), padding=(2, 2), dilation=(2, 2)).half
