import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thirdaxis.data.split import check_apart, check_classes, share, split
from thirdaxis.errors import InputError, UsageError


def patient(name):
    return name.split("-")[0]


cases = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 5)), min_size=1, max_size=40, unique=True
).map(lambda pairs: [f"p{a}-{b}" for a, b in pairs])


@given(cases, st.integers(2, 5), st.integers(0, 99))
def test_folds_are_disjoint_and_together_all(names, folds, seed):
    if len({patient(name) for name in names}) < folds:
        with pytest.raises(UsageError, match="as many patients"):
            split(names, folds=folds, fold=0, seed=seed, group=patient)
        return
    held = []
    for fold in range(folds):
        train, out = split(names, folds=folds, fold=fold, seed=seed, group=patient)
        assert sorted(train + out) == sorted(names)
        assert not {patient(name) for name in train} & {patient(name) for name in out}
        assert train and out and train == sorted(train) and out == sorted(out)
        held += out
    assert sorted(held) == sorted(names)


@given(cases, st.integers(0, 99), st.randoms(use_true_random=False))
def test_the_order_of_the_names_does_not_matter(names, seed, shuffler):
    if len({patient(name) for name in names}) < 2:
        return
    mixed = list(names)
    shuffler.shuffle(mixed)
    first = split(names, folds=2, fold=1, fraction=0.5, seed=seed, group=patient)
    assert first == split(mixed, folds=2, fold=1, fraction=0.5, seed=seed, group=patient)


@given(cases, st.floats(0.01, 1), st.floats(0.01, 1), st.integers(0, 99))
def test_smaller_fractions_lie_in_larger_ones(names, one, other, seed):
    if len({patient(name) for name in names}) < 3:
        return
    low, high = sorted([one, other])
    small, out = split(names, folds=3, fold=0, fraction=low, seed=seed, group=patient)
    large, same = split(names, folds=3, fold=0, fraction=high, seed=seed, group=patient)
    everything, _ = split(names, folds=3, fold=0, seed=seed, group=patient)
    assert out == same and small
    assert set(small) <= set(large) <= set(everything)
    whole = {patient(name) for name in small}
    assert [name for name in everything if patient(name) in whole] == small


def test_a_split_is_the_same_on_every_machine_and_day():
    names = [f"case{n}" for n in range(10)]
    train, out = split(names, folds=5, fold=0, seed=0)
    assert out == ["case4", "case7"]
    assert len(train) == 8
    assert split(names, folds=5, fold=0, seed=1)[1] != out


def test_a_fraction_counts_patients():
    names = [f"p{n}-{k}" for n in range(100) for k in range(3)]
    train, out = split(names, folds=5, fold=2, fraction=0.1, group=patient)
    assert len(train) == 8 * 3 and len(out) == 20 * 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"folds": 1, "fold": 0}, "at least 2 folds"),
        ({"folds": 3, "fold": 3}, "fold 3 of 3"),
        ({"folds": 3, "fold": -1}, "fold -1 of 3"),
        ({"folds": 2, "fold": 0, "fraction": 0.0}, "above 0"),
        ({"folds": 2, "fold": 0, "fraction": 1.5}, "at most 1"),
        ({"folds": 9, "fold": 0}, "there are 3"),
    ],
)
def test_settings_out_of_range_are_named(settings, message):
    with pytest.raises(UsageError, match=message):
        split(["a", "b", "c"], **settings)


def test_a_name_given_twice_is_refused():
    with pytest.raises(UsageError, match="twice"):
        split(["a", "a", "b"], folds=2, fold=0)


def diseased(name: str) -> str:
    return "ill" if int(name[1:]) % 5 == 0 else "well"


NUMBERED = [f"c{number}" for number in range(100)]


@given(st.integers(0, 50), st.integers(2, 7))
@settings(max_examples=30)
def test_strata_come_in_equal_shares(seed, folds):
    held = [
        split(NUMBERED, folds=folds, fold=fold, seed=seed, stratum=diseased)[1]
        for fold in range(folds)
    ]
    assert sorted(name for part in held for name in part) == sorted(NUMBERED)
    ill = [sum(diseased(name) == "ill" for name in part) for part in held]
    assert max(ill) - min(ill) <= 1
    sizes = [len(part) for part in held]
    assert max(sizes) - min(sizes) <= 1


def test_fractions_of_strata_are_nested_and_even():
    parts = []
    for fraction in (0.25, 0.5, 0.75, 1.0):
        train, held = split(NUMBERED, folds=5, fold=1, fraction=fraction, seed=3, stratum=diseased)
        parts.append(set(train))
        assert len(train) == round(80 * fraction) and len(held) == 20
        assert sum(diseased(name) == "ill" for name in train) == round(16 * fraction)
    assert parts[0] < parts[1] < parts[2] < parts[3]
    halves = [set(share(NUMBERED, part, seed=3, stratum=diseased)) for part in (0.3, 0.6)]
    assert halves[0] < halves[1] and len(halves[0]) == 30
    assert sum(diseased(name) == "ill" for name in halves[0]) == 6


def test_a_patient_of_two_strata_counts_for_the_rarer():
    def household(name: str) -> str:
        return str(int(name[1:]) // 5)

    for fold in range(4):
        train, held = split(NUMBERED, folds=4, fold=fold, group=household, stratum=diseased)
        assert not {household(name) for name in train} & {household(name) for name in held}
        assert sum(diseased(name) == "ill" for name in held) == 5


def test_a_patient_in_two_parts_is_refused():
    parts = {"training": ["a-1", "b-1"], "validation": [], "test": ["c-1", "a-2"]}
    with pytest.raises(InputError, match="'a' is in both training and test"):
        check_apart(parts, lambda name: name[0])
    check_apart(parts, lambda name: name)


def test_a_part_without_a_class_is_refused():
    with pytest.raises(InputError, match=r"'1' has no samples in test \(0 2, 1 0\)"):
        check_classes({"training": [0, 1], "validation": [], "test": [0, 0]}, [0, 1])
    check_classes({"training": [0, 1], "validation": [], "test": [1, 0]}, [0, 1])
