import pytest

from thirdaxis.tasks.feed import ItemSampler, batches_of, share_of, shuffled
from thirdaxis.tasks.settings import RunSettings


def test_devices_together_see_the_batches_of_one_device():
    samplers = [ItemSampler(12, rank, 3) for rank in range(3)]
    for sampler in (*samplers, alone := ItemSampler(12)):
        sampler.set_epoch(2)
    shares = [list(sampler) for sampler in samplers]
    assert list(alone) == list(range(24, 36))
    assert [len(sampler) for sampler in samplers] == [4, 4, 4]
    for step in range(2):  # two steps of six patches, two on each device
        together = {item for share in shares for item in share[2 * step : 2 * step + 2]}
        assert together == set(range(24 + 6 * step, 30 + 6 * step))


@pytest.mark.parametrize(
    ("values", "batches"),
    [({"batch": 4}, 5), ({"epoch_steps": 7}, 7), ({"epoch_steps": 7, "accumulate": 3}, 21)],
)
def test_batches_of_an_epoch(values, batches):
    assert batches_of(RunSettings(task="test", data="d", **values), 18) == batches


def test_every_pass_has_every_sample_in_an_order_of_its_own():
    passes = [[shuffled(7 * turn + place, 7, 3) for place in range(7)] for turn in range(3)]
    assert all(sorted(one) == list(range(7)) for one in passes)
    assert passes[0] != passes[1] != passes[2]
    assert [shuffled(place, 7, 3) for place in range(7)] == passes[0]


def test_devices_judge_every_sample_and_equally_many():
    assert [share_of(5, rank, 2) for rank in range(2)] == [[0, 2, 4], [1, 3, 0]]
    assert share_of(1, 1, 2) == [0]
