"""A request's body on its way to the application: pieces, back-pressure, Expect, and bodies nobody reads."""

import asyncio

import pytest

from corehttp.asgi import Message, Receive, Scope, Send
from tests.kit.apps import Recorder, answer, echo, hello, respond
from tests.kit.cuts import serve_every_cut
from tests.kit.fakes import LIMITS, NOW, Client, MakeParser, make_context

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
GET = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
KIB = 1024


def post(length: int | None, *fields: bytes, version: bytes = b"1.1") -> bytes:
    """The head of a request with a body of `length` bytes; None: chunked."""
    framing = b"Transfer-Encoding: chunked" if length is None else b"Content-Length: %d" % length
    return b"\r\n".join([b"POST / HTTP/%b" % version, b"Host: a", framing, *fields, b"", b""])


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Stepwise:
    """Calls receive() once per `step`, and answers once `finish` is set."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.steps = asyncio.Semaphore(0)
        self.finish = asyncio.Event()

    def step(self) -> None:
        self.steps.release()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reader = asyncio.ensure_future(self._read(receive))
        await self.finish.wait()
        await respond(send, b"done")
        await reader

    async def _read(self, receive: Receive) -> None:
        while not self.messages or self.messages[-1]["type"] != "http.disconnect":
            await self.steps.acquire()
            self.messages.append(await receive())


def piece(body: bytes, more: bool) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        (post(0), b""),
        (post(3) + b"abc", b"abc"),
        (post(3).replace(b"3\r\n", b"003\r\n") + b"abc", b"abc"),
        (post(4) + b"\r\n\r\n", b"\r\n\r\n"),
        (post(None) + b"0\r\n\r\n", b""),
        (post(None) + b"3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n", b"abcd"),
        (post(None) + b"00A\r\n0123456789\r\n000\r\n\r\n", b"0123456789"),
        (post(None) + b"3;x=y\r\nabc\r\n0;z\r\n\r\n", b"abc"),
        (post(None) + b"3\r\nabc\r\n0\r\nX: y\r\n\r\n", b"abc"),
        (post(None).replace(b"chunked", b"CHUNKED") + b"1\r\na\r\n0\r\n\r\n", b"a"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b""),
        (b"POST / HTTP/1.1\r\nHost: a\r\n\r\n", b""),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab", b"ab"),
        (b"DELETE / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", b"a"),
    ],
)
async def test_a_body_reaches_the_application_whole_and_the_next_request_follows(
    parser: MakeParser, raw: bytes, body: bytes
) -> None:
    outcome = await serve_every_cut(raw + GET, parser, echo)
    assert outcome.received == answer(b"/=" + body) + answer(b"/next=")
    assert outcome.messages == [[body, "end of body"], [b"", "end of body"]]
    assert not outcome.closed


async def test_a_body_of_http_1_0_reaches_the_application(parser: MakeParser) -> None:
    outcome = await serve_every_cut(post(3, version=b"1.0") + b"abc", parser, echo)
    assert outcome.received == answer(b"/=abc", connection=b"connection: close\r\n")


async def test_receive_gives_each_piece_as_it_comes(parser: MakeParser) -> None:
    app = Stepwise()
    client = Client(make_context(app, parser))
    app.step()
    await client.send(post(5))
    assert app.messages == []
    await client.send(b"ab")
    assert app.messages == [piece(b"ab", True)]
    app.step()
    await client.send(b"cde")
    assert app.messages[1:] in ([piece(b"cde", False)], [piece(b"cde", True)])


async def test_receive_joins_what_came_in_since_the_last_call(parser: MakeParser) -> None:
    app = Stepwise()
    client = Client(make_context(app, parser))
    await client.send(post(None), chunk(b"ab"), chunk(b"cd") + chunk(b"ef"))
    app.step()
    await client.wait()
    await client.send(chunk(b"gh") + b"0\r\n\r\n")
    app.step()
    await client.wait()
    assert app.messages == [piece(b"abcdef", True), piece(b"gh", False)]


async def test_receive_waits_after_the_body_and_tells_of_the_end_of_the_response(parser: MakeParser) -> None:
    app = Stepwise()
    client = Client(make_context(app, parser))
    for _ in range(2):
        app.step()
    await client.send(post(2) + b"ab")
    assert app.messages == [piece(b"ab", False)]
    app.finish.set()
    await client.wait()
    assert client.received == answer(b"done")
    assert app.messages == [piece(b"ab", False), {"type": "http.disconnect"}]


async def test_reading_pauses_when_the_application_does_not_keep_up_and_goes_on_when_it_does(
    parser: MakeParser,
) -> None:
    app = Stepwise()
    client = Client(make_context(app, parser))
    await client.send(post(200 * KIB), bytes(64 * KIB))
    assert client.transport.calls == []
    await client.send(b"x")
    assert client.transport.calls == ["pause_reading"]
    await client.send(bytes(1000))
    app.step()
    await client.wait()
    assert client.transport.calls == ["pause_reading", "resume_reading"]
    assert [len(message["body"]) for message in app.messages] == [64 * KIB + 1]
    app.step()
    await client.wait()
    assert len(app.messages[1]["body"]) == 1000


async def test_bodies_that_are_never_read_do_not_add_up(parser: MakeParser) -> None:
    client = Client(make_context(hello, parser))
    request = post(40 * KIB) + bytes(40 * KIB)
    await client.send(*[request] * 5)
    assert client.received == answer(b"hello") * 5
    assert client.transport.reading


async def test_a_large_body_that_is_never_read_does_not_stop_the_connection(parser: MakeParser) -> None:
    client = Client(make_context(hello, parser))
    await client.send(post(100 * KIB) + bytes(100 * KIB), GET)
    assert client.received == answer(b"hello") * 2
    assert client.transport.reading


async def test_the_rest_of_an_unread_body_is_thrown_away(parser: MakeParser) -> None:
    recorder = Recorder(hello)
    client = Client(make_context(recorder, parser))
    await client.send(post(200 * KIB), *[bytes(10 * KIB)] * 20, GET)
    assert client.received == answer(b"hello") * 2
    assert [scope["path"] for scope in recorder.scopes] == ["/", "/next"]


@pytest.mark.parametrize("length", [256 * KIB + 1, 10**15])
async def test_a_body_too_large_to_throw_away_closes_the_connection_after_the_answer(
    parser: MakeParser, length: int
) -> None:
    client = Client(make_context(hello, parser))
    await client.send(post(length))
    assert client.received.endswith(b"\r\n\r\nhello")
    assert client.transport.calls == ["write_eof"]  # and lingers: the client is still sending
    assert client.connection.deadline == NOW + 2


async def test_an_unread_chunked_body_is_thrown_away_within_the_bound(parser: MakeParser) -> None:
    client = Client(make_context(hello, parser))
    await client.send(post(None), *[chunk(bytes(KIB))] * 256, b"0\r\n\r\n" + GET)
    assert client.received == answer(b"hello") * 2


async def test_an_unread_chunked_body_beyond_the_bound_closes_the_connection(parser: MakeParser) -> None:
    client = Client(make_context(hello, parser))
    await client.send(post(None), *[chunk(bytes(KIB))] * 256)
    assert not client.closed
    await client.send(chunk(b"x"), b"0\r\n\r\n" + GET)
    assert client.received == answer(b"hello")
    assert client.transport.calls == ["write_eof"]


async def test_discarding_has_a_deadline(parser: MakeParser) -> None:
    client = Client(make_context(hello, parser))
    await client.send(post(200 * KIB), bytes(KIB))
    assert client.connection.deadline == NOW + LIMITS.request_body_stall


async def test_an_unread_body_behind_connection_close_is_lingered_for(parser: MakeParser) -> None:
    client = Client(make_context(hello, parser))
    await client.send(post(10, b"Connection: close"))
    assert client.received == answer(b"hello", connection=b"connection: close\r\n")
    assert client.transport.calls == ["write_eof"]


# Expect: 100-continue (RFC 9110, 10.1.1).


async def test_continue_is_sent_when_the_application_asks_for_the_body(parser: MakeParser) -> None:
    app = Stepwise()
    client = Client(make_context(app, parser))
    await client.send(post(3, b"Expect: 100-Continue"))
    assert client.received == b""
    app.step()
    await client.wait()
    assert client.take() == CONTINUE
    await client.send(b"abc")
    assert app.messages[0]["body"] == b"abc"
    app.step()
    app.finish.set()
    await client.wait()
    assert client.received == answer(b"done")
    assert not client.closed


async def test_continue_is_sent_once(parser: MakeParser) -> None:
    client = Client(make_context(echo, parser))
    await client.send(post(3, b"Expect: 100-continue"), b"a", b"b", b"c")
    assert client.received == CONTINUE + answer(b"/=abc")


@pytest.mark.parametrize(
    "raw",
    [
        post(3, b"Expect: 100-continue") + b"a",
        post(0, b"Expect: 100-continue"),
        b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
        post(3, b"Expect: 100-continue", b"Connection: keep-alive", version=b"1.0"),
    ],
    ids=["body on its way", "empty body", "no body", "HTTP/1.0"],
)
async def test_continue_is_not_sent_where_nobody_waits_for_it(parser: MakeParser, raw: bytes) -> None:
    client = Client(make_context(echo, parser))
    await client.send(raw)
    assert CONTINUE not in client.received


async def test_an_answer_instead_of_continue_closes_the_connection(parser: MakeParser) -> None:
    client = Client(make_context(hello, parser))
    await client.send(post(3, b"Expect: 100-continue"))
    assert client.received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert client.received.endswith(b"\r\n\r\nhello")
    assert client.transport.calls == ["write_eof"]


async def test_continue_of_a_pipelined_request_waits_for_its_turn(parser: MakeParser) -> None:
    app = Stepwise()
    client = Client(make_context(app, parser))
    app.step()
    await client.send(GET + post(3, b"Expect: 100-continue"))
    assert client.received == b""
    app.finish.set()
    for _ in range(2):
        app.step()
    await client.wait()
    assert client.received.startswith(answer(b"done"))
