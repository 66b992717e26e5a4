from dataclasses import dataclass

import pytest

from thirdaxis.errors import InputError, UsageError
from thirdaxis.tasks.batch import Done, check_folder, one_by_one


@dataclass(frozen=True)
class Scan:
    name: str


def go_through(names, tmp_path, *, done=(), bad=()):
    said, seen = [], []

    def work(scan):
        seen.append(scan.name)
        if scan.name in bad:
            raise InputError(f"{scan.name}: damaged")
        return scan.name.upper()

    told = one_by_one(
        [Scan(name) for name in names],
        work,
        lambda scan: scan.name in done,
        lambda scan: tmp_path / scan.name,
        watch=reversed,
        say=said.append,
    )
    return told, seen, said


def test_a_bad_scan_ends_nothing_and_a_finished_one_stays(tmp_path):
    told, seen, said = go_through("abcd", tmp_path, done="b", bad="c")
    assert told == Done({"d": "D", "a": "A"}, ["b"], {"c": "c: damaged"})
    assert seen == ["d", "c", "a"] and told.whole == ["a", "b", "d"]
    (line,) = said
    assert line.startswith(str(tmp_path / "b")) and "--overwrite" in line


def test_the_only_scan_fails_as_an_error(tmp_path):
    with pytest.raises(InputError, match="c: damaged"):
        go_through("c", tmp_path, bad="c")


def test_other_faults_end_the_work(tmp_path):
    def work(scan):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        one_by_one(
            [Scan("a"), Scan("b")],
            work,
            lambda scan: False,
            lambda scan: tmp_path,
            watch=iter,
            say=print,
        )


def test_results_do_not_go_into_a_file(tmp_path):
    check_folder(tmp_path)
    check_folder(tmp_path / "new")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is a file; give another"):
        check_folder(tmp_path / "file", "give another")
