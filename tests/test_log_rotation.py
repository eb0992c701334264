"""Rotation: which file gets which name, who is too large, and what stands in the way."""

import fcntl
import logging
import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from corehttp.log_rotation import Rotation, RotationRule, renames, rotate


@pytest.mark.parametrize(
    ("keep", "taken", "plan"),
    [
        (1, [], [(0, 1)]),
        (1, [1], [(0, 1)]),
        (3, [], [(0, 1)]),
        (3, [1], [(1, 2), (0, 1)]),
        (3, [1, 2], [(2, 3), (1, 2), (0, 1)]),
        (3, [1, 2, 3], [(2, 3), (1, 2), (0, 1)]),
        (3, [2, 3], [(0, 1)]),
        (3, [1, 3], [(1, 2), (0, 1)]),
        (2, [1, 2, 3, 4, 20261130], [(1, 2), (0, 1)]),
    ],
)
def test_each_file_gets_the_next_number_up_to_the_first_gap(
    keep: int, taken: Iterable[int], plan: list[tuple[int, int]]
) -> None:
    assert renames(keep, set(taken).__contains__) == plan


def fill(path: Path, content: str) -> None:
    path.write_text(content)


def contents(directory: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in directory.iterdir()}


def test_the_oldest_file_goes(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    for number in range(1, 6):
        fill(path, f"{number}")
        assert rotate(str(path), 1, 3)
    assert contents(tmp_path) == {"a.log.1": "5", "a.log.2": "4", "a.log.3": "3"}


def test_a_file_that_is_not_too_large_or_not_there_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    assert not rotate(str(path), 1, 3)
    fill(path, "12345")
    assert not rotate(str(path), 6, 3)
    assert rotate(str(path), 5, 3)


def test_a_symbolic_link_stays_and_its_target_is_renamed(tmp_path: Path) -> None:
    fill(tmp_path / "target", "1")
    link = tmp_path / "a.log"
    link.symlink_to("target")
    assert rotate(str(link), 1, 3)
    assert link.is_symlink()
    assert (tmp_path / "target.1").read_text() == "1"


def test_of_two_who_rotate_at_the_same_time_one_does(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    fill(path, "1")
    with path.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert not rotate(str(path), 1, 3)
    assert rotate(str(path), 1, 3)


def test_what_is_no_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "pipe")
    assert not rotate(str(tmp_path / "directory"), 0, 3)
    assert not rotate(str(tmp_path / "pipe"), 0, 3)
    assert not rotate("/dev/null", 0, 3)


def test_a_look_rotates_each_file_that_is_too_large(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    rotation = Rotation(RotationRule((str(one), str(two)), 2, 5))
    assert not rotation.look()
    fill(one, "12")
    fill(two, "1")
    assert rotation.look()
    assert sorted(contents(tmp_path)) == ["one.1", "two"]
    assert not rotation.look()


def test_without_a_size_nothing_is_rotated(tmp_path: Path) -> None:
    fill(tmp_path / "one", "12")
    rule = RotationRule((str(tmp_path / "one"),), 0, 5)
    assert not rule.applies
    assert not Rotation(rule).look()
    assert not RotationRule((), 1, 5).applies


def test_a_failure_is_told_once_and_again_after_a_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.log"
    rotation = Rotation(RotationRule((str(path),), 1, 5))

    def refuse(source: str, target: str) -> None:
        raise PermissionError(13, "Permission denied")

    for _ in range(2):
        fill(path, "1")
        with monkeypatch.context() as context:
            context.setattr(os, "replace", refuse)
            assert not rotation.look()
            assert not rotation.look()
        assert rotation.look()
    helps = f"user {os.geteuid()} must be allowed to make and to write it"
    told = f"{path} is too large and cannot be rotated: Permission denied; {helps}"
    assert caplog.record_tuples == [("corehttp.error", logging.WARNING, told)] * 2
