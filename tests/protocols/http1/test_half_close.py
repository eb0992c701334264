"""Clients that close their side of a connection: who still reads is served, and who is gone is told of."""

import asyncio
import socket
from collections.abc import Iterator

import h11
import pytest

from corehttp.asgi import Message, Receive, Scope, Send
from corehttp.protocols.limits import Limits
from corehttp.protocols.observers import AccessRecord
from tests.kit.apps import Held, Recorder, answer, respond
from tests.kit.connections import Client as Peer
from tests.kit.connections import pair_of_sockets
from tests.kit.fakes import LINES, Client, FakeTransport, MakeParser, make_context, pass_time

BEGINNING = b"HTTP/1.1 "
CLOSE = b"connection: close\r\n"
SLOW = b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"
SLOW_WITH_TRAILERS = b"GET /slow HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n"
NEXT = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\n" + LINES + b"transfer-encoding: chunked\r\n" + CLOSE + b"\r\n"
START: Message = {"type": "http.response.start", "status": 200}


def body(data: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


class Steps:
    """Sends a message for each `step`; reads until the client is gone, and keeps what it was told."""

    def __init__(self, *messages: Message) -> None:
        self.told: list[str] = []
        self.cancelled = False
        self._messages = messages
        self._steps = asyncio.Semaphore(0)

    async def step(self, client: Client) -> bytes:
        """What the client receives when the next message is sent."""
        client.take()
        self._steps.release()
        await client.wait()
        return client.take()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reading = asyncio.ensure_future(self._read(receive))
        try:
            for message in self._messages:
                await self._steps.acquire()
                await send(message)
            await reading
        except asyncio.CancelledError:
            self.cancelled = True
            reading.cancel()
            raise

    async def _read(self, receive: Receive) -> None:
        while "http.disconnect" not in self.told:
            self.told.append((await receive())["type"])


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, Peer]]:
    """Our end of a TCP connection, and the client's."""
    ours, other = pair_of_sockets("tcp")
    with ours, other:
        yield ours, Peer(other)


# Those that still read.


@pytest.mark.parametrize("seconds", [0, 1, 30])
async def test_a_client_that_ended_its_side_gets_every_answer_and_the_application_is_told_nothing(
    parser: MakeParser, seconds: int
) -> None:
    held = Held()
    recorder = Recorder(held)
    context = make_context(recorder, parser)
    client = Client(context)
    await client.send(SLOW + NEXT + NEXT)
    await client.hang_up()
    await pass_time(context, seconds)
    held.release.set()
    await client.wait()
    answers = answer(b"/slow") + answer(b"/next") + answer(b"/next", connection=CLOSE)
    assert client.received == answers
    assert client.transport.calls == ["close"]
    assert all("http.disconnect" not in messages for messages in recorder.messages)


async def test_receive_waits_on_after_the_client_has_ended_its_side(parser: MakeParser) -> None:
    app = Steps(START, body(b"a"), body(b"", more=False))
    context = make_context(app, parser)
    client = Client(context)
    await client.send(SLOW)
    await client.hang_up()
    await pass_time(context, 10)
    assert app.told == ["http.request"]
    for _ in range(3):
        await app.step(client)
    assert app.told == ["http.request", "http.disconnect"]  # the response is complete
    assert client.transport.calls == ["close"]


