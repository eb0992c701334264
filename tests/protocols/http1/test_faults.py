"""What an application may do wrong: what it is told, what its client gets, and what is logged."""

import asyncio
import logging
import socket
import struct

import pytest

from corehttp.asgi import Message, Receive, Scope, Send
from corehttp.errors import AppError
from tests.kit.apps import FAILED, PLAIN, Sender, answer, hello, respond
from tests.kit.cuts import serve_every_cut
from tests.kit.fakes import LINES, Client, FakeTransport, MakeParser, make_context

GET = b"GET /a%20b?q HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n"
START: Message = {"type": "http.response.start", "status": 200, "headers": []}


def start(**fields: object) -> Message:
    return {**START, **fields}


def body(data: object, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


class Trying:
    """Sends the messages one after the other until one is not taken; keeps what that raised."""

    def __init__(self, *messages: Message) -> None:
        self._messages = messages
        self.error: Exception | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            for message in self._messages:
                await send(message)
        except Exception as error:
            self.error = error
            raise


@pytest.mark.parametrize("first", [[], [START]], ids=["nothing sent", "start sent"])
async def test_an_exception_before_the_head_is_out_is_answered_with_500_and_logged_once(
    parser: MakeParser, first: list[Message], error_log: list[logging.LogRecord]
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in first:
            await send(message)
        raise LookupError("no such thing")

    client = Client(make_context(app, parser))
    await client.send(GET + GET)
    assert client.received == FAILED * 2
    assert not client.closed
    assert len(error_log) == 2
    record = error_log[0]
    assert record.levelname == "ERROR"
    assert record.getMessage() == "exception in the application: GET /a b"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], LookupError)
    assert "in app" in logging.Formatter().formatException(record.exc_info)


@pytest.mark.parametrize(
    ("headers", "raw", "received"),
    [
        ([], GET, OK + LINES + b"transfer-encoding: chunked\r\n\r\n1\r\na\r\n"),
        ([(b"content-length", b"3")], GET, OK + b"content-length: 3\r\n" + LINES + b"\r\na"),
    ],
)
async def test_an_exception_in_the_middle_of_a_response_cuts_the_connection(
    parser: MakeParser,
    headers: list[tuple[bytes, bytes]],
    raw: bytes,
    received: bytes,
    error_log: list[logging.LogRecord],
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(headers=headers))
        await send(body(b"a", more=True))
        raise LookupError

    client = Client(make_context(app, parser))
    await client.send(raw + raw)
    assert client.received == received
    assert client.transport.calls == ["close"]
    assert len(error_log) == 1


