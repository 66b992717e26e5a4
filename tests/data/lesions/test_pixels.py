import numpy as np
import pytest
import torch

from thirdaxis.data.lesions.pixels import slice_pixels
from thirdaxis.errors import UsageError


def test_the_window_becomes_minus_50_to_205():
    hu = np.array([[-3000, -1024, 513], [2050, 3000, 0]], np.int16)
    found = slice_pixels(hu)
    assert found.dtype == torch.float32
    expected = [[-50, -50, 77.5], [205, 205, 1024 / 3074 * 255 - 50]]
    torch.testing.assert_close(found, torch.tensor(expected))


def test_another_window_and_no_shift():
    found = slice_pixels(torch.tensor([-160.0, 40, 240]), (-160, 240), shift=0)
    torch.testing.assert_close(found, torch.tensor([0.0, 127.5, 255]))
    with pytest.raises(UsageError, match="a window goes up"):
        slice_pixels(found, (240, -160))
