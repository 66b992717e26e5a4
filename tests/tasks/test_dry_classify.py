import pytest

from thirdaxis.errors import UsageError
from thirdaxis.tasks.classify_settings import ClassifySettings
from thirdaxis.tasks.dry_classify import size_of, stand_in_plan
from thirdaxis.tasks.dry_run import dry_run

SMALL = {"network": "timm:test_resnet", "size": (8, 48, 48), "accelerator": "cpu"}


@pytest.mark.parametrize(
    "told",
    [
        {"classes": {1: "low", 2: "low", 3: "high"}, "weights": "not-there.safetensors"},
        {"kind": "labels", "label_columns": "a,b,c"},
        {"kind": "grade", "fusion": "a3d"},
        {"data": "organmnist3d_64.npz", "size": (16, 16, 16)},
    ],
    ids=["classes", "labels", "grade", "medmnist"],
)
def test_a_run_without_its_data(told):
    lines: list[str] = []
    dry_run(ClassifySettings(**{"data": "t.csv", **SMALL, **told}), lines.append)
    assert sum("one step on stand-ins" in line for line in lines) == 1
    outputs = {"classes": 2, "labels": 3}.get(told.get("kind", "classes"))
    expected = 11 if "data" in told else outputs
    answers = next(line for line in lines if line.startswith("answers"))
    assert answers.endswith(f", {expected})") or told.get("kind") == "grade"
    assert any("not loaded" in line for line in lines) == ("weights" in told)


def test_counting_alone_trains_nothing():
    lines: list[str] = []
    dry_run(ClassifySettings(data="t.csv", network="lidc:resnet18"), lines.append, step=False)
    assert any("11.1" in line and "M parameters" in line for line in lines)
    assert not any("step on stand-ins" in line for line in lines)


def test_what_cannot_run_is_told():
    with pytest.raises(UsageError, match="unknown torchvision network"):
        dry_run(ClassifySettings(data="t.csv", network="torchvision:resnet81"), print)


def test_sizes_and_classes_as_far_as_they_are_told():
    by_mm = ClassifySettings(data="t.csv", around="middle", size_mm="32,32,30", spacing="2,1,1.5")
    assert size_of(by_mm) == (16, 32, 20)
    assert size_of(ClassifySettings(data="fracturemnist3d.npz")) == (28, 28, 28)
    settings = ClassifySettings(data="t.csv", classes={1: 10, 2: 9})
    assert stand_in_plan(settings, (8, 8, 8)).names == ("9", "10")
