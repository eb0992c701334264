"""Files are sent to clients that are fast, slow or gone, beside a disk that is slow."""

import asyncio
import contextlib
import errno
import gc
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future

import pytest

from corehttp.errors import ClientDisconnectedError
from corehttp.protocols.disk import PIECE, THREADS
from corehttp.protocols.files import FEW, Transfer
from corehttp.protocols.peer_socket import untaken
from tests.kit.connections import (
    LARGE,
    Client,
    Connection,
    Opened,
    closed,
    connected,
    descriptors,
    on_both_loops,
    refuse,
    until,
    waiting_for_client,
    workers,
)
from tests.kit.fakes import TURNS, FakeTransport

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")


# A client that reads fast, slowly, not at all, or leaves.


async def test_a_client_that_takes_all_at_once_does_not_stop_the_loop(opened: Opened) -> None:
    source = opened(10 * PIECE)
    loop = asyncio.get_running_loop()
    transport = unlimited_transport()
    written: set[int] = set()

    async def writable() -> None:
        """Return at once: the transport always takes more."""

    def look() -> None:
        written.add(len(transport.writes))
        if not sending.done():
            loop.call_soon(look)

    sending = loop.create_task(Transfer(transport, loop, writable).send(source.descriptor, 0, len(source.data)))
    loop.call_soon(look)
    assert await sending == len(source.data)
    assert b"".join(transport.writes) == source.data
    assert written >= set(range(1, 10))


async def test_what_is_read_is_written_as_fast_as_the_transport_wants_it(opened: Opened) -> None:
    source = opened(10 * PIECE)
    loop = asyncio.get_running_loop()
    transport = unlimited_transport()
    wanted: asyncio.Queue[None] = asyncio.Queue()
    sending = loop.create_task(Transfer(transport, loop, wanted.get).send(source.descriptor, 0, len(source.data)))
    for pieces in range(1, 11):
        await until(lambda: len(transport.writes) >= pieces)  # noqa: B023
        for _ in range(TURNS):
            await asyncio.sleep(0)
        assert len(transport.writes) == pieces
        assert not sending.done()
        wanted.put_nowait(None)
    assert await sending == len(source.data)


def unlimited_transport() -> FakeTransport:
    transport = FakeTransport()
    transport.set_protocol(asyncio.Protocol())
    return transport


@on_both_loops
async def test_a_client_that_reads_little_by_little_gets_it_all(opened: Opened) -> None:
    source = opened(2_000_000)
    async with connected("slow") as (connection, client):
        sending = connection.send(source.descriptor, 0, len(source.data))
        assert await client.read(len(source.data), step=1000) == source.data
        await sending


@on_both_loops
async def test_many_slow_clients_hold_no_thread(opened: Opened) -> None:
    source = opened(1_000_000)
    before = descriptors()
    async with contextlib.AsyncExitStack() as stack:
        pairs = [await stack.enter_async_context(connected("slow")) for _ in range(50)]
        now = descriptors()
        tasks = [connection.send(source.descriptor, 0, len(source.data)) for connection, _ in pairs]
        await until(lambda: all(connection.sent for connection, _ in pairs) and descriptors() == now + len(pairs))
        assert workers() <= THREADS
        async with connected() as (connection, client):
            sending = connection.send(source.descriptor, 0, len(source.data))
            assert await client.read(len(source.data)) == source.data
            await sending
        received = await asyncio.gather(*(client.read(len(source.data), step=50_000) for _, client in pairs))
        assert all(data == source.data for data in received)
        assert await asyncio.gather(*tasks) == [len(source.data)] * len(pairs)
    await closed(but=before)


