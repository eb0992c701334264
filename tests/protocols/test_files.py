"""Ranges of files come to a client whole and in order, over real sockets and on both event loops."""

import asyncio
import errno
import os
import ssl
import sys
import threading
from collections.abc import Callable

import pytest

from corehttp.errors import ClientDisconnectedError
from corehttp.protocols import disk
from corehttp.protocols.disk import CALL, PIECE
from corehttp.protocols.files import FEW
from tests.kit.connections import (
    LARGE,
    Connection,
    Opened,
    anonymous_tls,
    closed,
    connected,
    descriptors,
    on_both_loops,
    refuse,
    skip_unless_it_tells,
    until,
    waiting_for_client,
)

SIZES = [0, 1, PIECE, PIECE + 1, FEW, FEW + 1, LARGE]
HEAD = b"HTTP/1.1 200 OK\r\n\r\n"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")


# The whole of it, in order.


@pytest.mark.parametrize("family", ["tcp", "unix", "slow"])
@pytest.mark.parametrize("size", SIZES)
@on_both_loops
async def test_a_file_arrives_behind_what_was_written(opened: Opened, size: int, family: str) -> None:
    source = opened(size)
    async with connected(family) as (connection, client):
        connection.transport.write(HEAD)
        sending = connection.send(source.descriptor, 0, size)
        assert await client.read(len(HEAD) + size) == HEAD + source.data
        assert await sending == connection.sent == size


@pytest.mark.parametrize(("offset", "count"), [(0, 10), (1, PIECE), (12345, FEW + 5), (999_990, 10), (1_000_000, 0)])
@on_both_loops
async def test_a_range_is_cut_out(opened: Opened, offset: int, count: int) -> None:
    source = opened(1_000_000)
    async with connected() as (connection, client):
        sending = connection.send(source.descriptor, offset, count)
        assert await client.read(count) == source.data[offset : offset + count]
        assert await sending == count
        connection.transport.write(b"end")
        assert await client.read(3) == b"end"


@pytest.mark.parametrize("family", ["tcp", "slow"])
@on_both_loops
async def test_it_waits_until_all_that_was_written_before_is_out(opened: Opened, family: str) -> None:
    source = opened(FEW + 1)
    before = bytes(LARGE)
    async with connected(family) as (connection, client):
        transport = connection.transport
        transport.set_write_buffer_limits(high=50_000, low=2_000)
        transport.write(before)
        assert transport.get_write_buffer_size() > 0
        sending = connection.send(source.descriptor, 0, len(source.data))
        assert await client.read(len(before)) == before
        assert await client.read(len(source.data)) == source.data
        await sending
        assert transport.get_write_buffer_limits() == (2_000, 50_000)


@on_both_loops
async def test_ranges_follow_each_other_and_what_is_written_between_them(opened: Opened) -> None:
    sources = [opened(size) for size in (10, FEW + 1, 1000, FEW + 2)]
    async with connected("slow") as (connection, client):

        async def send_all() -> None:
            for source in sources:
                assert await connection.send(source.descriptor, 0, len(source.data)) == len(source.data)
                connection.transport.write(HEAD)

        sending = asyncio.create_task(send_all())
        expected = b"".join(source.data + HEAD for source in sources)
        assert await client.read(len(expected)) == expected
        await sending


@pytest.mark.parametrize("size", [0, 1, PIECE, FEW + 1])
@on_both_loops
async def test_a_file_that_is_shorter_than_the_range_ends_it(opened: Opened, size: int) -> None:
    source = opened(size)
    async with connected() as (connection, client):
        assert await connection.send(source.descriptor, 0, size + LARGE) == size
        assert await client.read(size) == source.data


@on_both_loops
async def test_a_file_that_is_truncated_meanwhile_ends_the_range(own_file: Opened) -> None:
    source = own_file(LARGE)
    before = descriptors()
    async with connected("unix") as (connection, client):
        now = descriptors()
        sending = connection.send(source.descriptor, 0, LARGE)
        await waiting_for_client(connection, now)
        sent = connection.sent
        os.truncate(source.path, sent)
        assert await client.read(sent) == source.data[:sent]
        assert await sending == sent
    await closed(but=before)


