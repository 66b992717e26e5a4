import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thirdaxis.data.photographs.folder import read_photo_folder
from thirdaxis.data.photographs.parts import read_photographs
from thirdaxis.data.photographs.pictures import Pictures, digest, hold_out, share
from thirdaxis.errors import InputError


class Numbered:
    """Pictures that are their own numbers."""

    def content(self, number):
        return str(number).encode()

    def name(self, number):
        return f"picture/{number}"


def pictures_of(counts, seed=0):
    labels = np.repeat(np.arange(len(counts)), counts)
    mixed = np.random.default_rng(seed).permutation(labels)
    names = tuple(f"class {number}" for number in range(len(counts)))
    return Pictures(names, mixed, Numbered(), np.arange(len(mixed)))


counts = st.lists(st.integers(6, 20), min_size=2, max_size=5)


@given(counts, st.integers(2, 6), st.integers(0, 9))
def test_folds_share_out_every_class_and_every_picture_once(counts, folds, seed):
    pictures = pictures_of(counts, seed)
    held_in = np.zeros(len(pictures), int)
    for fold in range(folds):
        training, held = hold_out(pictures, folds, fold, seed, "test")
        assert set(training.places) | set(held.places) == set(range(len(pictures)))
        assert not set(training.places) & set(held.places)
        held_in[held.places] += 1
        each = np.bincount(held.labels, minlength=len(counts))
        assert all(
            count // folds <= n <= -(-count // folds) for n, count in zip(each, counts, strict=True)
        )
        assert np.array_equal(held.labels, pictures.labels[held.places])
    assert (held_in == 1).all()


@given(counts, st.integers(0, 9), st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)))
def test_smaller_shares_are_part_of_larger_ones(counts, seed, fractions):
    pictures = pictures_of(counts, seed)
    small, large = (share(pictures, fraction, seed) for fraction in sorted(fractions))
    assert set(small.places) <= set(large.places)
    each = np.bincount(small.labels, minlength=len(counts))
    assert each.tolist() == [max(1, round(min(fractions) * count)) for count in counts]


def test_a_class_too_small_to_hold_some_out_is_refused():
    with pytest.raises(InputError, match="class 'class 1' has 3 pictures, too few to hold one out"):
        hold_out(pictures_of([9, 3]), 5, 0, 0, "test")


def test_a_digest_knows_a_data_set_that_moved_and_one_that_changed(photo_folder):
    before = digest([read_photo_folder(photo_folder)])
    moved = photo_folder.parent / "elsewhere" / "photos"
    shutil.copytree(photo_folder, moved)
    assert digest([read_photo_folder(moved)]) == before
    (moved / "cat" / "0.JPEG").rename(moved / "dog" / "00.JPEG")
    assert digest([read_photo_folder(moved)]) != before


def test_a_folder_without_held_out_pictures_holds_out_some(photo_folder):
    training, held = read_photographs(str(photo_folder), folds=4, fold=1, seed=3)
    assert len(training) == 11 and np.bincount(held.labels).tolist() == [1, 1, 2]
    again = read_photographs(str(photo_folder), folds=4, fold=1, seed=3)
    assert np.array_equal(held.places, again[1].places)


def test_parts_by_folder(photo_folder):
    root = photo_folder.parent / "parts"
    for part in ("train", "val"):
        shutil.copytree(photo_folder, root / part)
    (root / "val" / "cat" / "0.JPEG").unlink()
    training, held = read_photographs(str(root))
    assert len(training) == 15 and len(held) == 14 and "/val/" in held.name(0)
    shutil.rmtree(root / "val")
    training, held = read_photographs(str(root), folds=4)
    assert len(training) + len(held) == 15
    training, held = read_photographs(str(root), str(photo_folder), fraction=0.5)
    assert len(training) == 7 and len(held) == 15  # round(2), round(2.5), round(3)


def test_held_out_pictures_of_other_classes_are_refused(photo_folder):
    other = photo_folder.parent / "other"
    shutil.copytree(photo_folder, other)
    (other / "owl").rename(other / "emu")
    with pytest.raises(InputError, match="other: its classes are not those .* 'emu' is in one"):
        read_photographs(str(photo_folder), str(other))


def test_held_out_shards_beside_a_folder(photo_folder, write_shard, file_of, photograph):
    members = [("a.cls", b"2"), ("a.jpg", file_of(photograph()))]
    path = write_shard(photo_folder.parent / "val.tar", members)
    training, held = read_photographs(str(photo_folder), str(path))
    assert held.classes == training.classes and held.labels.tolist() == [2]
