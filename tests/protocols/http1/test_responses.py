"""A response on the wire: framing, the server's own fields, HEAD and bodiless statuses, and a slow reader."""

import asyncio
from collections.abc import Callable

import pytest

from corehttp.asgi import Message, Receive, Scope, Send
from corehttp.protocols.observers import AccessRecord
from tests.kit.apps import PLAIN, Sender, answer, hello
from tests.kit.cuts import serve_every_cut
from tests.kit.fakes import DATE, LINES, SERVER, Client, MakeParser, make_context

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
OLD = b"GET / HTTP/1.0\r\n\r\n"
OLD_KEPT = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n"
CLOSE = b"connection: close\r\n"


def start(*headers: tuple[bytes, bytes], status: int = 200) -> Message:
    return {"type": "http.response.start", "status": status, "headers": headers}


def body(data: bytes, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


@pytest.mark.parametrize(
    ("messages", "received"),
    [
        ([start(), body(b"abc")], OK + LINES + b"content-length: 3\r\n\r\nabc"),
        ([start(), body(b"")], OK + LINES + b"content-length: 0\r\n\r\n"),
        (
            [{"type": "http.response.start", "status": 200}, {"type": "http.response.body"}],
            OK + LINES + b"content-length: 0\r\n\r\n",
        ),
        ([start((b"content-length", b"3")), body(b"abc")], OK + b"content-length: 3\r\n" + LINES + b"\r\nabc"),
        ([start((b"Content-Length", b"3")), body(b"abc")], OK + b"Content-Length: 3\r\n" + LINES + b"\r\nabc"),
        (
            [start((b"content-length", b"3")), body(b"a", more=True), body(b"b", more=True), body(b"c")],
            OK + b"content-length: 3\r\n" + LINES + b"\r\nabc",
        ),
        (
            [start((b"content-length", b"3")), body(b"abc", more=True), body(b"")],
            OK + b"content-length: 3\r\n" + LINES + b"\r\nabc",
        ),
        (
            [start(), body(b"ab", more=True), body(b"c" * 17, more=True), body(b"d")],
            OK + LINES + CHUNKED + b"\r\n2\r\nab\r\n11\r\n" + b"c" * 17 + b"\r\n1\r\nd\r\n0\r\n\r\n",
        ),
        (
            [start(), body(b"", more=True), body(b"", more=True), body(b"a", more=True), body(b"")],
            OK + LINES + CHUNKED + b"\r\n1\r\na\r\n0\r\n\r\n",
        ),
        (
            [start((b"Transfer-Encoding", b"chunked")), body(b"abc")],
            OK + LINES + b"content-length: 3\r\n\r\nabc",
        ),
        ([start(status=404), body(b"")], b"HTTP/1.1 404 Not Found\r\n" + LINES + b"content-length: 0\r\n\r\n"),
        ([start(status=299), body(b"")], b"HTTP/1.1 299 \r\n" + LINES + b"content-length: 0\r\n\r\n"),
        ([start(status=204), body(b"")], b"HTTP/1.1 204 No Content\r\n" + LINES + b"\r\n"),
        ([start(status=304), body(b"")], b"HTTP/1.1 304 Not Modified\r\n" + LINES + b"\r\n"),
        (
            [start((b"content-length", b"3"), status=304), body(b"")],
            b"HTTP/1.1 304 Not Modified\r\ncontent-length: 3\r\n" + LINES + b"\r\n",
        ),
        ([start(status=204), body(b"", more=True), body(b"")], b"HTTP/1.1 204 No Content\r\n" + LINES + b"\r\n"),
    ],
)
async def test_the_body_is_framed_by_its_length_or_in_chunks(
    parser: MakeParser, messages: list[Message], received: bytes
) -> None:
    outcome = await serve_every_cut(GET + GET, parser, Sender(*messages))
    assert outcome.received == received * 2
    assert not outcome.closed


async def test_204_carries_no_content_length(parser: MakeParser) -> None:
    # RFC 9110, 8.6: a server must not send the field in a response with status 204.
    app = Sender(start((b"content-length", b"0"), status=204), body(b""))
    outcome = await serve_every_cut(GET, parser, app)
    assert outcome.received == b"HTTP/1.1 204 No Content\r\n" + LINES + b"\r\n"


@pytest.mark.parametrize(
    ("messages", "received"),
    [
        ([start(), body(b"abc")], OK + LINES + b"\r\n"),
        ([start((b"content-length", b"3")), body(b"abc")], OK + b"content-length: 3\r\n" + LINES + b"\r\n"),
        ([start((b"content-length", b"3")), body(b"")], OK + b"content-length: 3\r\n" + LINES + b"\r\n"),
        ([start(), body(b"abc", more=True), body(b"d")], OK + LINES + b"\r\n"),
    ],
)
async def test_head_is_answered_without_a_body(parser: MakeParser, messages: list[Message], received: bytes) -> None:
    outcome = await serve_every_cut(HEAD + HEAD, parser, Sender(*messages))
    assert outcome.received == received * 2
    assert not outcome.closed


async def test_a_response_of_unknown_length_to_http_1_0_ends_with_the_connection(parser: MakeParser) -> None:
    app = Sender(start(), body(b"ab", more=True), body(b"", more=True), body(b"c"))
    for raw in (OLD, OLD_KEPT):
        outcome = await serve_every_cut(raw, parser, app)
        assert outcome.received == OK + LINES + CLOSE + b"\r\nabc"
        assert outcome.closed


async def test_a_response_of_known_length_keeps_a_connection_of_http_1_0(parser: MakeParser) -> None:
    app = Sender(start((b"content-length", b"3")), body(b"ab", more=True), body(b"c"))
    outcome = await serve_every_cut(OLD_KEPT, parser, app)
    assert outcome.received == OK + b"content-length: 3\r\n" + LINES + b"connection: keep-alive\r\n\r\nabc"
    assert not outcome.closed


async def test_head_and_first_piece_are_one_write(parser: MakeParser) -> None:
    client = Client(make_context(Sender(start(), body(b"a", more=True), body(b"b")), parser))
    await client.send(GET)
    assert client.transport.writes == [
        OK + LINES + CHUNKED + b"\r\n1\r\na\r\n",
        b"1\r\nb\r\n0\r\n\r\n",
    ]


@pytest.mark.parametrize(
    ("fields", "lines"),
    [
        ([(b"date", b"today")], b"date: today\r\n" + SERVER),
        ([(b"Server", b"mine")], b"Server: mine\r\n" + DATE),
        ([(b"Date", b"today"), (b"server", b"mine")], b"Date: today\r\nserver: mine\r\n"),
    ],
)
async def test_the_applications_date_and_server_replace_ours(
    parser: MakeParser, fields: list[tuple[bytes, bytes]], lines: bytes
) -> None:
    outcome = await serve_every_cut(GET, parser, Sender(start(*fields), body(b"")))
    assert outcome.received == OK + lines + b"content-length: 0\r\n\r\n"


async def test_fields_of_the_connection_are_ours_to_decide(parser: MakeParser) -> None:
    fields = [(b"Connection", b"keep-alive, x"), (b"keep-alive", b"timeout=9"), (b"Upgrade", b"h2c"), *PLAIN]
    outcome = await serve_every_cut(GET, parser, Sender(start(*fields), body(b"hello")))
    assert outcome.received == answer(b"hello")


@pytest.mark.parametrize(
    "headers",
    [
        [[b"content-type", b"text/plain"]],
        ([b"content-type", b"text/plain"],),
        [(b"content-type", b"text/plain")],
    ],
    ids=["list of lists", "tuple of lists", "list of tuples"],
)
async def test_headers_may_be_any_iterable_of_pairs(parser: MakeParser, headers: object) -> None:
    # ASGI HTTP specification: an iterable of two-item iterables.
    app = Sender({"type": "http.response.start", "status": 200, "headers": headers}, body(b"hello"))
    client = Client(make_context(app, parser))
    await client.send(GET)
    assert client.received == answer(b"hello")


@pytest.mark.parametrize("data", [bytearray(b"abc"), memoryview(b"abc")])
async def test_a_body_may_be_any_kind_of_bytes(parser: MakeParser, data: bytes) -> None:
    for messages in ([start(*PLAIN), body(data)], [start(*PLAIN, (b"x", b"y")), body(b"", more=True), body(data)]):
        client = Client(make_context(Sender(*messages), parser))
        await client.send(GET)
        assert b"abc" in client.received


@pytest.mark.parametrize("make", [bytearray, memoryview, lambda text: memoryview(bytearray(text))])
async def test_fields_may_be_any_kind_of_bytes(parser: MakeParser, make: Callable[[bytes], bytes]) -> None:
    headers = [(make(b"content-type"), make(b"text/plain")), (b"content-length", make(b"5"))]
    app = Sender({"type": "http.response.start", "status": 200, "headers": headers}, body(b"hello"))
    for _ in range(3):
        client = Client(make_context(app, parser))
        await client.send(GET)
        assert client.received == OK + b"content-type: text/plain\r\ncontent-length: 5\r\n" + LINES + b"\r\nhello"
    events = {
        "type": "http.response.start",
        "status": 200,
        "headers": [(make(b"Content-Type"), make(b"text/event-stream"))],
    }
    client = Client(make_context(Sender(events, body(b"a", more=True), body(b"b")), parser))
    await client.send(GET)
    assert client.received.endswith(b"\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n")


async def test_send_waits_while_the_client_does_not_read(parser: MakeParser) -> None:
    sent: list[bytes] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start((b"content-length", b"3")))
        for piece in (b"a", b"b", b"c"):
            await send(body(piece, more=piece != b"c"))
            sent.append(piece)

    client = Client(make_context(app, parser))
    client.transport.full = True
    await client.send(GET)
    assert client.received == OK + b"content-length: 3\r\n" + LINES + b"\r\na"
    assert sent == []
    client.connection.resume_writing()
    await client.wait()
    assert client.received == OK + b"content-length: 3\r\n" + LINES + b"\r\nabc"
    assert sent == [b"a", b"b", b"c"]


