from pathlib import Path

import pytest

from thirdaxis.atomic import atomic_folder, atomic_path, write_folder, write_text


def test_the_file_appears_at_the_end_with_its_ending_kept(tmp_path):
    target = tmp_path / "labels.nii.gz"
    with atomic_path(target) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.endswith(".nii.gz")
        temporary.write_bytes(b"new")
        assert not target.exists()
    assert target.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("fault", [RuntimeError, KeyboardInterrupt, OSError])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, fault):
    target = tmp_path / "scores.csv"
    target.write_text("old")

    def fail():
        with atomic_path(target) as temporary:
            temporary.write_text("half of the new")
            raise fault

    with pytest.raises(fault):
        fail()
    assert target.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_missing_folder_is_an_error_that_names_the_wanted_file(tmp_path):
    target = tmp_path / "nowhere" / "scores.csv"
    with pytest.raises(OSError, match=r"scores\.csv") as caught:
        write_text(target, "text")
    assert str(target) in str(caught.value)
    assert not target.parent.exists()


def test_text_is_written_as_utf8(tmp_path):
    write_text(tmp_path / "a.txt", "Größe 3 µm\n")
    assert (tmp_path / "a.txt").read_bytes() == "Größe 3 µm\n".encode()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_an_error(tmp_path):
    def write():
        with atomic_path(tmp_path / "a.txt") as temporary:
            temporary.symlink_to("/dev/full")
            temporary.write_text("text")

    with pytest.raises(OSError, match="No space left"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_a_new_folder_appears_whole_and_an_old_one_keeps_other_files(tmp_path, monkeypatch):
    write_folder(tmp_path / "a" / "b", {"one.txt": b"1", "deep/two.txt": b"2"})
    assert (tmp_path / "a" / "b" / "deep" / "two.txt").read_bytes() == b"2"
    (tmp_path / "a" / "b" / "other.txt").write_text("mine")
    write_folder(tmp_path / "a" / "b", {"one.txt": b"3", "new/three.txt": b"4"})
    found = {p.name: p.read_bytes() for p in (tmp_path / "a" / "b").rglob("*") if p.is_file()}
    assert found == {"one.txt": b"3", "two.txt": b"2", "three.txt": b"4", "other.txt": b"mine"}
    monkeypatch.chdir(tmp_path / "a" / "b")
    write_folder(Path("."), {"one.txt": b"5"})
    assert (tmp_path / "a" / "b" / "one.txt").read_bytes() == b"5"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


def test_a_failure_leaves_no_folder(tmp_path, monkeypatch):
    calls = []

    def fail_at_the_second(path, content):
        calls.append(path)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail_at_the_second)
    with pytest.raises(OSError, match="No space left"):
        write_folder(tmp_path / "new", {"one.txt": b"1", "two.txt": b"2"})
    assert list(tmp_path.iterdir()) == []


def test_a_lent_folder_takes_its_place_at_the_end(tmp_path):
    with atomic_folder(tmp_path / "a" / "b") as draft:
        (draft / "one.txt").write_text("1")
        assert not (tmp_path / "a" / "b").exists()
    assert (tmp_path / "a" / "b" / "one.txt").read_text() == "1"
    (tmp_path / "empty").mkdir()
    with atomic_folder(tmp_path / "empty") as draft:
        (draft / "two.txt").write_text("2")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "empty"]


@pytest.mark.parametrize("fault", [RuntimeError, KeyboardInterrupt, OSError])
def test_a_failure_takes_the_lent_folder_away(tmp_path, fault):
    with pytest.raises(fault), atomic_folder(tmp_path / "new") as draft:
        (draft / "one.txt").write_text("1")
        raise fault
    assert list(tmp_path.iterdir()) == []


def test_a_lent_folder_replaces_none_that_holds_something(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "one.txt").write_text("1")
    with pytest.raises(OSError), atomic_folder(tmp_path / "mine") as draft:
        (draft / "two.txt").write_text("2")
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "one.txt"]
