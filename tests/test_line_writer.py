"""Lines to a reader who is slow, stalled or gone: nobody waits, nothing is lost in silence, order is kept."""

import fcntl
import os
import pty
import re
import signal
import socket
import stat
import threading
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from corehttp import line_writer
from corehttp.line_writer import LineWriter

LIMIT = 100_000
PATIENCE = 30.0


class Stream(NamedTuple):
    """The two ends of what a process may have for standard output."""

    reader: int
    writer: int


def pipe() -> Stream:
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    return Stream(reader, writer)


def nonblocking_pipe() -> Stream:
    stream = pipe()
    os.set_blocking(stream.writer, False)
    return stream


def socket_pair() -> Stream:
    reader, writer = socket.socketpair()
    return Stream(reader.detach(), writer.detach())


def nonblocking_socket_pair() -> Stream:
    stream = socket_pair()
    os.set_blocking(stream.writer, False)
    return stream


def terminal() -> Stream:
    reader, writer = pty.openpty()
    tty.setraw(writer)  # else its line discipline counts columns and turns \n into \r\n
    return Stream(reader, writer)


STREAMS = [pipe, nonblocking_pipe, socket_pair, nonblocking_socket_pair, terminal]


@pytest.fixture(params=STREAMS, ids=lambda make: make.__name__)
def stream(request: pytest.FixtureRequest) -> Iterator[Stream]:
    stream: Stream = request.param()
    yield stream
    for fd in stream:
        os.close(fd)


