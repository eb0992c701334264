"""Lines in a file that may be renamed, removed, closed or full: none is torn or mixed, and what is lost is counted."""

import errno
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from corehttp import log_file
from corehttp.line_writer import LineWriter
from corehttp.log_file import LogFile, check, open_lines


class Told:
    """What a writer says of itself."""

    def __init__(self) -> None:
        self.dropped: list[int] = []
        self.faults: list[str] = []


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


@pytest.fixture
def make(told: Told, path: Path) -> Iterator[Callable[[], LogFile]]:
    """Makes log files at `path`, which are closed at the end of the test."""
    files: list[LogFile] = []

    def make() -> LogFile:
        files.append(LogFile(str(path), told.dropped.append, told.faults.append))
        return files[-1]

    yield make
    for file in files:
        file.close(0)


class FullDisk:
    """Stands for os.write on a disk with room for so many bytes."""

    def __init__(self, room: int) -> None:
        self.room = room

    def write(self, fd: int, data: bytes) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = os.write(fd, data[: self.room])
        self.room -= written
        return written


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> FullDisk:
    disk = FullDisk(1 << 30)

    class System:
        """The module `os` with another `write`."""

        def __getattr__(self, name: str) -> object:
            return disk.write if name == "write" else getattr(os, name)

    monkeypatch.setattr(log_file, "os", System())
    return disk


def test_a_file_is_made_with_its_permissions_and_appended_to(make: Callable[[], LogFile], path: Path) -> None:
    before = os.umask(0)
    try:
        make().write(b"one\n")
    finally:
        os.umask(before)
    make().write(b"two\n")
    assert path.read_bytes() == b"one\ntwo\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_several_writers_append_whole_lines(make: Callable[[], LogFile], path: Path) -> None:
    writers = [make() for _ in range(3)]
    for number in range(300):
        writers[number % 3].write(b"%d\n" % number)
    assert path.read_bytes() == b"".join(b"%d\n" % number for number in range(300))


def test_a_file_that_was_renamed_gets_no_line_any_more(make: Callable[[], LogFile], path: Path) -> None:
    file = make()
    file.write(b"one\n")
    path.rename(path.with_suffix(".1"))
    file.write(b"two\n")
    assert path.with_suffix(".1").read_bytes() == b"one\n"
    assert path.read_bytes() == b"two\n"


def test_a_file_that_was_removed_is_made_again(make: Callable[[], LogFile], path: Path, told: Told) -> None:
    file = make()
    file.write(b"one\n")
    path.unlink()
    file.write(b"two\n")
    assert path.read_bytes() == b"two\n"
    assert not told.faults


def test_one_that_was_put_in_its_place_is_appended_to(make: Callable[[], LogFile], path: Path) -> None:
    file = make()
    file.write(b"one\n")
    path.rename(path.with_suffix(".1"))
    path.write_bytes(b"")  # as `create` in a rule of logrotate
    assert file.follow() is None
    file.write(b"two\n")
    assert path.read_bytes() == b"two\n"


def test_a_symbolic_link_is_followed_wherever_it_leads_by_then(
    make: Callable[[], LogFile], path: Path, tmp_path: Path
) -> None:
    path.symlink_to(tmp_path / "monday")
    file = make()
    file.write(b"one\n")
    path.unlink()
    path.symlink_to(tmp_path / "tuesday")
    file.write(b"two\n")
    assert (tmp_path / "monday").read_bytes() == b"one\n"
    assert (tmp_path / "tuesday").read_bytes() == b"two\n"


def test_where_the_path_cannot_be_opened_lines_go_on_into_the_file_of_before(told: Told, tmp_path: Path) -> None:
    directory = tmp_path / "logs"
    directory.mkdir()
    file = LogFile(str(directory / "a.log"), told.dropped.append, told.faults.append)
    file.write(b"one\n")
    directory.rename(tmp_path / "gone")
    for line in (b"two\n", b"three\n"):
        file.write(line)
    assert (tmp_path / "gone" / "a.log").read_bytes() == b"one\ntwo\nthree\n"
    [fault] = told.faults
    assert fault.startswith(f"{directory}/a.log cannot be opened anew: there is no directory {directory};")
    assert isinstance(file.follow(), OSError)
    assert file.reopen().startswith(f"{directory}/a.log: there is no directory {directory};")
    directory.mkdir()
    file.write(b"four\n")
    assert (directory / "a.log").read_bytes() == b"four\n"
    assert not told.dropped
    file.close(0)


def test_lines_without_a_file_are_counted_and_told_once_there_is_one(told: Told, tmp_path: Path) -> None:
    directory = tmp_path / "logs"
    file = LogFile(str(directory / "a.log"), told.dropped.append, told.faults.append)
    file.write(b"one\ntwo\n")
    file.write(b"three\n")
    assert (len(told.faults), file.dropped) == (1, 3)
    directory.mkdir()
    file.write(b"four\n")
    assert told.dropped == [3]
    assert (directory / "a.log").read_bytes() == b"four\n"
    file.close(0)


def test_on_a_full_disk_lines_are_dropped_counted_and_told(
    make: Callable[[], LogFile], path: Path, told: Told, disk: FullDisk
) -> None:
    file = make()
    disk.room = 4
    for line in (b"one\n", b"two\n", b"three\n"):
        file.write(line)
    assert [fault.partition(": ")[2] for fault in told.faults] == ["No space left on device"]
    assert file.dropped == 2
    disk.room = 1 << 30
    file.write(b"four\n")
    assert path.read_bytes() == b"one\nfour\n"
    assert (told.dropped, file.dropped) == ([2], 0)
    disk.room = 0
    file.write(b"five\n")
    assert len(told.faults) == 2


