import numpy as np
import pytest
import torch
from torchvision.tv_tensors import Mask

from thirdaxis.tasks.detection.augment import changed, fitted, to_middles, to_sides


def marked(height=60, width=72):
    """Two bright rectangles on noise, their boxes by the first and last pixel, their masks."""
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(3, height, width, generator=generator)
    ends = torch.tensor([[20.0, 24, 31, 33], [40, 30, 47, 41]])
    masks = torch.zeros(2, height, width, dtype=torch.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, ends.long().tolist(), strict=True):
        mask[y1 : y2 + 1, x1 : x2 + 1] = 1
        image[:, y1 : y2 + 1, x1 : x2 + 1] = 9 + torch.arange(3.0)[:, None, None]
    return image, to_sides(ends, (height, width)), Mask(masks)


def extent(mask):
    rows, columns = np.nonzero(mask.numpy())
    return [columns.min(), rows.min(), columns.max(), rows.max()]


@pytest.mark.parametrize("kind", ["deeplesion", "flip", "flips", "reversal", "none"])
@pytest.mark.parametrize("seed", range(6))
def test_slices_boxes_and_outlines_are_changed_together(kind, seed):
    image, boxes, masks = changed(*marked(), kind, seed)
    assert image.shape == (3, 60, 72) and len(boxes) == len(masks) == 2
    for box, mask in zip(to_middles(boxes), masks, strict=True):
        # A turned box is the one around its corners, which round a little otherwise.
        tight = torch.tensor(extent(mask), dtype=torch.float32)
        assert (box - tight).abs().max() <= 1.5
        inside = image[:, mask.bool()]
        assert (inside > 5).float().mean() > 0.9
    outside = image[:, ~(masks.sum(0) > 0)]
    assert (outside > 5).float().mean() < 0.03 and image.min() >= 0  # mirrored, never empty


def test_a_seed_is_one_change_and_kinds_do_what_they_say():
    first, again, other = (changed(*marked(), "deeplesion", seed)[0] for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    image = marked()[0]
    wanted = {
        "flip": [image, image.flip(-1)],
        "flips": [image, image.flip(-1), image.flip(-2), image.flip(-1, -2)],
        "reversal": [image, image.flip(-1), image.flip(0), image.flip(0, -1)],
        "none": [image],
    }
    for kind, known in wanted.items():
        seen = set()
        for seed in range(24):
            found = changed(*marked(), kind, seed)[0]
            seen |= {number for number, one in enumerate(known) if torch.equal(found, one)}
            assert any(torch.equal(found, one) for one in known), kind
        assert len(seen) == len(known), kind


def test_a_flipped_box_holds_the_same_pixels():
    image, boxes, masks = marked()
    seeds = (
        seed for seed in range(9) if changed(image, boxes, masks, "flip", seed)[0] is not image
    )
    flipped = changed(image, boxes, masks, "flip", next(seeds))[1]
    assert to_middles(flipped).tolist() == [[40, 24, 51, 33], [24, 30, 31, 41]]


def test_lesions_that_leave_the_image_are_left_out():
    """In a corner: what is turned and enlarged out of the image is no target any more."""
    image = torch.rand(1, 64, 64)
    corner = to_sides(torch.tensor([[0.0, 0, 2, 2]]), (64, 64))
    mask = Mask(torch.zeros(1, 64, 64, dtype=torch.uint8))
    left = [changed(image, corner, mask, "deeplesion", seed) for seed in range(30)]
    assert {len(boxes) for _, boxes, _ in left} == {0, 1}
    assert all(len(boxes) == len(masks) for _, boxes, masks in left)
    assert all((b >= 0).all() and (b <= 64).all() for _, b, _ in left)


def test_slices_are_resized_and_padded():
    image, boxes, masks = marked()
    image, boxes, masks = fitted(image, boxes, masks, 36 / 72, 64, -50.0)
    assert image.shape == (3, 64, 64) and masks.shape == (2, 64, 64)
    assert (image[:, 30:] == -50).all() and (image[:, :, 36:] == -50).all()
    assert (image[:, :30, :36] >= 0).all()
    assert boxes.tolist() == [[10, 12, 16, 17], [20, 15, 24, 21]]
    assert [extent(mask) for mask in masks] == [[10, 12, 15, 16], [20, 15, 23, 20]]