@pytest.mark.parametrize("cancelled", [False, True], ids=["its own", "ours"])
async def test_a_cancellation_is_logged_if_it_is_the_application_s_own(
    parser: MakeParser, error_log: list[logging.LogRecord], cancelled: bool
) -> None:
    """As where it awaits a task that was cancelled: its client gets a 500, which somebody has to explain."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if cancelled:
            await asyncio.get_running_loop().create_future()
        gone = asyncio.get_running_loop().create_future()
        gone.cancel()
        await gone

    context = make_context(app, parser)
    client = Client(context)
    await client.send(GET)
    if cancelled:
        [exchange] = context.running
        exchange.cancel()
    await client.wait()
    assert client.received == FAILED
    names = [] if cancelled else ["exception in the application: GET /a b"]
    assert [record.getMessage() for record in error_log] == names


async def test_a_response_that_ends_with_the_connection_is_cut_by_a_reset(parser: MakeParser) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await send(body(b"a", more=True))
        raise LookupError

    with socket.socket() as sock:
        client = Client(make_context(app, parser), FakeTransport(sock=sock))
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert client.received == OK + LINES + b"connection: close\r\n\r\na"
        assert client.transport.calls == ["abort"]
        linger = sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)
        assert linger == struct.pack("ii", 1, 0)


async def test_an_exception_after_the_response_is_logged_and_harms_nothing(
    parser: MakeParser, error_log: list[logging.LogRecord]
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, b"fine")
        raise LookupError

    client = Client(make_context(app, parser))
    await client.send(GET + GET)
    assert client.received == answer(b"fine") * 2
    assert [record.getMessage() for record in error_log] == ["exception in the application: GET /a b"] * 2
    assert not client.closed


async def test_an_application_without_a_response_is_answered_for(
    parser: MakeParser, error_log: list[logging.LogRecord]
) -> None:
    client = Client(make_context(Sender(), parser))
    await client.send(GET)
    assert client.received == FAILED
    (record,) = error_log
    assert record.getMessage() == "GET /a b: the application returned without completing its response"


async def test_an_application_that_returns_in_the_middle_of_its_response_cuts_the_connection(
    parser: MakeParser, error_log: list[logging.LogRecord]
) -> None:
    client = Client(make_context(Sender(START, body(b"a", more=True)), parser))
    await client.send(GET)
    assert client.received == OK + LINES + b"transfer-encoding: chunked\r\n\r\n1\r\na\r\n"
    assert client.transport.calls == ["close"]
    (record,) = error_log
    assert record.getMessage() == "GET /a b: the application returned without completing its response"


async def test_a_returned_value_is_logged(parser: MakeParser, error_log: list[logging.LogRecord]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> str:
        await respond(send, b"fine")
        return "surprise"

    client = Client(make_context(app, parser))  # type: ignore[arg-type]
    await client.send(GET)
    assert client.received == answer(b"fine")
    (record,) = error_log
    assert record.getMessage() == "GET /a b: the application must return None, not 'surprise'"


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([body(b"")], "expected the message 'http.response.start', got 'http.response.body'"),
        ([{"type": "websocket.accept"}], "expected the message 'http.response.start', got 'websocket.accept'"),
        ([START, START], "expected the message 'http.response.body', got 'http.response.start'"),
        ([START, {"type": "x"}], "expected the message 'http.response.body', got 'x'"),
        ([{"type": "http.response.start"}], "'http.response.start' needs the field 'status'"),
        ([start(status="200"), body(b"")], "the response's status must be an int, not '200'"),
        ([start(status=200.0), body(b"")], "the response's status must be an int, not 200.0"),
        ([start(status=[200]), body(b"")], "the response's status must be an int, not [200]"),
        (
            [start(status=100), body(b"")],
            "the response's status must be from 200 to 999 (1xx are not final), not 100",
        ),
        ([START, body("text")], "the field 'body' of 'http.response.body' must be bytes, not 'text'"),
        ([START, body(None)], "the field 'body' of 'http.response.body' must be bytes, not None"),
        (
            [start(headers=[(b"x", b"a\r\nb: c")]), body(b"")],
            "the value of the response field 'x' must be bytes without control characters, not b'a\\r\\nb: c'",
        ),
        (
            [start(headers=[("x", b"a")]), body(b"")],
            "a response field's name must be a token (RFC 9110, 5.6.2) in bytes, not 'x'",
        ),
        (
            [start(headers=[(b"content-length", b"-1")]), body(b"")],
            "the response's Content-Length must be digits, not b'-1'",
        ),
        (
            [start(headers=[(b"content-length", b"1")]), body(b"ab")],
            "the response's body is longer than its Content-Length, by 1 bytes",
        ),
        (
            [start(headers=[(b"content-length", b"3")]), body(b"ab")],
            "the response's body is shorter than its Content-Length, by 1 bytes",
        ),
        ([start(status=204), body(b"a")], "a response with status 204 has no body"),
        ([start(status=304), body(b"a", more=True)], "a response with status 304 has no body"),
    ],
)
async def test_a_wrong_message_raises_what_was_expected_and_is_answered_with_500(
    parser: MakeParser, messages: list[Message], text: str
) -> None:
    app = Trying(*messages)
    client = Client(make_context(app, parser))
    await client.send(GET)
    assert isinstance(app.error, AppError)
    assert str(app.error) == text
    assert client.received == FAILED
    assert not client.closed


@pytest.mark.parametrize("headers", [None, 1, [b"x"], [(b"x",)], [(b"x", b"y", b"z")], [1], [(b"content-length", 3)]])
async def test_headers_that_are_no_pairs_of_bytes_raise_an_application_error(
    parser: MakeParser, headers: object
) -> None:
    app = Trying(start(headers=headers), body(b"abc"))
    client = Client(make_context(app, parser))
    await client.send(GET)
    assert isinstance(app.error, AppError)
    assert client.received == FAILED


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([body(b"abcd", more=True)], "the response's body is longer than its Content-Length, by 2 bytes"),
        ([body(b"a")], "the response's body is shorter than its Content-Length, by 1 bytes"),
        ([START], "expected the message 'http.response.body', got 'http.response.start'"),
    ],
)
async def test_a_wrong_message_in_the_middle_of_a_response_cuts_the_connection(
    parser: MakeParser, messages: list[Message], text: str
) -> None:
    app = Trying(start(headers=[(b"content-length", b"3")]), body(b"x", more=True), *messages)
    client = Client(make_context(app, parser))
    await client.send(GET + GET)
    assert str(app.error) == text
    assert client.received == OK + b"content-length: 3\r\n" + LINES + b"\r\nx"
    assert client.transport.calls == ["close"]


@pytest.mark.parametrize("message", [body(b""), START])
async def test_a_message_after_the_response_raises(parser: MakeParser, message: Message) -> None:
    app = Trying(start(headers=PLAIN), body(b"fine"), message)
    client = Client(make_context(app, parser))
    await client.send(GET)
    assert str(app.error) == f"expected no message after the end of the response, got {message['type']!r}"
    assert client.received == answer(b"fine")


async def test_a_good_request_is_the_same_in_every_cut_after_a_failed_one(parser: MakeParser) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/bad":
            raise LookupError
        await hello(scope, receive, send)

    raw = b"GET /bad HTTP/1.1\r\nHost: a\r\n\r\nGET /good HTTP/1.1\r\nHost: a\r\n\r\n"
    outcome = await serve_every_cut(raw, parser, app)
    assert outcome.received == FAILED + answer(b"hello")
