import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from thirdaxis.data.lesions.rle import decoded, encoded

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9))


@given(MASKS)
def test_a_mask_comes_back(mask):
    found = decoded(encoded(mask))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, mask)


@given(MASKS, st.integers(1, 255))
def test_coco_reads_it_as_the_same_mask(mask, value):
    tool = pytest.importorskip("pycocotools.mask")
    rle = encoded(mask.astype(np.uint8) * value)
    packed = tool.frPyObjects(dict(rle), *rle["size"])
    np.testing.assert_array_equal(tool.decode(packed), mask)
    assert packed == tool.encode(np.asfortranarray(mask.astype(np.uint8)))


def test_runs_go_down_the_columns_and_start_with_0():
    assert encoded(np.array([[1, 0], [1, 1]])) == {"size": [2, 2], "counts": [0, 2, 1, 1]}


@pytest.mark.parametrize("counts", [[3], [5], [5, -1], []])
def test_runs_that_do_not_fill_the_mask_are_refused(counts):
    with pytest.raises(ValueError, match="in a mask of 2 x 2"):
        decoded({"size": [2, 2], "counts": counts})
