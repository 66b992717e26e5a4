import numpy as np
import pytest
import torch

from thirdaxis.errors import UsageError
from thirdaxis.tasks.kernel_pictures import draw_kernels, kernels_figure


def test_each_kernel_is_a_row_of_its_slices_scaled_by_itself():
    kernels = torch.zeros(2, 1, 3, 2, 2)
    kernels[0, 0, 0], kernels[1, 0, 2] = 0.5, -4.0
    kernels[1, 0, 1, 1, 0] = 2.0
    (axes,) = kernels_figure(kernels).axes
    picture = axes.images[0].get_array().filled(np.nan)
    # The second kernel has more energy and stands first; a slice is 2 wide with a gap of 1.
    assert picture[0, 0] == 0 and picture[1, 3] == 0.5 and picture[0, 6] == -1
    assert np.isnan(picture[0, 2]) and np.isnan(picture[2]).all()
    assert picture[0, 11] == 1 and picture[0, 14] == 0


def test_the_title_tells_the_numbers(tmp_path):
    kernels = torch.ones(3, 2, 2, 1, 1)
    kernels[:, :, 1] = -1.0
    words = kernels_figure(kernels, "ours").get_suptitle()
    assert (
        words.startswith("ours\n") and "depth 1.000 (random start 0.500); by tap 50 50 %" in words
    )
    draw_kernels(torch.randn(70, 1, 3, 3, 3), tmp_path / "k.png")
    assert (tmp_path / "k.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UsageError):
        draw_kernels(torch.zeros(3, 3, 7, 7), tmp_path / "flat.png")
    assert not (tmp_path / "flat.png").exists()