# Where sendfile(2) cannot be used.


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])
@on_both_loops
async def test_a_file_that_sendfile_refuses_is_read(opened: Opened, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.setattr(os, "sendfile", refuse(code))
    source = opened(1_000_000)
    async with connected("slow") as (connection, client):
        sending = connection.send(source.descriptor, 10, 900_000)
        assert await client.read(900_000, 10_000) == source.data[10:900_010]
        assert await sending == 900_000


@on_both_loops
async def test_a_file_that_only_read_knows_is_read() -> None:
    file = os.open("/proc/version", os.O_RDONLY)
    expected = os.pread(file, PIECE, 0)
    try:
        async with connected() as (connection, client):
            assert await connection.send(file, 0, LARGE) == len(expected)
            assert await client.read(len(expected)) == expected
    finally:
        os.close(file)


@pytest.mark.parametrize("size", [1, FEW, LARGE])
@on_both_loops
async def test_through_tls_a_file_is_read(opened: Opened, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sendfile")
    source = opened(size)
    connections: list[Connection] = []

    def accept() -> Connection:
        connections.append(Connection())
        return connections[0]

    loop = asyncio.get_running_loop()
    server = await loop.create_server(accept, "127.0.0.1", 0, ssl=anonymous_tls(ssl.PROTOCOL_TLS_SERVER))
    address = server.sockets[0].getsockname()
    reader, writer = await asyncio.open_connection(*address, ssl=anonymous_tls(ssl.PROTOCOL_TLS_CLIENT))
    [connection] = connections
    await until(lambda: hasattr(connection, "transport"))
    sending = connection.send(source.descriptor, 0, size)
    assert await reader.readexactly(size) == source.data
    assert await sending == size
    writer.close()
    server.close()
    await connection.lost


@on_both_loops
async def test_a_pipe_is_sent_from_where_it_is_as_its_bytes_come() -> None:
    source, end = os.pipe()
    async with connected() as (connection, client):
        sending = connection.send(source, 12345, LARGE)
        for piece in (b"one", b"two"):
            os.write(end, piece)
            assert await client.read(3) == piece
        os.close(end)
        assert await sending == 6
    os.close(source)


@on_both_loops
async def test_a_silent_pipe_holds_no_thread_and_can_be_left() -> None:
    source, end = os.pipe()
    before = descriptors()
    async with connected() as (connection, _):
        sending = connection.send(source, 0, 10)
        await until(lambda: descriptors() > before + 2)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
    await closed(but=before)
    os.close(end)
    os.close(source)


# What is in memory, and what is not.


@pytest.mark.parametrize("size", [1, PIECE, FEW])
@on_both_loops
async def test_a_short_range_that_is_in_memory_needs_no_thread(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    source = opened(size)
    skip_unless_it_tells(source.descriptor)
    monkeypatch.delattr(disk, "_threads")
    async with connected() as (connection, client):
        sending = connection.send(source.descriptor, 0, size)
        assert await client.read(size) == source.data
        await sending


@on_both_loops
async def test_a_long_range_does_not_pass_through_memory_and_goes_in_calls_of_bounded_size(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = opened(LARGE)
    steps: list[int] = []
    sendfile = os.sendfile

    def noted(sock: int, file: int, offset: int, count: int) -> int:
        steps.append(count)
        return sendfile(sock, file, offset, count)

    monkeypatch.setattr(os, "sendfile", noted)
    monkeypatch.delattr(os, "pread")
    monkeypatch.delattr(os, "preadv")
    async with connected() as (connection, client):
        sending = connection.send(source.descriptor, 0, LARGE)
        assert await client.read(LARGE) == source.data
        await sending
    assert max(steps) == CALL


@pytest.mark.parametrize("size", [1, PIECE, FEW, LARGE])
@pytest.mark.parametrize("code", [errno.EAGAIN, errno.EOPNOTSUPP])
@on_both_loops
async def test_what_cannot_be_read_at_once_is_read_in_a_thread(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, size: int, code: int
) -> None:
    threads: set[str] = set()

    def noting(call: Callable[..., object]) -> Callable[..., object]:
        def noted(*args: object) -> object:
            threads.add(threading.current_thread().name)
            return call(*args)

        return noted

    monkeypatch.setattr(os, "preadv", refuse(code))
    monkeypatch.setattr(os, "pread", noting(os.pread))
    monkeypatch.setattr(os, "sendfile", noting(os.sendfile))
    source = opened(size)
    async with connected("slow") as (connection, client):
        sending = connection.send(source.descriptor, 0, size)
        assert await client.read(size) == source.data
        await sending
    assert threads
    assert all(name.startswith("files") for name in threads)


@on_both_loops
async def test_without_a_call_that_does_not_wait_a_file_is_read_in_a_thread(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "_NOWAIT", None)
    source = opened(100)
    async with connected() as (connection, client):
        assert await connection.send(source.descriptor, 0, 100) == 100
        assert await client.read(100) == source.data


@pytest.mark.parametrize("size", [10, LARGE])
@on_both_loops
async def test_what_reading_raises_is_raised(opened: Opened, size: int) -> None:
    source = opened(size)
    only_for_writing = os.open(source.path, os.O_WRONLY)
    async with connected() as (connection, _):
        with pytest.raises(OSError, match="Bad file descriptor") as caught:
            await connection.send(only_for_writing, 0, size)
        assert not isinstance(caught.value, ClientDisconnectedError)
    os.close(only_for_writing)
