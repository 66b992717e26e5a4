import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from torchvision.tv_tensors import Image

from thirdaxis.data.photographs.views import AUGMENTS, steady_view, training_view

MEAN, DEVIATION = [100.0, 110.0, 120.0], [50.0, 60.0, 70.0]
GREY = {"mean": MEAN, "deviation": DEVIATION}


def picture(pixels):
    return Image(torch.from_numpy(pixels.copy()).permute(2, 0, 1))


@pytest.mark.parametrize("augment", AUGMENTS)
@pytest.mark.parametrize("size", [24, 32])
def test_views_are_volumes_or_pictures_of_the_size_asked_for(photograph, augment, size):
    one = picture(photograph(height=30, width=44))
    for volume, shape in ((True, (1, 3, size, size)), (False, (3, size, size))):
        told = {**GREY, "volume": volume}
        for view in (
            training_view(size, augment, shuffle=True, **told),
            steady_view(size, augment, **told),
        ):
            seen = view(one)
            assert seen.shape == shape and seen.dtype == torch.float32
            assert type(seen) is torch.Tensor or not volume


@pytest.mark.parametrize("augment", AUGMENTS)
def test_the_middle_of_a_picture(photograph, augment):
    """Against Pillow's resizing and NumPy."""
    pixels = photograph(height=48, width=64)
    seen = steady_view(28, augment, volume=True, **GREY)(picture(pixels))
    side = 28 if augment in {"padded_crop", "none"} else 32
    wide = int(side * 64 / 48)
    resized = Pillow.fromarray(pixels).resize((wide, side), Pillow.Resampling.BILINEAR)
    left, top = round((wide - 28) / 2), (side - 28) // 2
    middle = np.asarray(resized, np.float32)[top : top + 28, left : left + 28]
    wanted = (middle - MEAN) / DEVIATION
    # torchvision rounds to whole grey values in another way: one of them is 0.02 here
    difference = np.abs(seen[0].permute(1, 2, 0).numpy() - wanted)
    assert difference.max() < 0.05


def test_slices_are_the_colours_in_their_order_or_in_a_random_one(photograph):
    flat = np.full((40, 40, 3), (10, 100, 200), np.uint8)
    told = {"mean": [0.0] * 3, "deviation": [1.0] * 3}
    kept = training_view(32, "resized_crop", volume=True, shuffle=False, **told)(picture(flat))
    assert kept[0, :, 0, 0].tolist() == [10, 100, 200]
    for volume in (True, False):
        view = training_view(32, "crop", volume=volume, shuffle=True, **told)
        orders = set()
        for seed in range(40):
            torch.manual_seed(seed)
            orders.add(tuple(view(picture(flat)).reshape(3, 32, 32)[:, 0, 0].tolist()))
        assert len(orders) == 6 and all(sorted(order) == [10, 100, 200] for order in orders)


def test_a_seed_is_a_view(photograph):
    one, view = (
        picture(photograph(height=60, width=60)),
        training_view(32, "resized_crop", volume=True, shuffle=True, **GREY),
    )
    seen = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        seen.append(view(one))
    assert torch.equal(seen[0], seen[1]) and not torch.equal(seen[0], seen[2])


@pytest.mark.parametrize("augment", ["resized_crop", "crop", "padded_crop"])
def test_half_of_the_views_are_flipped(augment):
    ramp = np.broadcast_to(np.arange(0, 240, 6, dtype=np.uint8)[None, :, None], (40, 40, 3))
    told = {"mean": [0.0] * 3, "deviation": [1.0] * 3, "volume": True, "shuffle": False}
    view = training_view(32, augment, **told)
    torch.manual_seed(0)
    rising = [
        bool(v[0, 0, 16, 8] < v[0, 0, 16, 24]) for v in (view(picture(ramp)) for _ in range(60))
    ]
    assert 15 < sum(rising) < 45