async def test_a_cancelled_sender_does_not_cancel_the_others(parser: MakeParser) -> None:
    senders: list[asyncio.Task[None]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        senders.extend(asyncio.ensure_future(send_one(send, piece)) for piece in (b"a", b"b"))
        await asyncio.wait(senders)
        await send(body(b""))

    async def send_one(send: Send, piece: bytes) -> None:
        await send(body(piece, more=True))

    client = Client(make_context(app, parser))
    client.transport.full = True
    await client.send(GET)
    senders[0].cancel()
    await client.wait()
    client.connection.resume_writing()
    await client.wait()
    assert [sender.cancelled() for sender in senders] == [True, False]
    assert client.received == OK + LINES + CHUNKED + b"\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("raw", "messages", "status", "size"),
    [
        (GET, [start(), body(b"abc")], 200, 3),
        (GET, [start(status=404), body(b"ab", more=True), body(b"c")], 404, 3),
        (HEAD, [start(), body(b"abc")], 200, 0),
        (HEAD, [start(), body(b"", more=True), body(b"abc")], 200, 0),
        (GET, [], 500, 21),
    ],
)
async def test_the_access_record_holds_the_status_and_the_size_of_the_body(
    parser: MakeParser, raw: bytes, messages: list[Message], status: int, size: int
) -> None:
    records: list[AccessRecord] = []
    client = Client(make_context(Sender(*messages), parser, records=records))
    await client.send(raw)
    (record,) = records
    assert record[:6] == ("192.0.2.1:50000", raw[:4].strip().decode(), "/", "1.1", status, size)
    assert 0 <= record[6] < 60_000
    await client.lose()
    assert len(records) == 1


async def test_the_access_record_of_a_client_that_left_has_status_499(parser: MakeParser) -> None:
    records: list[AccessRecord] = []

    async def wait(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    client = Client(make_context(wait, parser, records=records))
    await client.send(GET)
    await client.lose()
    assert [record[4:6] for record in records] == [(499, 0)]


async def test_a_request_is_recorded_when_its_response_is_out(parser: MakeParser) -> None:
    records: list[AccessRecord] = []
    client = Client(make_context(hello, parser, records=records))
    await client.send(b"GET /a%20b?c HTTP/1.1\r\nHost: a\r\n\r\n")
    assert [record[1:6] for record in records] == [("GET", "/a%20b?c", "1.1", 200, 5)]
