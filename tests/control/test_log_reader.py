"""Reading a log file from its end and on, over rotations: no line is missed and none comes twice."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from corehttp.control import log_reader
from corehttp.control.client import VerbError, VerbExit
from corehttp.control.log_lines import LogLine
from corehttp.control.log_reader import LogReader


def line(number: int) -> str:
    return f"2026-11-30 10:00:00.250 INFO     [worker 1] {number}\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.log"


@pytest.fixture
def reader(path: Path) -> Iterator[LogReader]:
    gc.collect()  # or it may close descriptors of earlier tests meanwhile
    before = len(os.listdir("/proc/self/fd"))
    reader = LogReader(str(path), "log")
    yield reader
    reader.close()
    assert len(os.listdir("/proc/self/fd")) == before


def append(path: Path, *numbers: int) -> None:
    with path.open("a") as file:
        file.writelines(map(line, numbers))


def rotate(path: Path, number: int = 1) -> None:
    target = path.with_name(f"{path.name}.{number}")
    if target.exists():
        rotate(path, number + 1)
    source = path if number == 1 else path.with_name(f"{path.name}.{number - 1}")
    source.rename(target)


def numbers(lines: list[LogLine]) -> list[int]:
    return [int(line.raw.rpartition(" ")[2]) for line in lines]


def test_the_last_entries_come_first_and_then_what_is_appended(reader: LogReader, path: Path) -> None:
    append(path, *range(100))
    assert numbers(reader.last(3)) == [97, 98, 99]
    assert reader.more() == []
    append(path, 100, 101)
    assert numbers(reader.more()) == [100, 101]
    assert reader.more() == []


def test_a_line_counts_once_it_is_whole(reader: LogReader, path: Path) -> None:
    path.write_text(line(1)[:-5])
    assert reader.last(3) == []
    with path.open("a") as file:
        file.write(line(1)[-5:] + line(2)[:7])
    assert numbers(reader.more()) == [1]
    with path.open("a") as file:
        file.write(line(2)[7:])
    assert numbers(reader.more()) == [2]


def test_a_file_that_is_not_there_yet_is_waited_for(reader: LogReader, path: Path) -> None:
    assert reader.last(3) == []
    assert reader.more() == []
    append(path, 1)
    assert numbers(reader.more()) == [1]


def test_rotated_files_fill_up_what_is_asked_for(reader: LogReader, path: Path) -> None:
    for number in range(5):
        append(path, 2 * number, 2 * number + 1)
        rotate(path)
    append(path, 10)
    assert numbers(reader.last(6)) == [5, 6, 7, 8, 9, 10]


def test_what_a_file_begins_with_does_not_belong_to_an_entry_of_a_later_file(reader: LogReader, path: Path) -> None:
    path.write_text("the rest of a traceback\n" + line(1))
    rotate(path)
    append(path, 2)
    first, *rest = reader.last(3)
    assert (first.time, first.who, first.text) == (0.0, "", "the rest of a traceback")
    assert numbers(rest) == [1, 2]


def test_a_rotation_costs_no_line(reader: LogReader, path: Path) -> None:
    append(path, 1)
    assert numbers(reader.last(1)) == [1]
    append(path, 2)
    rotate(path)
    assert numbers(reader.more()) == [2]
    append(path.with_name("a.log.1"), 3)  # by a process that has not noticed yet
    append(path, 4)
    assert numbers(reader.more()) == [3, 4]
    append(path.with_name("a.log.1"), 5)
    assert numbers(reader.more()) == [5]


def test_neither_do_several_between_two_looks(reader: LogReader, path: Path) -> None:
    append(path, 1)
    reader.last(0)
    for number in range(2, 6):
        append(path, number)
        rotate(path)
    append(path, 6)
    assert numbers(reader.more()) == [2, 3, 4, 5, 6]


def test_a_file_that_goes_somewhere_else_is_kept_if_it_was_noticed(reader: LogReader, path: Path) -> None:
    append(path, 1)
    reader.last(0)
    for number in range(2, 6):
        append(path, number)
        reader.notice()
        path.rename(path.with_name(f"moved-{number}"))
    append(path, 6)
    assert numbers(reader.more()) == [2, 3, 4, 5, 6]


def test_nothing_is_guessed_where_the_file_of_before_is_gone(reader: LogReader, path: Path) -> None:
    append(path, 1)
    reader.last(0)
    append(path, 2)
    for number in range(3, 5):
        rotate(path)
        append(path, number)
    path.with_name("a.log.2").unlink()
    assert numbers(reader.more()) == [2, 4]


def test_a_renamed_file_is_let_go_after_a_while(reader: LogReader, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append(path, 1)
    reader.last(0)
    rotate(path)
    append(path, 2)
    monkeypatch.setattr(log_reader, "LATE", 0.0)
    assert numbers(reader.more()) == [2]
    append(path.with_name("a.log.1"), 3)
    assert reader.more() == []


def test_a_file_that_was_emptied_is_read_from_its_beginning(reader: LogReader, path: Path) -> None:
    append(path, 1, 2, 3)
    reader.last(0)
    path.write_text("")
    append(path, 4)
    assert numbers(reader.more()) == [4]


def test_more_than_is_read_at_once_comes_in_pieces(
    reader: LogReader, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_reader, "FIRST", 100)
    monkeypatch.setattr(log_reader, "MOST", 1000)
    monkeypatch.setattr(log_reader, "AT_ONCE", 1000)
    append(path, *range(100))
    assert numbers(reader.last(5)) == [95, 96, 97, 98, 99]
    append(path, *range(100, 200))
    rotate(path)
    append(path, 200)
    reader.notice()
    found: list[int] = []
    while reader.has_more:
        found += numbers(reader.more())
    assert found == list(range(100, 201))


def test_bytes_that_are_no_text_are_shown(reader: LogReader, path: Path) -> None:
    path.write_bytes(b"\xff\r\n")
    assert [line.raw for line in reader.last(1)] == [r"\xff"]


def test_what_is_no_file_cannot_be_read_again(reader: LogReader, path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(VerbError, match="is no regular file") as caught:
        reader.last(1)
    assert caught.value.code is VerbExit.FAILED


def test_a_file_that_may_not_be_read_says_so(reader: LogReader, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, flags: int) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(VerbError, match="cannot be read: Permission denied") as caught:
        reader.last(1)
    assert caught.value.code is VerbExit.NOT_PERMITTED