@on_both_loops
async def test_what_a_client_has_taken_can_be_seen_where_the_socket_is_not_writable(opened: Opened) -> None:
    source = opened(LARGE)
    async with connected("unix") as (connection, client):
        now = descriptors()
        sending = connection.send(source.descriptor, 0, LARGE)
        await waiting_for_client(connection, now)
        sent = connection.sent
        still = untaken(connection.transport)
        assert still > 0
        await client.read(still // 2)
        await until(lambda: connection.sent - untaken(connection.transport) > sent - still)
        assert connection.sent == sent
        sending.cancel()


@on_both_loops
async def test_a_transport_that_holds_bytes_back_counts_them_as_not_taken() -> None:
    async with connected("slow") as (connection, client):
        connection.transport.write(bytes(LARGE))
        assert untaken(connection.transport) > LARGE - 1_000_000
        await client.read(LARGE)
        await until(lambda: untaken(connection.transport) == 0)


@on_both_loops
async def test_left_by_a_cancellation_nothing_stays_open_or_watched(opened: Opened) -> None:
    source = opened(LARGE)
    before = descriptors()
    async with connected("unix") as (connection, client):
        now = descriptors()
        sending = connection.send(source.descriptor, 0, LARGE)
        await waiting_for_client(connection, now)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert descriptors() == now
        number = opened(1).descriptor  # the same number as that of the file that was watched
        assert not asyncio.get_running_loop().remove_writer(number)
        os.close(number)
        connection.transport.abort()
        assert await client.read(LARGE) == source.data[: connection.sent]
    await closed(but=before)


@on_both_loops
async def test_left_before_it_could_begin_the_transport_is_as_before(opened: Opened) -> None:
    source = opened(LARGE)
    async with connected("slow") as (connection, _):
        transport = connection.transport
        limits = transport.get_write_buffer_limits()
        transport.write(bytes(LARGE))
        sending = connection.send(source.descriptor, 0, LARGE)
        await until(lambda: transport.get_write_buffer_limits() != limits)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert transport.get_write_buffer_limits() == limits


async def abort(connection: Connection, client: Client) -> None:
    connection.transport.abort()


async def close(connection: Connection, client: Client) -> None:
    connection.transport.close()


async def reset(connection: Connection, client: Client) -> None:
    client.reset()


async def reset_unseen(connection: Connection, client: Client) -> None:
    """Nobody reads from the connection, so that its transport does not notice."""
    connection.transport.pause_reading()
    client.reset()


@pytest.mark.parametrize("end", [abort, close, reset, reset_unseen])
@pytest.mark.parametrize("queued", [0, LARGE], ids=["in the kernel", "in the transport"])
@pytest.mark.parametrize("family", ["unix", "slow"])
@on_both_loops
async def test_the_end_of_the_connection_ends_it(
    opened: Opened, end: Callable[[Connection, Client], Awaitable[None]], queued: int, family: str
) -> None:
    source = opened(LARGE)
    before = descriptors()
    async with connected(family) as (connection, client):
        now = descriptors()
        connection.transport.write(bytes(queued))
        limits = connection.transport.get_write_buffer_limits()
        sending = connection.send(source.descriptor, 0, LARGE)
        if queued:
            await until(lambda: connection.transport.get_write_buffer_limits() != limits)
        else:
            await waiting_for_client(connection, now)
        await end(connection, client)
        if queued and end is close:
            await client.read(queued)  # a close waits for what was written
        with pytest.raises(ClientDisconnectedError):
            await sending
    await closed(but=before)


@pytest.mark.parametrize("size", [1, LARGE])
@on_both_loops
async def test_on_a_connection_that_has_ended_nothing_is_sent(opened: Opened, size: int) -> None:
    source = opened(size)
    async with connected() as (connection, _):
        connection.transport.abort()
        with pytest.raises(ClientDisconnectedError):
            await connection.transfer.send(source.descriptor, 0, size)
        assert not connection.lost.done()
        await connection.lost
        with pytest.raises(ClientDisconnectedError):
            await connection.transfer.send(source.descriptor, 0, size)
        assert connection.sent == 0


@pytest.mark.parametrize("code", [errno.EPIPE, errno.ECONNRESET, errno.ETIMEDOUT, errno.EHOSTUNREACH])
@on_both_loops
async def test_what_the_socket_says_of_a_lost_client_is_told_apart(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(os, "sendfile", refuse(code))
    source = opened(FEW + 1)
    async with connected() as (connection, _):
        with pytest.raises(ClientDisconnectedError) as caught:
            await connection.send(source.descriptor, 0, FEW + 1)
        assert isinstance(caught.value.__cause__, OSError)


@pytest.fixture
def garbage() -> Iterator[list[object]]:
    """Collect in a list, while the test runs, what only the garbage collector can free."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    yield gc.garbage
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()


@pytest.mark.parametrize("mode", [os.O_RDONLY, os.O_WRONLY], ids=["client gone", "file unreadable"])
@on_both_loops
async def test_an_error_leaves_no_cycle(opened: Opened, mode: int, garbage: list[object]) -> None:
    source = opened(LARGE)
    file = os.open(source.path, mode)
    async with connected("unix") as (connection, _):
        now = descriptors()
        sending = connection.send(file, 0, LARGE)
        if mode == os.O_RDONLY:
            await waiting_for_client(connection, now)
            connection.transport.abort()
        with pytest.raises(OSError, match=r"disconnected|Bad file descriptor"):
            await sending
        del sending
        gc.collect()
        assert not [thing for thing in garbage if isinstance(thing, OSError | Future)]
    os.close(file)
