import pytest

from thirdaxis.errors import UsageError
from thirdaxis.tasks.detection.network import detector_settings, make_lesion_detector
from thirdaxis.tasks.detection.plan import DetectPlan
from thirdaxis.tasks.schedule import in_steps
from thirdaxis.tasks.settings_files import default_text, make_settings


def settings(**values):
    return make_settings({"task": "detect", "data": "d", **values}, "test")


def test_the_defaults_are_the_published_ones():
    told = settings()
    assert (told.rate, told.momentum, told.weight_decay, told.clip) == (0.02, 0.9, 1e-4, 35)
    assert [in_steps(share, 200, 10) for share in told.milestones] == [90, 160]  # of 20 epochs
    assert in_steps(told.warmup, 10_000) == 500 and told.warmup_from == 0.01
    assert settings(batch=2).rate == 0.005 and settings(batch=2, accumulate=4).rate == 0.02
    assert "# Slices the network sees, an odd number" in default_text("detect")


def test_proposals_are_as_published_unless_told():
    published, fewer = settings(), settings(proposals_before="9,8")
    by_default, found = (detector_settings(one, DetectPlan.of(one)) for one in (published, fewer))
    assert by_default.proposals_before == (12000, 6000)
    assert found.proposals_before == (9, 8)
    assert found.proposals_after == by_default.proposals_after == (2000, 300)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"scales": [16, 64]}, "less than the 32 pixels of a detector"),
        ({"depth": 4}, "depth 4 is even; take an odd number of slices"),
        ({"window": "100,100"}, "window 100, 100 needs its lower end first"),
        ({"grey": [205, -50]}, "grey 205, -50 needs its lower end first"),
        ({"interval": 0}, "setting 'interval'"),
        ({"interval": "nativ"}, "setting 'interval'"),
        ({"augment": "light"}, "setting 'augment'"),
        ({"anchors": []}, "setting 'anchors'"),
        ({"proposals_before": 9}, "setting 'proposals_before'"),
        ({"size": 16}, "setting 'size'"),
        ({"score_treshold": 0.1}, "did you mean 'score_threshold'"),
        ({"patience": 2, "selection": 0, "official": False}, "patience needs slices to choose by"),
    ],
)
def test_settings_that_cannot_be(values, said):
    with pytest.raises(UsageError, match=said):
        settings(**values)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"fusion": "asc"}, "unknown fusion 'asc'; did you mean 'acs'"),
        (
            {"network": "torchvision:resnet5"},
            "unknown torchvision network .resnet5.; did you mean .resnet50.",
        ),
        ({"network": "unet"}, "unet is no classifier"),
        ({"depth_stride": True}, "a detector keeps all slices"),
    ],
)
def test_networks_that_cannot_be(values, said):
    told = settings(**values)
    with pytest.raises(UsageError, match=said):
        make_lesion_detector(told, DetectPlan.of(told))
