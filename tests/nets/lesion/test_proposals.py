import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from thirdaxis.nets.lesion.proposals import BestAnchors, Proposals
from thirdaxis.nets.lesion.settings import DetectorSettings

HIGH, LOW, FLOOR = 0.7, 0.3, 0.3


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """IoU of two boxes."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0.0, width) * max(0.0, height)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return shared / (sum(areas) - shared)


def matched(quality: np.ndarray) -> list[int]:
    """The lesion of each anchor, -1 background, -2 neither, as mmdetection 1.x assigns them."""
    found = []
    for column in quality.T:
        best = int(column.argmax())
        found.append(best if column[best] >= HIGH else -1 if column[best] < LOW else -2)
    for lesion, row in enumerate(quality):
        if row.max() >= FLOOR:
            for anchor in np.flatnonzero(row == row.max()):
                found[anchor] = lesion
    return found


def anchors_of(rows: int, columns: int, settings: DetectorSettings) -> np.ndarray:
    """All anchors of a map, by place, ratio and size."""
    found = []
    for row in range(rows):
        for column in range(columns):
            for ratio in settings.ratios:
                for size in settings.sizes:
                    # np.round and torch.round both take a half to the even number
                    x = np.round(size / math.sqrt(ratio) / 2)
                    y = np.round(size * math.sqrt(ratio) / 2)
                    place = np.array([column, row, column, row]) * 4
                    found.append(place + [-x, -y, x, y])
    return np.array(found)


@pytest.fixture
def small() -> DetectorSettings:
    return DetectorSettings(width=8, anchors=(10**6, 0.5), sizes=(16, 24))


shares = st.sampled_from([0.0, 0.1, 0.29, 0.3, 0.5, 0.69, 0.7, 0.9])


@given(arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 12)), elements=shares))
def test_matching_against_a_loop(quality):
    found = BestAnchors(HIGH, LOW, FLOOR)(torch.from_numpy(quality))
    assert found.tolist() == matched(quality)


def test_a_far_lesion_gets_no_anchor_and_a_near_one_its_best():
    quality = torch.tensor([[0.2, 0.1, 0.0], [0.0, 0.4, 0.35]])
    assert BestAnchors(HIGH, LOW, FLOOR)(quality).tolist() == [-1, 1, -2]


def test_anchors_are_those_of_the_papers():
    settings = DetectorSettings(width=4)
    proposals = Proposals(settings).eval()
    assert proposals.anchor_generator.num_anchors_per_location() == [18]
    seen = {}
    proposals.anchor_generator.register_forward_hook(lambda m, a, out: seen.update(out=out))
    with torch.no_grad():
        proposals.of_map(torch.randn(1, 4, 8, 16), (30, 61), None)
    expected = anchors_of(8, 16, settings)
    np.testing.assert_array_equal(seen["out"][0].numpy(), expected)
    # a square of 16 pixels, at the third column of the second row
    assert [0.0, -4.0, 16.0, 12.0] in expected[18 * (16 + 2) :][:18].tolist()


def test_targets_and_losses_against_numpy(small):
    """With all anchors sampled nothing is left to chance; some reach over the image's edge."""
    torch.manual_seed(0)
    size, lesions = (60, 50), np.array([[10.0, 12, 24, 30], [21, 24, 46, 45]], np.float32)
    proposals = Proposals(small)
    for part in proposals.head.parameters():
        torch.nn.init.normal_(part, std=0.1)
    image = torch.randn(1, 8, 16, 16)
    anchors = anchors_of(16, 16, small)
    low, high = anchors[:, :2], anchors[:, 2:]
    inside = np.flatnonzero((low >= 0).all(1) & (high <= [50, 60]).all(1))
    quality = np.array([[overlap(box, anchors[i]) for i in inside] for box in lesions])
    truth = np.full(len(anchors), -2)
    truth[inside] = matched(quality)
    [label], [boxes] = proposals.assign_targets_to_anchors(
        [torch.from_numpy(anchors).float()], [{"boxes": torch.from_numpy(lesions), "size": size}]
    )
    expected = np.where(truth >= 0, 1, np.where(truth == -1, 0, -1))
    np.testing.assert_array_equal(label.numpy(), expected)
    assert (expected == 1).sum() > 2 and (expected == 0).sum() > 20 and len(inside) < len(anchors)
    np.testing.assert_array_equal(boxes.numpy()[truth >= 0], lesions[truth[truth >= 0]])

    _, lost = proposals.train().of_map(image, size, [{"boxes": torch.from_numpy(lesions)}])
    with torch.no_grad():
        [scores], [moves] = proposals.head([image])
    scores = scores[0].permute(1, 2, 0).reshape(-1).double().numpy()
    moves = moves[0].permute(1, 2, 0).reshape(-1, 4).double().numpy()
    sampled = expected >= 0
    share = 1 / (1 + np.exp(-scores[sampled]))
    said = np.where(expected[sampled] == 1, share, 1 - share)
    assert lost["loss_objectness"].item() == pytest.approx(-np.log(said).mean(), rel=1e-4)
    total = 0.0
    for i in np.flatnonzero(expected == 1):
        a, b = anchors[i], lesions[truth[i]]
        side = a[2:] - a[:2]
        wanted = [
            *(((b[:2] + b[2:]) - (a[:2] + a[2:])) / 2 / side),
            *np.log((b[2:] - b[:2]) / side),
        ]
        for off in np.abs(moves[i] - wanted):
            total += off - 1 / 18 if off >= 1 / 9 else off**2 * 9 / 2
    assert lost["loss_rpn_box_reg"].item() == pytest.approx(total / sampled.sum(), rel=1e-4)


def test_an_image_without_lesions_is_all_background(small):
    anchors = torch.from_numpy(anchors_of(8, 8, small)).float()
    target = {"boxes": torch.zeros(0, 4), "size": (32, 32)}
    [label], [boxes] = Proposals(small).assign_targets_to_anchors([anchors], [target])
    assert set(label.tolist()) == {0.0, -1.0}
    assert boxes.isfinite().all()


def test_proposals_lie_in_the_image_and_are_counted_by_mode():
    torch.manual_seed(0)
    settings = DetectorSettings(
        width=4, proposals_before=(60, 40), proposals_after=(11, 5), proposal_overlap=0.99
    )
    proposals = Proposals(settings)
    image, targets = torch.randn(2, 4, 16, 16), [{"boxes": torch.tensor([[8.0, 8, 24, 24]])}] * 2
    found, _ = proposals.of_map(image, (60, 50), targets)
    assert [len(boxes) for boxes in found] == [11, 11]
    found, lost = proposals.eval().of_map(image, (60, 50), None)
    assert [len(boxes) for boxes in found] == [5, 5] and not lost
    for boxes in found:
        assert (boxes >= 0).all() and (boxes[:, 0::2] <= 50).all() and (boxes[:, 1::2] <= 60).all()


def test_boxes_stay_in_single_precision_under_autocast(small):
    proposals, kinds = Proposals(small).eval(), []
    proposals.anchor_generator.register_forward_hook(lambda m, a, out: kinds.append(out[0].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = proposals.of_map(torch.randn(1, 8, 64, 64).bfloat16(), (256, 256), None)
    assert found[0].dtype == torch.float32 and kinds == [torch.float32]
    assert (found[0] != found[0].bfloat16().float()).any()
