"""Connections that begin with a PROXY header: what applications are told, what is handed over, and what is cut."""

import asyncio
import contextlib
import functools
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from corehttp.asgi import Receive, Scope, Send
from corehttp.config import Config
from corehttp.ipc import handover
from corehttp.protocols.context import WorkerContext
from corehttp.protocols.contracts import Connection, HandOver
from corehttp.protocols.entrance import Entrance
from corehttp.protocols.http1.parser_httptools import HttptoolsParser
from corehttp.protocols.peer import Trust, direct
from corehttp.protocols.tally import Tally
from corehttp.sockets.endpoint import ListeningSocket
from corehttp.worker import entrances, wiring
from corehttp.worker.acceptor import Acceptor
from corehttp.worker.connection_protocols import make_protocol
from corehttp.worker.proxy_opening import SILENCE, FaultLog, HeaderRules, ProxyOpening, ProxyOpenings
from tests.kit.accepting import accepting
from tests.kit.connections import on_both_loops
from tests.kit.fakes import LIMITS, fixed_clock, make_context, pass_time
from tests.kit.proxy_headers import (
    LOCAL,
    SIGNATURE,
    extension,
    ssl_extension,
    version_1,
    version_2,
    version_2_unix,
)
from tests.worker.test_endpoints import listen

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
TIMEOUT = 3
TOLD = "('203.0.113.7', 51234) http ('192.0.2.1', 443)"  # what an application is told after `version_1` or `version_2`
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def tell(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers who asks, and how."""
    body = f"{scope['client']} {scope['scheme']} {scope['server']}".encode()
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Departure:
    """Implements `contracts.Departure`, where all have waited long enough."""

    def __init__(self, hand_over: HandOver | None = None) -> None:
        self.hand_over = hand_over

    def has_waited(self, connection: Connection, now: float) -> bool:
        return True

    def is_turn_of(self, connection: Connection, now: float) -> bool:
        return True


@contextlib.asynccontextmanager
async def serving(
    *sockets: ListeningSocket, inbox: socket.socket | None = None, trusted: str = "127.0.0.1,unix", limit: int = 0
) -> AsyncIterator[WorkerContext]:
    """Serves `tell` as a worker does, where endpoint 0 expects headers; at the end nothing of it is left."""
    context = make_context(tell, HttptoolsParser)
    make = functools.partial(make_protocol, context, {0: Entrance(0), 1: Entrance(1)})
    headers = ProxyOpenings(context, HeaderRules({0: frozenset({1, 2})}, Trust(trusted), TIMEOUT))
    acceptor = Acceptor(context.loop, sockets, make, context.connections, limit, inbox, openings=headers)
    context.on_release = acceptor.released
    async with accepting(acceptor, context):
        yield context


def on_loopback(endpoint: int = 0) -> ListeningSocket:
    return listen(socket.AF_INET, ("127.0.0.1", 0), endpoint)


@contextlib.asynccontextmanager
async def client_of(sock: ListeningSocket, host: str = "127.0.0.1") -> AsyncIterator[Streams]:
    streams = await asyncio.open_connection("127.0.0.1", sock.getsockname()[1], local_addr=(host, 0))
    try:
        yield streams
    finally:
        streams[1].close()


async def answer(streams: Streams) -> str:
    """The body of the next response."""
    head = await streams[0].readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return (await streams[0].readexactly(length)).decode()


async def said_after(streams: Streams, header: bytes) -> str:
    """What the application says that it is told in a request behind this header."""
    streams[1].write(header + REQUEST)
    return await answer(streams)


async def is_cut(streams: Streams) -> bool:
    """Waits for the end of the connection; answers whether there was no byte before it."""
    with contextlib.suppress(ConnectionError):
        return await streams[0].read() == b""
    return True


async def until_waiting(context: WorkerContext) -> ProxyOpening:
    """The one connection of the worker, which waits for its header."""
    while not context.connections:
        await asyncio.sleep(0)
    [connection] = context.connections
    assert isinstance(connection, ProxyOpening)
    return connection


@on_both_loops
async def test_an_application_is_told_what_the_header_says() -> None:
    sock = on_loopback()
    ours = sock.getsockname()
    async with serving(sock):
        for header, told in [
            (version_1(), TOLD),
            (version_2(), TOLD),
            (version_2(extensions=extension(0xEE, bytes(5000))), TOLD),
            (version_2(("2001:db8::7", 1), ("2001:db8::1", 2)), "('2001:db8::7', 1) http ('2001:db8::1', 2)"),
            (version_2(extensions=ssl_extension()), TOLD.replace("http", "https")),
            (version_2_unix(b"/run/lb.sock"), "None http ('/run/lb.sock', None)"),
        ]:
            async with client_of(sock) as client:
                assert await said_after(client, header) == told
                assert await said_after(client, b"") == told
        for header in (LOCAL, b"PROXY UNKNOWN\r\n"):
            async with client_of(sock) as client:
                name = client[1].get_extra_info("sockname")
                assert await said_after(client, header) == f"{name} http {ours}"


@on_both_loops
async def test_a_header_may_come_in_any_pieces_with_or_without_the_request_behind_it() -> None:
    sock = on_loopback()
    async with serving(sock) as context:
        for header in (version_1(), version_2()):
            data = header + REQUEST
            for cut in (1, 5, 12, len(header) - 1, len(header), len(header) + 1, len(data) - 1):
                async with client_of(sock) as client:
                    client[1].write(data[:cut])
                    while not context.connections:
                        await asyncio.sleep(0)
                    client[1].write(data[cut:])
                    assert await answer(client) == TOLD
                while context.connections:
                    await asyncio.sleep(0)


@on_both_loops
async def test_an_endpoint_without_headers_is_served_beside_one_with_them() -> None:
    plain, sock = on_loopback(1), on_loopback()
    async with serving(plain, sock), client_of(plain) as client, client_of(sock) as announced:
        assert await said_after(client, b"") == f"{client[1].get_extra_info('sockname')} http {plain.getsockname()}"
        assert await said_after(announced, version_2()) == TOLD


@on_both_loops
async def test_peers_on_a_unix_socket_are_trusted_if_they_are_named(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    async with serving(listen(socket.AF_UNIX, path, 0)):
        client = await asyncio.open_unix_connection(path)
        assert await said_after(client, version_2()) == TOLD
        client[1].close()


@on_both_loops
async def test_fields_of_a_proxy_are_believed_of_whom_the_header_names_and_not_of_the_balancer() -> None:
    """A balancer that passes on bytes passes on what its client has invented, too."""
    sock = on_loopback()
    invented = REQUEST[:-2] + b"X-Forwarded-For: 198.51.100.1\r\nX-Forwarded-Proto: https\r\n\r\n"
    async with serving(sock):
        async with client_of(sock) as client:
            client[1].write(version_2() + invented)
            assert await answer(client) == TOLD
        async with client_of(sock) as client:
            client[1].write(version_2(("127.0.0.1", 1)) + invented)
            assert await answer(client) == "('198.51.100.1', 0) https ('192.0.2.1', 443)"


WRONG = [
    (
        b"GET / HTTP/1.1\r\n\r\n",
        "begins with b'GET / HTTP/1.1\\r\\n' and not with a PROXY header (--proxy-p",
    ),
    (SIGNATURE + b"\x31\x11\0\x0c", "sends a PROXY header of the unknown version 3 (--proxy-protocol auto"),
    (b"PROXY TCP4 a b c d\r\n", "sends a PROXY header of version 1 that is malformed: b'PROXY TCP4 a b c d' (--"),
]


@pytest.mark.parametrize(("data", "line"), WRONG)
@on_both_loops
async def test_a_connection_without_a_right_header_is_cut_unanswered_and_logged_once(
    data: bytes, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    sock = on_loopback()
    async with serving(sock) as context:
        context.count_in(tally := Tally())
        for _ in range(2):
            async with client_of(sock) as client:
                client[1].write(data)
                assert await is_cut(client)
        assert not context.connections
    assert tally.openings["proxy_failed"] == 2
    [record] = caplog.records
    assert f": it {line}" in record.getMessage()


@on_both_loops
async def test_a_peer_that_is_not_trusted_is_cut_before_it_says_anything(caplog: pytest.LogCaptureFixture) -> None:
    sock = on_loopback()
    async with serving(sock, trusted="127.0.0.1"), client_of(sock, "127.0.0.66") as client:
        assert await is_cut(client)
    [record] = caplog.records
    assert record.getMessage().endswith(
        ": it may not send a PROXY header; if it is your proxy, add 127.0.0.66 (--proxy-allow-from; said once a minute)"
    )


@on_both_loops
async def test_who_ends_within_a_header_is_told_of_and_who_has_only_looked_is_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sock = on_loopback()
    async with serving(sock) as context:
        for data in (b"", b"PROXY "):
            async with client_of(sock) as client:
                client[1].write(data)
                client[1].write_eof()
                assert await is_cut(client)
        assert not context.connections
    [record] = caplog.records
    assert ": it ends within its PROXY header (--proxy-protocol auto" in record.getMessage()


@on_both_loops
async def test_a_client_that_resets_its_connection_is_forgotten_in_silence(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sock = on_loopback()
    resets = socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
    async with serving(sock) as context:
        for data in (b"", b"PROXY "):
            with socket.create_connection(sock.getsockname()) as client:  # gone before it is accepted
                client.setsockopt(*resets)
                client.send(data)
            with socket.create_connection(sock.getsockname()) as client:
                client.setsockopt(*resets)
                client.send(data)
                waiting = await until_waiting(context)
            while context.connections:
                await asyncio.sleep(0)
            waiting.cut()
            waiting.close()
    assert not caplog.records


@pytest.mark.parametrize("data", [b"", b"PROXY "])
@on_both_loops
async def test_a_header_that_does_not_come_in_time_is_not_waited_for(
    data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    sock = on_loopback()
    async with serving(sock) as context, client_of(sock) as client:
        client[1].write(data)
        waiting = await until_waiting(context)
        while waiting.idle is bool(data):
            await asyncio.sleep(0)
        await pass_time(context, TIMEOUT - 1)
        assert context.connections
        await pass_time(context, 1)
        assert not context.connections
        assert await is_cut(client)
    [record] = caplog.records
    assert ": it has sent no whole PROXY header in 3 s (--proxy-protocol-timeout" in record.getMessage()


@on_both_loops
async def test_a_connection_that_waits_for_its_header_counts_as_one_of_the_limit() -> None:
    sock = on_loopback()
    async with serving(sock, limit=1) as context, client_of(sock) as first:
        waiting = await until_waiting(context)
        async with client_of(sock) as second:
            second[1].write(version_2() + REQUEST)
            for _ in range(50):
                await asyncio.sleep(0)
            assert context.connections == {waiting}
            first[1].close()
            assert await answer(second) == TOLD


@on_both_loops
async def test_a_connection_that_has_said_nothing_is_passed_on_and_its_header_is_read_there() -> None:
    sock = on_loopback()
    reader, writer = handover.pair()
    with writer:
        async with serving(sock) as giver, serving(inbox=reader) as taker, client_of(sock) as client:
            waiting = await until_waiting(giver)
            await pass_time(giver, 2)
            waiting.leave(0.0, Departure(functools.partial(handover.put, writer)))
            assert (waiting.fileno(), giver.connections) == (-1, set())
            moved = await until_waiting(taker)
            assert moved.deadline == taker.clock.now + TIMEOUT, "the other one has not passed these two seconds"
            await pass_time(taker, 2)
            client[1].write(version_1())
            while (connection := next(iter(taker.connections), moved)) is moved:
                await asyncio.sleep(0)
            assert connection.deadline == taker.clock.now + LIMITS.keep_alive, "the time for the header is over"
            assert await said_after(client, b"") == TOLD


@on_both_loops
async def test_a_connection_gains_no_time_for_its_header_by_being_passed_on() -> None:
    sock = on_loopback()
    reader, writer = handover.pair()
    put = functools.partial(handover.put, writer)
    with writer:
        async with serving(sock) as giver, serving(inbox=reader) as taker, client_of(sock):
            waiting = await until_waiting(giver)
            for context in (giver, taker):
                context.clock.update(context.clock.now + 2, 0.0)
            assert waiting.pass_on(put)
            moved = await until_waiting(taker)
            assert moved.deadline == taker.clock.now + TIMEOUT - 2
            taker.clock.update(moved.deadline, 0.0)
            assert not moved.pass_on(put), "it is late"
            assert not waiting.pass_on(put), "it is there no more"


@on_both_loops
async def test_what_the_header_has_told_goes_with_a_connection_that_is_passed_on() -> None:
    sock = on_loopback()
    ours = sock.getsockname()
    reader, writer = handover.pair()
    with writer:
        async with serving(sock) as giver, serving(inbox=reader) as taker:
            told = ""
            for header in (version_2(extensions=ssl_extension()), version_2_unix(b"/run/lb.sock"), LOCAL):
                async with client_of(sock) as client:
                    told = await said_after(client, header)
                    [connection] = giver.connections
                    assert connection.pass_on(functools.partial(handover.put, writer))
                    while not taker.connections:
                        await asyncio.sleep(0)
                    assert await said_after(client, b"") == told
                while giver.connections or taker.connections:
                    await asyncio.sleep(0)
            assert told.endswith(f"http {ours}")


@on_both_loops
async def test_a_connection_of_which_a_part_of_the_header_was_read_stays_and_is_served() -> None:
    sock = on_loopback()
    async with serving(sock) as context, client_of(sock) as client:
        client[1].write(version_2()[:20])
        waiting = await until_waiting(context)
        while waiting.idle:
            await asyncio.sleep(0)
        waiting.suspect()
        waiting.leave(0.0, Departure(lambda parcel: pytest.fail("it is passed on")))
        assert "20 bytes of its PROXY header" in repr(waiting)
        assert await said_after(client, version_2()[20:]) == TOLD
        assert repr(waiting) == "<ProxyOpening: closed>"


@on_both_loops
async def test_a_connection_that_has_said_nothing_is_closed_where_no_other_worker_takes_it() -> None:
    sock = on_loopback()
    async with serving(sock) as context, client_of(sock) as client:
        waiting = await until_waiting(context)
        waiting.leave(0.0, Departure(lambda parcel: False))
        assert not context.connections
        assert await is_cut(client)


@on_both_loops
async def test_a_header_that_has_come_just_before_the_close_is_read() -> None:
    sock = on_loopback()
    async with serving(sock) as context:
        with socket.create_connection(sock.getsockname()) as client:
            waiting = await until_waiting(context)
            client.send(version_2() + REQUEST)  # the loop has not seen it when the worker leaves
            waiting.leave(0.0, Departure())
            client.setblocking(False)
            received = b""
            while TOLD.encode() not in received:
                await asyncio.sleep(0)
                with contextlib.suppress(BlockingIOError):
                    received += client.recv(1000)


def test_each_kind_of_fault_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    clock = fixed_clock()
    log = FaultLog(clock)
    proxy = direct(("10.0.0.1", 4000), ("10.0.0.2", 80))
    for passed in (0.0, SILENCE - 1, 1.0):
        clock.update(clock.now + passed, 0.0)
        log.note(proxy, "--one", "fails")
        log.note(direct("", "/run/app.sock"), "--other", "fails")
    assert [record.getMessage() for record in caplog.records] == [
        "cut the connection of 10.0.0.1:4000: it fails (--one; said once a minute)",
        "cut the connection of a peer on the unix socket: it fails (--other; said once a minute)",
    ] * 2


async def test_the_options_say_where_headers_are_expected() -> None:
    context = make_context(tell, HttptoolsParser)
    assert wiring.proxy_openings(Config(app="a:b"), context) is None
    assert wiring.proxy_openings(Config(app="a:b", proxy_protocol="v2"), context) is not None
    only_second = Config(app="a:b", bind=(":80", ":81,proxy-protocol=v1"), proxy_protocol_timeout=0)
    found = wiring.proxy_openings(only_second, context)
    assert found is not None
    assert (found._rules.versions, found._rules.timeout) == ({1: frozenset({1})}, float("inf"))


async def test_endpoints_that_a_reload_has_numbered_anew_are_known_by_their_sockets() -> None:
    context = make_context(tell, HttptoolsParser)
    config = Config(app="a:b", bind=(":80,proxy-protocol=v1", ":81"))
    with contextlib.ExitStack() as opened:
        sockets = [opened.enter_context(ListeningSocket(endpoint=number)) for number in (0, 2, 1)]
        for sock, position in zip(sockets, (None, 0, 1), strict=True):
            sock.position = position
        found = wiring.proxy_openings(config, context, sockets)
        assert found is not None
        assert found._rules.versions == {2: frozenset({1})}
        assert set(entrances.entrances_of(config, sockets)) == {1, 2}
