"""What is in memory is read at once; threads that wait for disks close their descriptors, and work a limited time."""

import asyncio
import contextlib
import errno
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from corehttp.protocols import disk
from corehttp.protocols.disk import CALL, PIECE, THREADS, TURN, Job, Sending, read_now
from tests.kit.connections import LARGE, WAIT, Opened, refuse, skip_unless_it_tells

# What is in memory, and what is not.


def test_what_is_in_memory_is_read_at_once(opened: Opened) -> None:
    source = opened(PIECE + 1)
    skip_unless_it_tells(source.descriptor)
    assert read_now(source.descriptor, 0, PIECE) == source.data[:PIECE]
    assert read_now(source.descriptor, 5, 7) == source.data[5:12]


def test_what_has_to_come_from_the_disk_is_not_read_at_once(own_file: Opened) -> None:
    source = own_file(PIECE)
    with open(source.path, "rb+") as file:
        os.fsync(file)
    for _ in range(1000):  # the call only gives advice: the system may be busy with some of the pages
        os.posix_fadvise(source.descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        if read_now(source.descriptor, 0, PIECE) is None:
            break
    else:
        pytest.fail("it is read from where it cannot be")


def test_a_range_that_is_long_or_goes_beyond_the_end_is_not_read_at_once(opened: Opened) -> None:
    source = opened(PIECE + 1)
    assert read_now(source.descriptor, 0, PIECE + 1) is None
    assert read_now(source.descriptor, 10, PIECE) is None
    assert read_now(source.descriptor, PIECE + 1, 1) is None


# What a thread sends.


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Return the two ends of a connection, both non-blocking."""
    sock, client = socket.socketpair()
    with sock, client:
        sock.setblocking(False)
        client.setblocking(False)
        yield sock, client


def received(client: socket.socket) -> bytes:
    data = bytearray()
    with contextlib.suppress(BlockingIOError):
        while piece := client.recv(1 << 20):
            data += piece
    return bytes(data)


class Noted:
    """Stands for os.sendfile: keeps what it was called with, and says that it has sent all."""

    def __init__(self) -> None:
        self.counts: list[int] = []
        self.sending: Sending | None = None  # what to stop after the first call

    def __call__(self, sock: int, file: int, offset: int, count: int) -> int:
        self.counts.append(count)
        if self.sending is not None:
            self.sending.stopped = True
        return count


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> Noted:
    noted = Noted()
    monkeypatch.setattr(os, "sendfile", noted)
    return noted


@pytest.mark.parametrize("size", [0, 1, CALL, CALL + 1])
def test_a_range_is_handed_over_in_calls_of_bounded_size(noted: Noted, size: int) -> None:
    sending = Sending(0, size)
    sending(-1, -1)
    assert sending.sent == size
    assert noted.counts == [CALL] * (size // CALL) + [size % CALL] * (size % CALL > 0)


def test_one_that_is_told_to_stop_begins_no_further_call(noted: Noted) -> None:
    noted.sending = sending = Sending(0, LARGE)
    sending(-1, -1)
    assert noted.counts == [CALL]
    assert sending.sent == CALL


def test_one_that_is_told_to_stop_before_it_begins_does_nothing(noted: Noted) -> None:
    sending = Sending(0, LARGE)
    sending.stopped = True
    sending(-1, -1)
    assert noted.counts == []


def test_a_thread_ends_its_turn_in_time(noted: Noted, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([1000.0, 1000.0 + TURN / 3, 1000.0 + TURN / 2, 1000.0 + TURN])
    monkeypatch.setattr(disk, "monotonic", lambda: next(times))
    sending = Sending(0, LARGE)
    sending(-1, -1)
    assert noted.counts == [CALL] * 3
    assert not sending.full
    assert not sending.ended


def test_a_socket_that_is_full_is_told_apart_from_a_file_that_ends(
    opened: Opened, pair: tuple[socket.socket, socket.socket]
) -> None:
    sock, client = pair
    source = opened(LARGE)
    sending = Sending(0, LARGE)
    sending(sock.fileno(), source.descriptor)
    assert sending.full
    assert not sending.ended
    assert received(client) == source.data[: sending.sent]
    rest = Sending(LARGE - 10, 100)
    rest(sock.fileno(), source.descriptor)
    assert not rest.full
    assert rest.ended
    assert received(client) == source.data[-10:]


def test_what_was_sent_before_an_error_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def sendfile(sock: int, file: int, offset: int, count: int) -> int:
        if offset:
            raise BrokenPipeError
        return 10

    monkeypatch.setattr(os, "sendfile", sendfile)
    sending = Sending(0, LARGE)
    with pytest.raises(BrokenPipeError):
        sending(-1, -1)
    assert sending.sent == 10


# A job's descriptors.


@pytest.fixture
async def closings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The descriptors that os.close was called with since there is an event loop (which opens one, from 3.14 on)."""
    closings: list[int] = []
    close = os.close

    def noted(descriptor: int) -> None:
        closings.append(descriptor)
        close(descriptor)

    monkeypatch.setattr(os, "close", noted)
    return closings


async def ended(job: Job[object]) -> None:
    await job.wait(WAIT)
    assert job.done


async def test_a_job_works_with_copies_and_closes_each_once(opened: Opened, closings: list[int]) -> None:
    source = opened(1)
    used: list[int] = []
    job: Job[object] = Job(asyncio.get_running_loop(), lambda *copies: used.extend(copies), source.descriptor, 1)
    await ended(job)
    assert job.result() is None
    assert not job.withdraw()
    assert sorted(closings) == sorted(used)
    assert len(set(used)) == 2
    assert not {source.descriptor, 1} & set(used)


async def test_a_job_that_fails_closes_its_copies_once(opened: Opened, closings: list[int]) -> None:
    def fail(copy: int) -> None:
        used.append(copy)
        raise LookupError("no such thing")

    used: list[int] = []
    job: Job[object] = Job(asyncio.get_running_loop(), fail, opened(1).descriptor)
    await ended(job)
    with pytest.raises(LookupError, match="no such thing"):
        job.result()
    assert closings == used


async def test_a_job_that_is_withdrawn_before_it_begins_closes_its_copies_once(
    opened: Opened, closings: list[int]
) -> None:
    loop = asyncio.get_running_loop()
    source = opened(1)
    release = threading.Event()
    busy: list[Job[object]] = [Job(loop, release.wait) for _ in range(THREADS)]
    job: Job[object] = Job(loop, os.fstat, source.descriptor)
    assert not job.done
    assert job.withdraw()
    assert len(closings) == 1
    assert job.withdraw()
    assert not job.done
    release.set()
    for each in busy:
        await ended(each)
    assert len(closings) == 1
    assert closings[0] != source.descriptor


async def test_a_job_that_takes_too_long_is_not_waited_for() -> None:
    begun, release = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert release.wait(WAIT)

    job: Job[object] = Job(asyncio.get_running_loop(), work)
    assert begun.wait(WAIT)
    await job.wait(0)
    assert not job.done
    assert not job.withdraw()
    release.set()
    await ended(job)


async def test_where_no_thread_is_to_be_had_nothing_stays_open(
    opened: Opened, closings: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    over = ThreadPoolExecutor(1)
    over.shutdown()
    monkeypatch.setattr(disk, "_threads", lambda: over)
    with pytest.raises(RuntimeError, match="after shutdown"):
        Job(asyncio.get_running_loop(), os.fstat, opened(1).descriptor)
    assert len(closings) == 1


async def test_where_no_descriptor_is_to_be_had_nothing_stays_open(
    opened: Opened, closings: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([os.dup, refuse(errno.EMFILE)])
    monkeypatch.setattr(os, "dup", lambda descriptor: next(answers)(descriptor))
    with pytest.raises(OSError, match="Too many open files"):
        Job(asyncio.get_running_loop(), os.fstat, opened(1).descriptor, 1)
    assert len(closings) == 1
