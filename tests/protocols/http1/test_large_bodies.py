"""Large bodies go out as they are, however they are framed, and no more of them waits here than has to."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import h11
import pytest

from corehttp.asgi import ASGIApp, Message
from corehttp.protocols.http1.connection import HTTP1Connection
from corehttp.protocols.http1.parser_httptools import HttptoolsParser
from corehttp.protocols.http1.small_pieces import SMALL
from corehttp.protocols.outlet import HIGH_WATER
from tests.kit.apps import Sender
from tests.kit.connections import Client, on_both_loops, pair_of_sockets, until
from tests.kit.fakes import LINES, FakeTransport, make_context
from tests.kit.fakes import Client as FakeClient

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
SIZES = [SMALL - 1, SMALL, SMALL + 1, 10**7]


class Gathering(FakeTransport):
    """Keeps what it is given to gather as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.gathered: list[list[bytes]] = []

    def writelines(self, pieces: object) -> None:
        assert isinstance(pieces, list | tuple)
        self.gathered.append(list(pieces))
        self.write(b"".join(pieces))


def start(**fields: bytes) -> Message:
    headers = [(name.replace("_", "-").encode(), value) for name, value in fields.items()]
    return {"type": "http.response.start", "status": 200, "headers": headers}


def piece(body: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


@contextlib.asynccontextmanager
async def asking(app: ASGIApp, family: str, request: bytes) -> AsyncIterator[tuple[HTTP1Connection, Client]]:
    context = make_context(app, HttptoolsParser)
    sock, other = pair_of_sockets(family)
    other.setblocking(False)
    with other:
        _, connection = await context.loop.connect_accepted_socket(lambda: HTTP1Connection(context), sock)
        other.sendall(request)
        yield connection, Client(other)
        for left in tuple(context.connections):
            left.cut()
        await until(lambda: not context.connections and not context.running)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("sized", [True, False], ids=["sized", "not sized"])
@pytest.mark.parametrize("pieces", [1, 2])
@on_both_loops
async def test_a_large_body_arrives_in_each_framing(
    method: str, version: str, size: int, sized: bool, pieces: int
) -> None:
    body = (b"0123456789" * (size // 10 + 1))[:size]
    first = start(content_length=b"%d" % (size * pieces)) if sized else start()
    app = Sender(first, *[piece(body, more=number < pieces - 1) for number in range(pieces)])
    request = f"{method} / HTTP/{version}\r\nHost: a\r\nConnection: close\r\n\r\n".encode()
    async with asking(app, "slow", request) as (_, client):
        received = await client.read(3 * size + 10_000, 10**6)
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method=method, target="/", headers=[("host", "a")]))
    reader.send(h11.EndOfMessage())
    reader.receive_data(received)
    reader.receive_data(b"")
    assert isinstance(reader.next_event(), h11.Response)
    content = bytearray()
    while isinstance(event := reader.next_event(), h11.Data):
        content += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert content == (body * pieces if method == "GET" else b"")


@pytest.mark.parametrize("family", ["unix", "slow"])
@on_both_loops
async def test_of_what_a_client_does_not_take_little_waits(family: str) -> None:
    body = bytes(HIGH_WATER)
    app = Sender(start(), *[piece(body, more=True)] * 10_000)
    async with asking(app, family, GET) as (connection, _):
        await until(lambda: connection.congested)
        assert 0 < connection._transport.get_write_buffer_size() < 3 * HIGH_WATER


@pytest.mark.parametrize("size", [SMALL - 1, SMALL])
@pytest.mark.parametrize("gathers", [False, True])
@pytest.mark.parametrize("sized", [True, False], ids=["sized", "in chunks"])
async def test_a_large_piece_is_not_copied_where_the_loop_can_gather(size: int, gathers: bool, sized: bool) -> None:
    first, second = b"a" * size, b"b" * size
    head = start(content_length=b"%d" % (2 * size)) if sized else start()
    context = make_context(Sender(head, piece(first, more=True), piece(second, more=False)), HttptoolsParser)
    context.gathers = gathers
    transport = Gathering()
    client = FakeClient(context, transport)
    await client.send(GET)
    if sized:
        expected = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n" % (2 * size) + LINES + b"\r\n" + first + second
    else:
        chunks = b"%x\r\n%b\r\n" * 2 % (size, first, size, second)
        expected = b"HTTP/1.1 200 OK\r\n" + LINES + b"transfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    assert client.received == expected
    assert len(transport.writes) == 2
    if not gathers or size < SMALL:
        assert not transport.gathered
    else:
        for body, pieces in zip((first, second), transport.gathered, strict=True):
            assert any(each is body for each in pieces)


@on_both_loops
async def test_only_a_loop_that_says_when_it_has_too_much_is_left_to_gather() -> None:
    loop = asyncio.get_running_loop()
    assert make_context(Sender(), HttptoolsParser).gathers is (type(loop).__module__ != "asyncio.unix_events")