@pytest.fixture(params=["open", "forbidden"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Whether the stream can be had a second time, so that a write to it does not wait."""
    if request.param == "forbidden":
        monkeypatch.setattr(line_writer, "_unblocked", lambda fd, kind: None)
    return str(request.param)


class Told:
    """What a writer says of itself."""

    def __init__(self) -> None:
        self.dropped = 0
        self.faults: list[str] = []

    def on_dropped(self, lines: int) -> None:
        self.dropped += lines

    def on_fault(self, error: OSError) -> None:
        self.faults.append(str(error.strerror))


class Reading:
    """Reads everything from a descriptor in a thread, from now on."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.data = bytearray()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def until(self, holds: Callable[[bytes], bool]) -> list[bytes]:
        """The lines, once it holds for all that was read."""
        until(lambda: holds(bytes(self.data)))
        return bytes(self.data).splitlines()

    def _read(self) -> None:
        while not self.data.endswith(b"end\n"):
            self.data += os.read(self._fd, 65536)


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def make(fd: int | None, told: Told) -> LineWriter:
    return LineWriter(fd, LIMIT, told.on_dropped, told.on_fault)


def test_what_has_room_is_written_before_write_returns(stream: Stream) -> None:
    writer = make(stream.writer, Told())
    writer.write(b"last words\n")
    os.set_blocking(stream.reader, False)
    assert os.read(stream.reader, 100) == b"last words\n", "a process that crashes now has said it"
    writer.close(0)


def test_a_stalled_reader_holds_up_nobody_and_gets_the_rest_in_order_and_a_count(stream: Stream, way: str) -> None:
    told = Told()
    writer = make(stream.writer, told)
    count = 20_000  # several times what the stream and the queue have room for
    for number in range(count):
        writer.write(b"%d: some words to make it longer\n" % number)
    reading = Reading(stream.reader)
    until(lambda: told.dropped > 0)  # as soon as there is room again, without another line
    writer.write(b"end\n")
    lines = reading.until(lambda data: data.endswith(b"end\n"))[:-1]
    assert len(lines) + told.dropped == count
    numbers = [int(line.removesuffix(b": some words to make it longer")) for line in lines]
    assert numbers == sorted(set(numbers))
    assert told.faults == []
    writer.close(PATIENCE)


def test_the_stream_is_left_as_it_was_for_those_who_share_it(stream: Stream, way: str) -> None:
    before = os.get_blocking(stream.writer)
    standard = socket.getdefaulttimeout()
    socket.setdefaulttimeout(5)  # as an application may
    try:
        writer = make(stream.writer, Told())
        writer.write(b"line\n")
        assert os.get_blocking(stream.writer) == before
        assert socket.getdefaulttimeout() == 5
        writer.close(PATIENCE)
    finally:
        socket.setdefaulttimeout(standard)
    os.fstat(stream.writer)  # still open


def test_lines_of_several_writers_on_one_pipe_are_not_mixed() -> None:
    stream = pipe()
    told = Told()
    writers = [make(stream.writer, told) for _ in range(3)]
    reading = Reading(stream.reader)
    for batch in range(40):
        for number, writer in enumerate(writers):
            writer.write(b"".join(b"%d %d %d ......\n" % (number, batch, line) for line in range(1000)))
            until(lambda writer=writer: writer.has_room)  # type: ignore[misc]
    for writer in writers:
        writer.close(PATIENCE)
    os.write(stream.writer, b"end\n")
    for line in reading.until(lambda data: data.endswith(b"end\n"))[:-1]:
        assert re.fullmatch(rb"[012] \d+ \d+ \.{6}", line)
    for fd in stream:
        os.close(fd)


def test_a_line_that_is_longer_than_everything_else_arrives_whole(stream: Stream, way: str) -> None:
    told = Told()
    writer = make(stream.writer, told)
    reading = Reading(stream.reader)
    writer.write(b"x" * 50_000 + b"\nshort\n")
    writer.write(b"end\n")
    lines = reading.until(lambda data: data.endswith(b"end\n"))
    assert [len(line) for line in lines] == [50_000, 5, 3]
    writer.close(PATIENCE)


def test_a_line_that_is_longer_than_what_may_wait_is_not_cut(stream: Stream, way: str) -> None:
    told = Told()
    writer = make(stream.writer, told)
    writer.write(b"x" * (10 * LIMIT) + b"\n")  # nobody reads, so that only its beginning is taken
    writer.write(b"too much\n")
    reading = Reading(stream.reader)
    until(lambda: told.dropped == 1)
    writer.write(b"end\n")
    lines = reading.until(lambda data: data.endswith(b"end\n"))
    assert [len(line) for line in lines] == [10 * LIMIT, 3]
    writer.close(PATIENCE)


def test_flushing_waits_for_a_reader_within_its_limit(stream: Stream, way: str) -> None:
    writer = make(stream.writer, Told())
    for _ in range(2000):
        writer.write(b"x" * 45 + b"\n")
    writer.flush(0.01)
    reading = Reading(stream.reader)
    writer.flush(PATIENCE)
    writer.write(b"end\n")
    assert len(reading.until(lambda data: data.endswith(b"end\n"))) == 2001
    writer.close(PATIENCE)


@pytest.mark.parametrize("make_stream", [pipe, nonblocking_pipe, socket_pair], ids=lambda make: make.__name__)
def test_a_reader_who_is_gone_is_told_once_and_stops_nobody(make_stream: Callable[[], Stream], way: str) -> None:
    stream = make_stream()
    told = Told()
    writer = make(stream.writer, told)
    os.close(stream.reader)
    for _ in range(10):
        writer.write(b"line\n")
    writer.flush(PATIENCE)
    until(lambda: told.faults == ["Broken pipe"])
    writer.close(PATIENCE)
    os.close(stream.writer)


def test_a_full_disk_is_told_once() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    told = Told()
    writer = make(full, told)
    for _ in range(3):
        writer.write(b"line\n")
    assert told.faults == ["No space left on device"]
    writer.close(0)
    os.close(full)


def test_a_file_is_written_at_once_and_what_failed_is_counted(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    told = Told()
    writer = make(fd, told)
    writer.write(b"one\n" * 50_000)  # far beyond the limit of what may wait: nothing does
    assert path.read_bytes() == b"one\n" * 50_000
    fail = True

    def write(fd: int, data: bytes) -> int:
        if fail:
            raise OSError(28, "No space left on device")
        return real(fd, data)

    real = os.write
    monkeypatch.setattr(os, "write", write)
    writer.write(b"two\nthree\n")
    assert (told.faults, told.dropped) == (["No space left on device"], 0)
    fail = False
    writer.write(b"four\n")
    assert (told.faults, told.dropped) == (["No space left on device"], 2), "told as soon as it can be written again"
    assert path.read_bytes().endswith(b"one\nfour\n")
    os.close(fd)


def test_a_line_that_a_full_disk_has_cut_is_one_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    told = Told()
    writer = make(fd, told)
    room, real = 7, os.write

    def write(fd: int, data: bytes) -> int:
        nonlocal room
        if not room:
            raise OSError(28, "No space left on device")
        written = real(fd, data[:room])
        room -= written
        return written

    monkeypatch.setattr(os, "write", write)
    writer.write(b"two\nthree\nfour\n")
    writer.write(b"five\n")
    room = 100
    writer.write(b"six\n")
    writer.write(b"seven\n")
    assert path.read_bytes() == b"two\nthr\nsix\nseven\n"
    assert (told.faults, told.dropped) == (["No space left on device"], 3)
    os.close(fd)


def test_what_the_application_has_closed_costs_lines_and_a_connection_with_its_number_gets_none(
    stream: Stream, way: str
) -> None:
    told = Told()
    fd = os.dup(stream.writer)
    writer = make(fd, told)
    unblocked = writer._unblocked
    ours = fd if unblocked is None else unblocked.fileno()
    client, connection = socket.socketpair()
    if not stat.S_ISSOCK(os.fstat(fd).st_mode):
        os.dup2(connection.fileno(), ours)
        writer.write(b"line\n")
        writer.flush(PATIENCE)
        until(lambda: told.faults == ["Bad file descriptor"])
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(1)
    writer.close(0)
    client.close()
    connection.close()
    os.close(fd)


def test_without_a_stream_nothing_is_written_and_nothing_fails() -> None:
    told = Told()
    writer = make(None, told)
    writer.write(b"line\n")
    writer.close(0)
    assert (told.dropped, told.faults) == (0, [])


def test_a_forked_process_does_not_write_its_parents_lines_again(stream: Stream, way: str) -> None:
    writer = make(stream.writer, Told())
    for number in range(1500):
        writer.write(b"%d of the parent, and some more words\n" % number)
    child = os.fork()
    if child == 0:
        writer.flush(PATIENCE)
        writer.write(b"of the child\n")
        writer.flush(PATIENCE)
        os._exit(0)
    reading = Reading(stream.reader)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    writer.flush(PATIENCE)
    writer.write(b"end\n")
    reading.until(lambda data: data.endswith(b"end\n"))
    parts = bytes(reading.data).split(b"of the child\n")
    assert len(parts) == 2
    expected = [b"%d of the parent, and some more words\n" % number for number in range(1500)]
    assert b"".join(parts) == b"".join(expected) + b"end\n"
    writer.close(PATIENCE)


USES: dict[str, Callable[[LineWriter], object]] = {
    "write": lambda writer: writer.write(b"line\n"),
    "drop": lambda writer: writer.drop(1),
    "pending": lambda writer: writer.pending,
    "flush": lambda writer: writer.flush(PATIENCE),
    "close": lambda writer: writer.close(PATIENCE),
}


@pytest.mark.parametrize("use", USES)
def test_a_lock_that_a_thread_held_at_a_fork_stops_no_forked_process(use: str) -> None:
    stream = pipe()
    writer = make(stream.writer, Told())
    held, forked = threading.Event(), threading.Event()

    def hold() -> None:
        with writer._changed:
            held.set()
            forked.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(int(PATIENCE))
        USES[use](writer)
        os._exit(0)
    forked.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    for fd in stream:
        os.close(fd)


def test_a_log_call_in_the_middle_of_another_is_no_deadlock(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a signal's handler may do it."""
    stream = pipe()
    writer = make(stream.writer, Told())
    real = os.write
    nested = False

    def write(fd: int, data: bytes) -> int:
        nonlocal nested
        if not nested:
            nested = True
            writer.write(b"in between\n")
        return real(fd, data)

    monkeypatch.setattr(os, "write", write)
    writer.write(b"line\n")
    assert os.read(stream.reader, 100) == b"in between\nline\n"
    writer.close(0)
    for fd in stream:
        os.close(fd)
