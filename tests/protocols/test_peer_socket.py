"""A client that has closed its side is told from one that is gone, over real sockets."""

import asyncio
import contextlib
import select
import socket
import struct
from collections.abc import Iterator

import pytest

from corehttp.protocols.peer_socket import KEEPALIVE, Watch, end_our_side, has_unread, reset_on_close, write_last
from tests.kit.connections import connected, on_both_loops, random_bytes, until
from tests.kit.fakes import FakeTransport
from tests.kit.listening import LINUX

WAIT = 5000  # milliseconds to wait for what takes less than one


class Probed(FakeTransport):
    """A transport that writes to a real socket at once."""

    def __init__(self, sock: socket.socket | None) -> None:
        super().__init__(sock=sock)
        self.sock = sock

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))
        if self.sock is not None:
            self.sock.send(data)

    def is_closing(self) -> bool:
        return False


@contextlib.contextmanager
def tcp_pair(host: str = "127.0.0.1") -> Iterator[tuple[socket.socket, socket.socket]]:
    """Return the server's end of a connection, and the client's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener:
        client = socket.create_connection(listener.getsockname()[:2])
        ours, _ = listener.accept()
    with ours, client:
        yield ours, client


def wait_for_reset(ours: socket.socket) -> None:
    """Wait until the kernel has heard that the client is gone."""
    poll = select.poll()
    poll.register(ours, 0)  # POLLERR and POLLHUP are always reported
    assert poll.poll(WAIT), "no reset has come"


HOSTS = pytest.mark.parametrize("host", ["127.0.0.1", "::1"])


@HOSTS
def test_a_client_that_only_ended_its_side_is_there(host: str) -> None:
    with tcp_pair(host) as (ours, client):
        watch = Watch(Probed(ours))
        client.shutdown(socket.SHUT_WR)
        assert ours.recv(1) == b""
        assert not watch.is_gone()
        watch.probe(b"0")
        assert client.recv(1) == b"0"
        assert not watch.is_gone()


@HOSTS
def test_a_client_that_is_gone_shows_it_when_it_is_probed(host: str) -> None:
    with tcp_pair(host) as (ours, client):
        watch = Watch(Probed(ours))
        client.close()
        assert ours.recv(1) == b""
        assert not watch.is_gone()  # not known before the probe
        watch.probe(b"0")
        wait_for_reset(ours)
        assert watch.is_gone()
        assert watch.is_gone()  # and so says every further call


def test_a_client_that_resets_the_connection_is_gone_without_a_probe() -> None:
    with tcp_pair() as (ours, client):
        watch = Watch(Probed(ours))
        client.shutdown(socket.SHUT_WR)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        wait_for_reset(ours)
        assert watch.is_gone()


def test_a_client_is_probed_once() -> None:
    with tcp_pair() as (ours, client):
        transport = Probed(ours)
        watch = Watch(transport)
        for _ in range(3):
            watch.probe(b"0")
        assert transport.writes == [b"0"]
        client.shutdown(socket.SHUT_WR)


def test_where_there_is_nothing_harmless_to_send_the_kernel_probes() -> None:
    with tcp_pair() as (ours, _):
        transport = Probed(ours)
        Watch(transport).probe(b"")
        assert transport.writes == []
        assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        if hasattr(socket, "TCP_KEEPIDLE"):
            assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == KEEPALIVE
            assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == KEEPALIVE


def test_a_client_of_a_unix_socket_that_is_gone_needs_no_probe() -> None:
    ours, client = socket.socketpair(socket.AF_UNIX)
    with ours, client:
        watch = Watch(Probed(ours))
        client.shutdown(socket.SHUT_WR)
        assert not watch.is_gone()
        watch.probe(b"0")
        assert client.recv(1) == b"0"
        assert not watch.is_gone()
        client.close()
        assert watch.is_gone()


def test_the_close_of_a_unix_socket_is_none_to_reset() -> None:
    ours, client = socket.socketpair(socket.AF_UNIX)
    with ours, client:
        reset_on_close(Probed(ours))
        ours.close()
        assert client.recv(1) == b""


def test_a_socket_that_is_closed_is_nobody_to_ask() -> None:
    with tcp_pair() as (ours, _):
        watch = Watch(FakeTransport(sock=ours))
        ours.close()
        assert not watch.is_gone()


def test_without_a_socket_there_is_nothing_to_ask() -> None:
    transport = Probed(None)
    watch = Watch(transport)
    watch.probe(b"0")
    assert transport.writes == [b"0"]
    assert not watch.is_gone()
    reset_on_close(transport)


@HOSTS
def test_a_close_can_be_made_a_reset(host: str) -> None:
    with tcp_pair(host) as (ours, client):
        transport = FakeTransport(sock=ours)
        transport.set_protocol(asyncio.Protocol())
        reset_on_close(transport)
        ours.close()
        with pytest.raises(ConnectionResetError):
            client.recv(1)


@on_both_loops
async def test_our_side_is_ended_whatever_has_become_of_the_connection() -> None:
    async with connected() as (connection, client):
        end_our_side(connection.transport)
        assert await client.read(1) == b""
        assert not connection.transport.is_closing()
    for reading in (True, False):
        async with connected() as (connection, client):
            if not reading:
                connection.transport.pause_reading()
            client.reset()  # which nobody has noticed
            end_our_side(connection.transport)
            connection.transport.abort()
            await connection.lost
            end_our_side(connection.transport)
            reset_on_close(connection.transport)


@on_both_loops
async def test_the_kernel_knows_of_bytes_that_nobody_has_read() -> None:
    async with connected() as (connection, client):
        connection.transport.pause_reading()
        assert not has_unread(connection.transport)
        client.sock.send(b"a")
        await until(lambda: has_unread(connection.transport))
    assert not has_unread(connection.transport)


def test_what_has_no_socket_has_nothing_unread() -> None:
    assert not has_unread(FakeTransport())


@LINUX
@on_both_loops
async def test_the_last_bytes_and_the_end_come_in_one_segment() -> None:
    async with connected() as (connection, client):
        before = segments_received(client.sock)
        write_last(connection.transport, b"the last bytes")
        assert await client.read(100) == b"the last bytes"
        assert segments_received(client.sock) == before + 1
        connection.transport.close()
        await connection.lost


def segments_received(sock: socket.socket) -> int:
    """Return how many segments the kernel has received for a TCP socket (tcp(7), TCP_INFO, tcpi_segs_in)."""
    return int(struct.unpack_from("I", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 144), 140)[0])


@on_both_loops
async def test_what_the_kernel_does_not_take_of_the_last_bytes_the_transport_writes() -> None:
    data = random_bytes(1 << 20)
    async with connected("slow") as (connection, client):
        write_last(connection.transport, data)
        assert 0 < connection.transport.get_write_buffer_size() < len(data)
        write_last(connection.transport, b"never before what waits")
        connection.transport.close()
        assert await client.read(2 * len(data)) == data + b"never before what waits"
        await connection.lost


def test_the_last_bytes_are_not_waited_for_though_sockets_have_a_timeout() -> None:
    with tcp_pair() as (ours, _):
        ours.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while ours.send(bytes(1 << 20)):
                pass
        transport = FakeTransport(sock=ours)
        transport.set_protocol(asyncio.Protocol())
        socket.setdefaulttimeout(60.0)
        try:
            write_last(transport, b"no room")
        finally:
            socket.setdefaulttimeout(None)
        assert transport.writes == [b"no room"]


@on_both_loops
async def test_the_last_bytes_are_the_transport_s_where_they_cannot_go_with_the_end() -> None:
    async with connected("unix") as (connection, client):
        write_last(connection.transport, b"unix")
        assert await client.read(4) == b"unix"
    async with connected() as (connection, client):
        connection.transport.pause_reading()
        client.reset()  # which nobody has noticed
        write_last(connection.transport, b"gone")


def test_without_an_open_socket_the_transport_writes_the_last_bytes() -> None:
    with tcp_pair() as (ours, _):
        pass
    for sock in (None, ours):
        transport = FakeTransport(sock=sock)
        transport.set_protocol(asyncio.Protocol())
        write_last(transport, b"all")
        assert transport.writes == [b"all"]