def test_a_line_that_a_full_disk_has_cut_runs_into_no_other(
    make: Callable[[], LogFile], path: Path, told: Told, disk: FullDisk
) -> None:
    file, other = make(), make()
    other.write(b"one\n")
    disk.room = 9
    file.write(b"two\nthree\nfour\n")
    assert path.read_bytes() == b"one\ntwo\nthree"
    other.write(b"five\n")
    assert file.dropped == 1, "of `three` only the end of the line is missing"
    disk.room = 1 << 30
    other.write(b"six\n")
    file.write(b"seven\n")
    assert path.read_bytes() == b"one\ntwo\nthree\nsix\nseven\n"
    assert told.dropped == [1, 1]


def test_a_line_that_a_crash_has_cut_runs_into_no_other(make: Callable[[], LogFile], path: Path) -> None:
    path.write_bytes(b"one\ntw")
    file = make()
    file.write(b"three\n")
    file.write(b"four\n")
    assert path.read_bytes() == b"one\ntw\nthree\nfour\n"


def test_a_descriptor_that_the_application_has_closed_costs_no_line_and_nobody_elses_file(
    make: Callable[[], LogFile], path: Path, tmp_path: Path
) -> None:
    file = make()
    file.write(b"one\n")
    fd = file._fd
    os.close(fd)
    other = os.open(tmp_path / "other", os.O_RDWR | os.O_CREAT)
    assert other == fd
    try:
        file.write(b"two\n")
        file.close(0)
        assert os.fstat(other).st_size == 0
    finally:
        os.close(other)
    assert path.read_bytes() == b"one\ntwo\n"


def test_a_file_that_was_closed_is_opened_again(make: Callable[[], LogFile], path: Path) -> None:
    file = make()
    file.close(0)
    file.write(b"one\n")
    file.close(0)
    file.close(0)
    assert path.read_bytes() == b"one\n"


def test_lines_that_were_not_even_made_count(make: Callable[[], LogFile], told: Told) -> None:
    file = make()
    file.drop(2)
    file.flush(0)
    file.write(b"one\n")
    assert told.dropped == [2]


# What can be wrong with a path.


def pipe_without_a_reader(path: Path) -> None:
    os.mkfifo(path)


def directory_in_the_place(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    ("name", "prepare", "text"),
    [
        (
            "no/such/a.log",
            lambda path: None,
            r"there is no directory .*/no/such; make it, or name a file in another one",
        ),
        ("a", directory_in_the_place, "it is a directory; name a file in it"),
        ("file/a.log", lambda path: path.parent.write_bytes(b""), ".*/file is no directory; name a file in one"),
        ("pipe", pipe_without_a_reader, "it is a pipe that nobody reads, or a socket; name a file"),
        ("a" * 300, lambda path: None, "File name too long"),
    ],
)
def test_what_is_wrong_with_a_path_is_said_with_what_helps(
    tmp_path: Path, name: str, prepare: Callable[[Path], None], text: str
) -> None:
    path = tmp_path / name
    prepare(path)
    fault = check("log-file", str(path))
    assert fault is not None
    assert re.fullmatch(re.escape(f"log-file {path} cannot be opened: ") + text, fault)


def test_a_path_that_can_be_opened_is_made(path: Path) -> None:
    assert check("log-file", str(path)) is None
    assert path.read_bytes() == b""


def test_one_that_may_not_be_written_names_the_user() -> None:
    text = log_file.reason(PermissionError(errno.EACCES, "denied"), "/var/log/a.log")
    assert text == f"Permission denied; user {os.geteuid()} must be allowed to make and to write it"


def test_a_pipe_is_written_without_waiting_and_its_descriptor_is_closed(told: Told, tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        lines = open_lines(str(path), 100_000, told.dropped.append, told.faults.append)
        assert isinstance(lines, LineWriter)
        lines.write(b"one\n")
        assert os.read(reader, 100) == b"one\n"
        lines.reopen()
        lines.close(1)
        assert os.read(reader, 100) == b""
        lines.write(b"two\n")
    finally:
        os.close(reader)
    assert not told.faults


def test_a_pipe_whose_reader_leaves_is_told_by_its_path(told: Told, tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    lines = open_lines(str(path), 100_000, told.dropped.append, told.faults.append)
    os.close(reader)
    lines.write(b"one\n")
    lines.close(0)
    assert told.faults == [f"{path} cannot be written, lines are dropped: Broken pipe"]
    assert lines.dropped == 1


_WRITER = """
import os, sys
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)
lines = b"x" * 99 + b"\\n"
while True:
    os.write(fd, lines * 2000)
    if os.fstat(fd).st_size > 50_000_000:
        os.ftruncate(fd, 0)
"""


def test_a_line_that_another_process_is_writing_counts_as_whole(make: Callable[[], LogFile], path: Path) -> None:
    path.touch()
    with subprocess.Popen([sys.executable, "-c", _WRITER, str(path)]) as writer:
        try:
            for _ in range(300):
                make().write(b"y\n")
                assert b"\n\n" not in path.read_bytes()[-500_000:]
        finally:
            writer.kill()