@pytest.mark.parametrize(
    "raw",
    [
        SLOW,
        b"HEAD /slow HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        b"GET /slow HTTP/1.0\r\n\r\n",
        b"GET /slow HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    ],
)
async def test_before_a_response_began_a_client_is_probed_with_how_it_will_begin_once(
    parser: MakeParser, raw: bytes
) -> None:
    app = Steps(START, body(b"", more=False))
    context = make_context(app, parser)
    client = Client(context)
    await client.send(raw)
    await client.hang_up()
    assert client.received == b""
    await pass_time(context, 1)
    assert client.received == BEGINNING
    await pass_time(context, 60)
    assert client.take() == BEGINNING
    assert await app.step(client) == b""
    await pass_time(context, 60)
    received = BEGINNING + await app.step(client)
    assert received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert CLOSE in received


HINT: Message = {"type": "http.response.early_hint", "links": [b"</a>; rel=preload"]}
SLOW_1_0 = b"GET /slow HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"


@pytest.mark.parametrize(
    ("raw", "messages"),
    [
        (SLOW_1_0, [START, body(b"a" * 9, more=False)]),
        (SLOW_1_0, [START, body(b"a"), body(b"b", more=False)]),
        (SLOW_1_0 * 2, [{**START, "headers": [(b"content-length", b"1")]}, body(b"c", more=False)]),
        (b"HEAD /slow HTTP/1.0\r\n\r\n", [START, body(b"", more=False)]),
        (SLOW_1_0, [{"type": "wrong"}]),
        (SLOW, [{**START, "headers": [(b"content-length", b"1")]}, body(b"too long", more=False)]),
        (SLOW, [{**START, "headers": [(b"content-length", b"9")]}, body(b"short", more=False)]),
        (SLOW, [{**START, "status": 204}, body(b"a body", more=False)]),
        (SLOW, [START, body(b"a" * 9, more=False)]),
        (SLOW * 2, [{**START, "headers": [(b"content-length", b"1")]}, body(b"c", more=False)]),
        (SLOW, [HINT, HINT, START, body(b"a", more=False)]),
    ],
    ids=["whole", "streamed", "two", "head", "broken", "long", "short", "no body", "1.1", "two of 1.1", "hints"],
)
async def test_a_response_that_a_probe_has_begun_is_the_same_as_any(
    parser: MakeParser, raw: bytes, messages: list[Message]
) -> None:
    async def exchange(seconds: int) -> bytes:
        release = asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await release.wait()
            for message in messages:
                await send(message)

        context = make_context(app, parser)
        context.early_hints = True
        client = Client(context)
        await client.send(raw)
        await client.hang_up()
        await pass_time(context, seconds)
        assert client.received == (BEGINNING if seconds else b"")
        release.set()
        await client.wait()
        await client.wait()
        return client.received

    expected = await exchange(0)
    assert expected.count(BEGINNING) == raw.count(b"/slow") + messages.count(HINT)
    assert await exchange(1) == expected
    assert await exchange(30) == expected


async def test_a_refusal_behind_a_probe_is_whole(parser: MakeParser) -> None:
    context = make_context(Held(), parser, limits=Limits(request=5))
    client = Client(context)
    await client.send(b"GET /slow HTTP/1.0\r\n\r\n")
    await client.hang_up()
    await pass_time(context, 5)
    assert client.received.startswith(b"HTTP/1.1 504 Gateway Timeout\r\n")
    assert client.received.count(BEGINNING) == 1


async def test_a_response_that_is_started_and_not_sent_has_not_begun(parser: MakeParser) -> None:
    app = Steps(START, body(b"", more=False))
    context = make_context(app, parser)
    client = Client(context)
    await client.send(SLOW)
    await app.step(client)
    await client.hang_up()
    await pass_time(context, 1)
    assert client.received == BEGINNING


@pytest.mark.parametrize(
    ("messages", "end"),
    [
        ([body(b"", more=False)], b"0\r\n\r\n"),
        ([body(b"b" * 17), body(b"c", more=False)], b"11\r\n" + b"b" * 17 + b"\r\n1\r\nc\r\n0\r\n\r\n"),
        ([body(b""), body(b""), body(b"b", more=False)], b"1\r\nb\r\n0\r\n\r\n"),
    ],
)
async def test_in_a_chunked_response_the_probe_is_a_zero_of_the_next_size(
    parser: MakeParser, messages: list[Message], end: bytes
) -> None:
    app = Steps(START, body(b"a"), *messages)
    context = make_context(app, parser)
    client = Client(context)
    await client.send(SLOW)
    await client.hang_up()
    received = await app.step(client) + await app.step(client)
    assert received == CHUNKED + b"1\r\na\r\n"
    await pass_time(context, 1)
    assert client.received == b"0"
    await pass_time(context, 60)
    probe = client.take()
    assert probe == b"0"
    rest = b"".join([await app.step(client) for _ in messages])
    assert rest == end
    assert client.transport.calls == ["close"]
    content = b"".join(message["body"] for message in messages)
    assert body_as_a_client_reads_it(received + probe + rest) == b"a" + content


async def test_with_trailers_to_come_nothing_harmless_can_be_sent_behind_the_body(parser: MakeParser) -> None:
    start = {**START, "headers": [], "trailers": True}
    trailers = {"type": "http.response.trailers", "headers": [(b"x", b"y")]}
    app = Steps(start, body(b"a"), body(b"b", more=False), trailers)
    context = make_context(app, parser)
    client = Client(context)
    await client.send(SLOW_WITH_TRAILERS)
    received = await app.step(client) + await app.step(client) + await app.step(client)
    await client.hang_up()
    await pass_time(context, 5)
    assert client.received == b""
    received += await app.step(client)
    assert received.endswith(b"1\r\nb\r\n0\r\nx: y\r\n\r\n")


async def test_a_zero_before_the_trailers_is_one_of_the_last_chunk(parser: MakeParser) -> None:
    start = {**START, "headers": [], "trailers": True}
    trailers = {"type": "http.response.trailers", "headers": [(b"x", b"y")]}
    app = Steps(start, body(b"a"), body(b"", more=False), trailers)
    context = make_context(app, parser)
    client = Client(context)
    await client.send(SLOW_WITH_TRAILERS)
    received = await app.step(client) + await app.step(client)
    await client.hang_up()
    await pass_time(context, 5)
    received += client.take()
    received += await app.step(client) + await app.step(client)
    assert received.endswith(b"1\r\na\r\n00\r\nx: y\r\n\r\n")
    assert body_as_a_client_reads_it(received) == b"a"


@pytest.mark.parametrize(
    ("raw", "headers"),
    [
        (SLOW, [(b"content-length", b"2")]),
        (b"GET /slow HTTP/1.0\r\n\r\n", []),
        (b"HEAD /slow HTTP/1.1\r\nHost: a\r\n\r\n", []),
    ],
    ids=["sized", "until close", "HEAD"],
)
async def test_in_any_other_response_nothing_harmless_can_be_sent(
    parser: MakeParser, raw: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    app = Steps({**START, "headers": headers}, body(b"a"), body(b"b", more=False))
    context = make_context(app, parser)
    client = Client(context)
    await client.send(raw)
    received = await app.step(client) + await app.step(client)
    await client.hang_up()
    await pass_time(context, 60)
    assert client.received == b""
    received += await app.step(client)
    assert received.partition(b"\r\n\r\n")[2] == (b"" if raw.startswith(b"HEAD") else b"ab")
    assert client.transport.calls == ["close"]


async def test_a_request_that_begins_after_the_client_ended_its_side_is_watched_too(
    parser: MakeParser, sockets: tuple[socket.socket, Peer]
) -> None:
    first, second = Held(), Held()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await (first if scope["path"] == "/1" else second).release.wait()
        await respond(send, scope["path"].encode())

    sock, peer = sockets
    context = make_context(app, parser)
    client = Client(context, FakeTransport(sock=sock))
    await client.send(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
    await client.hang_up()
    first.release.set()
    await client.wait()
    assert client.take() == answer(b"/1")
    await pass_time(context, 1)
    assert client.received == BEGINNING
    peer.reset()
    await pass_time(context, 1)
    assert client.transport.calls == ["abort"]
    await client.lose()
    second.release.set()
    await client.wait()
    assert not context.running


async def test_a_part_of_a_request_behind_others_is_dropped_when_the_client_ends_its_side(parser: MakeParser) -> None:
    for part in (NEXT[:9], b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab"):
        held = Held()
        recorder = Recorder(held)
        client = Client(make_context(recorder, parser))
        await client.send(SLOW + NEXT + part)
        await client.hang_up()
        held.release.set()
        await client.wait()
        assert client.received == answer(b"/slow") + answer(b"/next", connection=CLOSE)
        assert client.transport.calls == ["close"]
        assert [scope["path"] for scope in recorder.scopes] == ["/slow", "/next"]


async def test_a_refusal_that_waits_is_sent_to_a_client_that_ended_its_side(parser: MakeParser) -> None:
    held = Held()
    context = make_context(held, parser)
    client = Client(context)
    await client.send(SLOW + b"nonsense\r\n\r\n")
    await client.hang_up()
    await pass_time(context, 3)
    held.release.set()
    await client.wait()
    assert client.received.startswith(answer(b"/slow") + b"HTTP/1.1 400 ")
    assert client.closed


# Those that are gone.


async def test_a_client_that_is_gone_when_its_side_ends_is_not_served(
    parser: MakeParser, sockets: tuple[socket.socket, Peer]
) -> None:
    app = Steps(START)
    sock, peer = sockets
    context = make_context(app, parser)
    client = Client(context, FakeTransport(sock=sock))
    await client.send(SLOW)
    peer.reset()
    await client.hang_up()
    assert client.transport.calls == ["close"]
    await client.lose()
    assert app.told == ["http.request", "http.disconnect"]
    await app.step(client)


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("cancels", [False, True])
async def test_a_client_that_is_gone_is_told_of_within_a_second(
    parser: MakeParser, begun: bool, cancels: bool, sockets: tuple[socket.socket, Peer]
) -> None:
    records: list[AccessRecord] = []
    app = Steps(START, body(b"a"), body(b"b"))
    context = make_context(app, parser, cancel_on_disconnect=cancels, records=records)
    sock, peer = sockets
    client = Client(context, FakeTransport(sock=sock))
    await client.send(SLOW)
    if begun:
        await app.step(client)
        await app.step(client)
    await client.hang_up()
    await pass_time(context, 3)
    assert client.transport.calls == []
    peer.reset()
    await pass_time(context, 1)
    assert client.transport.calls == ["abort"]
    await client.lose()
    if cancels:
        assert app.cancelled
    else:
        assert app.told == ["http.request", "http.disconnect"]
        assert not app.cancelled
        for _ in range(2):
            await app.step(client)
    assert [record[4] for record in records] == [200 if begun else 499]
    assert not context.running
    assert not context.connections


@pytest.mark.parametrize(
    "pieces",
    [
        [b"POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"],
        [b"POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab"],
        [b"POST /slow HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", b"3\r\nabc\r\n0\r\n"],
    ],
)
async def test_a_client_that_ends_its_side_in_the_middle_of_a_body_is_gone(
    parser: MakeParser, pieces: list[bytes]
) -> None:
    app = Steps(START)
    context = make_context(app, parser)
    client = Client(context)
    await client.send(*pieces)
    await client.hang_up()
    assert client.transport.calls == ["close"]
    assert client.received == b""
    await client.lose()
    assert app.told[-1] == "http.disconnect"
    await app.step(client)
    assert not context.running


async def test_a_client_that_ends_its_side_in_the_middle_of_a_body_that_is_thrown_away_has_had_its_answer(
    parser: MakeParser,
) -> None:
    held = Held()
    client = Client(make_context(held, parser))
    await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab")
    assert client.received == answer(b"/")
    await client.hang_up()
    assert client.transport.calls == ["close"]


# What else is late still is.


async def test_the_time_of_a_request_is_over_for_a_client_that_ended_its_side_too(parser: MakeParser) -> None:
    context = make_context(Held(), parser, limits=Limits(request=10))
    client = Client(context)
    await client.send(SLOW)
    await client.hang_up()
    await pass_time(context, 10)
    assert client.received.startswith(b"HTTP/1.1 504 ")
    assert client.transport.calls == ["close"]
    assert not context.running


async def test_a_client_that_ended_its_side_and_takes_nothing_is_cut(parser: MakeParser) -> None:
    app = Steps(START, body(b"a"))
    context = make_context(app, parser, limits=Limits(write_stall=10))
    client = Client(context)
    await client.send(SLOW)
    await app.step(client)
    client.transport.full = True
    client.transport.buffered = 70_000
    await app.step(client)
    await client.hang_up()
    await pass_time(context, 9)
    assert client.transport.calls == []
    await pass_time(context, 1)
    assert client.transport.calls == ["abort"]
    await client.lose()
    assert app.told[-1] == "http.disconnect"


def body_as_a_client_reads_it(received: bytes) -> bytes:
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(received)
    assert isinstance(client.next_event(), h11.Response)
    content = b""
    while isinstance(event := client.next_event(), h11.Data):
        content += event.data
    assert isinstance(event, h11.EndOfMessage)
    return content
