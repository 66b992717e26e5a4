import gzip
import tarfile

import pytest

from thirdaxis.data.photographs.shards import is_shards, read_shards, shard_files
from thirdaxis.errors import InputError, UsageError

BLOCK = 512


@pytest.fixture
def shards(tmp_path, photograph, file_of, write_shard):
    """Two shards of four samples each, of three classes; what each sample is, in order."""
    wanted = []
    for shard in range(2):
        members = []
        for number in range(4):
            label, content = (2 * shard + number) % 3, file_of(photograph(10 * shard + number))
            name = f"{shard}{number:03d}"
            members += [(f"{name}.cls", str(label).encode()), (f"{name}.jpg", content)]
            members += [(f"{name}.json", b"{}")]
            wanted.append((label, content))
        write_shard(tmp_path / f"train-{shard:03d}.tar", members)
    return tmp_path, wanted


def test_samples_are_what_was_written(shards):
    place, wanted = shards
    found = read_shards(str(place / "train-{000..001}.tar"))
    assert found.classes == ("0", "1", "2")
    read = [(int(found.labels[n]), found.content(n)) for n in range(len(found))]
    assert read == wanted


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # it leaves its files to the collector
def test_samples_are_what_webdataset_reads(shards):
    webdataset = pytest.importorskip("webdataset", reason="needs webdataset")
    place, _ = shards
    pattern = str(place / "train-{000..001}.tar")
    theirs = webdataset.WebDataset(pattern, shardshuffle=False)
    found = read_shards(pattern)
    read = [(int(found.labels[n]), found.content(n)) for n in range(len(found))]
    assert read == [(int(sample["cls"]), sample["jpg"]) for sample in theirs]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a-{08..11}.tar", ["a-08.tar", "a-09.tar", "a-10.tar", "a-11.tar"]),
        ("a-{8..11}.tar", ["a-8.tar", "a-9.tar", "a-10.tar", "a-11.tar"]),
        ("{a,b}-{0..1}.tar", ["a-0.tar", "a-1.tar", "b-0.tar", "b-1.tar"]),
        ("a-0*.tar", ["a-08.tar", "a-09.tar"]),
        ("a-10.tar", ["a-10.tar"]),
    ],
)
def test_patterns(tmp_path, pattern, names):
    for name in {*names, "a-08.tar", "a-09.tar"}:
        (tmp_path / name).touch()
    assert [file.name for file in shard_files(str(tmp_path / pattern))] == names
    assert is_shards(pattern) and not is_shards("folder")


@pytest.mark.parametrize(
    ("pattern", "error", "said"),
    [
        ("a-{0..2}.tar", InputError, "3 of 3 shards are missing, such as .*a-0.tar"),
        ("a-*.tar", InputError, "no such shards"),
        ("a-{3..1}.tar", UsageError, "runs backwards"),
        ("a-{3}.tar", UsageError, r"expected \{000..146\} or \{a,b\}"),
    ],
)
def test_patterns_of_nothing(tmp_path, pattern, error, said):
    with pytest.raises(error, match=said):
        shard_files(str(tmp_path / pattern))


def test_a_shard_cut_short_is_refused_wherever_it_was_cut(shards):
    place, _ = shards
    path = place / "train-001.tar"
    whole = path.read_bytes()
    with tarfile.open(path) as tar:
        members = tar.getmembers()
    third = members[6].offset  # of sample 2, the first header
    cuts = {
        "inside of a picture": members[4].offset_data + 40,
        "inside of a header": third + 100,
        "between samples": third,
        "before the end mark": members[-1].offset_data + BLOCK,
    }
    for where, length in cuts.items():
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"train-001.tar: .*after \d samples.*; get it again"):
            read_shards(str(place / "train-{000..001}.tar"))
        assert where


def test_what_is_no_plain_tar_file(shards):
    place, _ = shards
    path = place / "train-000.tar"
    for content in (gzip.compress(path.read_bytes()), b"", b"no tar" * 200):
        path.write_bytes(content)
        with pytest.raises(InputError, match="train-000.tar: not a whole tar file"):
            read_shards(str(path))


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([("a.jpg", b"x"), ("b.cls", b"0"), ("b.jpg", b"x")], r"sample 'a' has no class \(.cls\)"),
        ([("a.cls", b"0"), ("b.cls", b"1"), ("b.png", b"x")], "sample 'a' has no picture"),
        ([("a.cls", b"cat"), ("a.jpg", b"x")], "a.cls says b'cat'; expected the number"),
        ([("a.cls", b"-1"), ("a.jpg", b"x")], "expected the number of a class, from 0"),
        ([("a.cls", b"0"), ("a.jpg", b"x"), ("b.cls", b"2"), ("b.jpg", b"x")], "no picture: '1'"),
        ([("a.cls", b"0"), ("a.jpg", b"x")], "has 1 classes; expected two or more"),
        ([("notes.txt", b"hello")], "hold no samples"),
    ],
)
def test_samples_that_lack_something(tmp_path, write_shard, members, said):
    path = write_shard(tmp_path / "bad.tar", members)
    with pytest.raises(InputError, match=said):
        read_shards(str(path))


def test_held_out_shards_have_the_classes_of_the_training_ones(shards):
    place, _ = shards
    found = read_shards(str(place / "train-000.tar"), classes=5)
    assert len(found.classes) == 5
    with pytest.raises(InputError, match="has a class 2, the training pictures 2 only"):
        read_shards(str(place / "train-000.tar"), classes=2)
