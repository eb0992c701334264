"""While a disk is slow a transfer keeps a thread, but not for long, and keeps neither its client nor others waiting."""

import asyncio
import contextlib
import errno
import os
import sys
from collections.abc import Callable

import pytest

from corehttp.errors import ClientDisconnectedError
from corehttp.protocols import disk, file_reader, files
from corehttp.protocols.disk import CALL, PIECE, THREADS
from corehttp.protocols.files import FEW
from corehttp.worker.event_loop import loop_factory
from tests.kit.connections import (
    LARGE,
    Connection,
    Opened,
    SlowDisk,
    closed,
    connected,
    descriptors,
    on_both_loops,
    refuse,
    until,
)
from tests.kit.fakes import TURNS

End = Callable[[Connection, "asyncio.Task[int]"], None]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")


@on_both_loops
async def test_a_thread_at_work_keeps_to_its_file_though_the_number_is_another_files(
    opened: Opened, slow_disk: SlowDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk may take longer than a cancelled transfer waits for it."""
    monkeypatch.setattr(file_reader, "PATIENCE", 0)
    source = opened(FEW + 1)
    status = source.path.stat()
    before = descriptors()
    async with connected() as (connection, client):
        now = descriptors()
        sending = connection.send(source.descriptor, 0, FEW + 1)
        await until(lambda: len(slow_disk.calls) > 0)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert descriptors() == now + 2
        os.close(source.descriptor)
        assert opened(1).descriptor == source.descriptor
        slow_disk.released.set()
        assert await client.read(CALL) == source.data[:CALL]
        assert slow_disk.calls == [(status.st_dev, status.st_ino)]
        await until(lambda: descriptors() == now)
    await closed(but=before)


@on_both_loops
async def test_a_client_that_leaves_with_all_of_the_file_has_been_served(
    opened: Opened, slow_disk: SlowDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_disk.tells_late = True
    monkeypatch.setattr(files, "FEW", PIECE)
    source = opened(PIECE + 1)  # so many bytes fit into a socket at once
    async with connected("unix") as (connection, client):
        sending = connection.send(source.descriptor, 0, PIECE + 1)
        await until(lambda: len(slow_disk.calls) > 0)
        connection.transport.abort()
        await connection.lost
        slow_disk.released.set()
        assert await sending == PIECE + 1
        assert await client.read(PIECE + 2) == source.data


@on_both_loops
async def test_a_client_that_leaves_with_a_part_of_the_file_is_gone(opened: Opened, slow_disk: SlowDisk) -> None:
    source = opened(LARGE)
    async with connected("unix") as (connection, client):
        sending = connection.send(source.descriptor, 0, LARGE)
        await until(lambda: len(slow_disk.calls) > 0)
        connection.transport.abort()
        await connection.lost
        slow_disk.released.set()
        with pytest.raises(ClientDisconnectedError):
            await sending
        assert await client.read(LARGE) == source.data[: connection.sent]


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_thread_outlasts_its_loop_and_closes_what_it_has(
    opened: Opened, slow_disk: SlowDisk, caplog: pytest.LogCaptureFixture, loop: str
) -> None:
    source = opened(FEW + 1)
    before = descriptors()

    async def leave() -> None:
        async with connected() as (connection, _):
            connection.send(source.descriptor, 0, FEW + 1)
            await until(lambda: len(slow_disk.calls) > 0)

    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        runner.run(leave())
    assert descriptors() == before + 2
    threads = disk._threads()
    disk._threads.cache_clear()  # the next test starts others
    slow_disk.released.set()
    threads.shutdown()
    assert descriptors() == before
    assert not caplog.records


# The end of a transfer, while the disk is at work.


def lose(connection: Connection, sending: "asyncio.Task[int]") -> None:
    connection.transport.abort()


def cancel(connection: Connection, sending: "asyncio.Task[int]") -> None:
    sending.cancel()


ENDS = pytest.mark.parametrize(
    ("end", "error"), [(lose, ClientDisconnectedError), (cancel, asyncio.CancelledError)], ids=["lost", "cancelled"]
)


@ENDS
@on_both_loops
async def test_its_end_waits_for_one_call_of_its_thread_and_counts_what_that_hands_over(
    opened: Opened, slow_disk: SlowDisk, end: End, error: type[BaseException]
) -> None:
    source = opened(LARGE)
    before = descriptors()
    async with connected("unix") as (connection, client):
        sending = connection.send(source.descriptor, 0, LARGE)
        await until(lambda: len(slow_disk.calls) > 0)
        end(connection, sending)
        for _ in range(TURNS):
            await asyncio.sleep(0)
        assert not sending.done()
        slow_disk.released.set()
        with pytest.raises(error):
            await sending
        assert len(slow_disk.calls) == 1
        assert connection.sent > 0
        connection.transport.abort()
        assert await client.read(LARGE) == source.data[: connection.sent]
    await closed(but=before)


@ENDS
@on_both_loops
async def test_a_disk_that_does_not_answer_keeps_no_transfer_that_has_ended(
    opened: Opened, slow_disk: SlowDisk, monkeypatch: pytest.MonkeyPatch, end: End, error: type[BaseException]
) -> None:
    monkeypatch.setattr(file_reader, "PATIENCE", 0)
    source = opened(LARGE)
    before = descriptors()
    async with connected("unix") as (connection, _):
        sending = connection.send(source.descriptor, 0, LARGE)
        await until(lambda: len(slow_disk.calls) > 0)
        end(connection, sending)
        with pytest.raises(error):
            await sending
        assert connection.sent == 0
        slow_disk.released.set()
    await closed(but=before)
    assert len(slow_disk.calls) == 1


@ENDS
@on_both_loops
async def test_its_end_does_not_wait_for_a_thread_that_only_reads(
    opened: Opened, slow_disk: SlowDisk, monkeypatch: pytest.MonkeyPatch, end: End, error: type[BaseException]
) -> None:
    monkeypatch.setattr(os, "preadv", refuse(errno.EAGAIN))
    source = opened(PIECE)
    before = descriptors()
    async with connected("unix") as (connection, client):
        sending = connection.send(source.descriptor, 0, PIECE)
        await until(lambda: len(slow_disk.calls) > 0)
        end(connection, sending)
        with pytest.raises(error):
            await sending
        connection.transport.abort()
        await connection.lost
        slow_disk.released.set()
        assert await client.read(1) == b""
    await closed(but=before)


@ENDS
@on_both_loops
async def test_what_waits_for_a_thread_at_its_end_is_not_begun(
    opened: Opened, slow_disk: SlowDisk, end: End, error: type[BaseException]
) -> None:
    source = opened(FEW + 1)
    before = descriptors()
    async with contextlib.AsyncExitStack() as stack:
        pairs = [await stack.enter_async_context(connected()) for _ in range(THREADS + 1)]
        now = descriptors()
        tasks = [connection.send(source.descriptor, 0, FEW + 1) for connection, _ in pairs]
        await until(lambda: len(slow_disk.calls) == THREADS and descriptors() == now + 2 * len(pairs))
        connection, client = pairs[-1]
        end(connection, tasks[-1])
        with pytest.raises(error):
            await tasks[-1]
        slow_disk.released.set()
        assert await asyncio.gather(*tasks[:-1]) == [FEW + 1] * THREADS
        connection.transport.abort()
        await connection.lost
        with contextlib.suppress(ConnectionResetError):
            assert await client.read(1) == b""
    await closed(but=before)
