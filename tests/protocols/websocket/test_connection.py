"""A WebSocket over its connection: accepted, used, closed by either side, or denied. What ASGI says of it, exactly."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from corehttp.asgi import Message, Receive, Scope, Send
from corehttp.errors import AppError, ClientDisconnectedError
from corehttp.ipc.scoreboard import Scoreboard
from corehttp.protocols.observers import AccessRecord
from tests.kit.apps import Held, answer
from tests.kit.fakes import LINES, MakeParser, every_cut, pass_time
from tests.kit.websocket_client import (
    ACCEPT,
    BINARY,
    CLOSE,
    CONNECT,
    CONTINUATION,
    FIN,
    PING,
    PONG,
    RSV1,
    TEXT,
    Puppet,
    WebSocketClient,
    accepted,
    close_payload,
    closings,
    connect,
    connecting,
    data,
    disconnect,
    echo,
    handshake,
    masked,
    opened,
    switching,
    text,
    unmasked,
    websocket_context,
)

FAILED = (
    b"HTTP/1.1 500 Internal Server Error\r\ncontent-type: text/plain; charset=utf-8\r\n"
    + LINES
    + b"content-length: 21\r\nconnection: close\r\n\r\nInternal Server Error"
)


def closing(code: int, reason: str = "") -> Message:
    return {"type": "websocket.close", "code": code, "reason": reason}


def sending(**content: Any) -> Message:
    return {"type": "websocket.send", **content}


def messages_of(error_log: list[logging.LogRecord]) -> list[str]:
    return [record.getMessage() for record in error_log]


# The handshake.


async def test_the_scope_of_a_websocket(parser: MakeParser) -> None:
    app = Puppet()
    context = websocket_context(app, parser)
    context.state["kept"] = "by the lifespan"
    client = await connect(context, b"Sec-WebSocket-Protocol: a, b", b"X-One: 1", target=b"/a%20b?c=d")
    headers = app.scope.pop("headers")
    assert app.scope == {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "scheme": "ws",
        "path": "/a b",
        "raw_path": b"/a%20b",
        "query_string": b"c=d",
        "root_path": "",
        "client": ("192.0.2.1", 50000),
        "server": ("192.0.2.2", 8000),
        "subprotocols": ["a", "b"],
        "state": {"kept": "by the lifespan"},
        "extensions": {"websocket.http.response": {}},
    }
    assert headers[0] == (b"host", b"a")
    assert (b"x-one", b"1") in headers
    app.end()
    await client.lose()


@pytest.mark.parametrize("before", [1, 15, 16, 17, 40])
async def test_a_handshake_behind_pipelined_requests_is_answered(parser: MakeParser, before: int) -> None:
    kinds = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        kinds.append(scope["type"])
        if scope["type"] == "websocket":
            await echo(scope, receive, send)
        else:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body"})

    client = WebSocketClient(websocket_context(app, parser))
    await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * before + handshake())
    assert kinds == ["http"] * before + ["websocket"]
    assert client.received.endswith(switching())
    await client.lose()


async def test_it_is_accepted(parser: MakeParser) -> None:
    app, client = await connecting(parser)
    assert await app.receive() == CONNECT
    assert client.received == b"", "nothing is said before the application has accepted"
    await app.send(ACCEPT)
    assert client.received == switching()
    app.end()
    await client.lose()


async def test_it_is_accepted_with_a_subprotocol_and_fields(parser: MakeParser) -> None:
    app = Puppet()
    client = await connect(websocket_context(app, parser), b"Sec-WebSocket-Protocol: a, b")
    fields = [(b"Set-Cookie", b"c=d"), [b"x-one", b"1"]]
    await app.send({"type": "websocket.accept", "subprotocol": "b", "headers": fields})
    assert client.received == switching(b"sec-websocket-protocol: b", b"Set-Cookie: c=d", b"x-one: 1")
    app.end()
    await client.lose()


@pytest.mark.parametrize("make", [bytearray, memoryview])
async def test_the_fields_of_its_answer_may_be_any_kind_of_bytes(
    parser: MakeParser, make: Callable[[bytes], bytes]
) -> None:
    app, client = await connecting(parser)
    await app.send({**ACCEPT, "headers": [(make(b"x-one"), make(b"1"))]})
    assert client.received == switching(b"x-one: 1")
    app.end()
    await client.lose()
    app, client = await connecting(parser)
    await app.send({"type": "websocket.http.response.start", "status": 403, "headers": [(make(b"x-one"), make(b"1"))]})
    await app.send({"type": "websocket.http.response.body", "body": b"no"})
    assert client.received.startswith(b"HTTP/1.1 403 Forbidden\r\nx-one: 1\r\n")
    app.end()
    await client.lose()


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"subprotocol": "c"}, r"'c' was not offered; the client offers \['a', 'b'\]"),
        ({"subprotocol": b"a"}, "'subprotocol' of 'websocket.accept' must be a str, not b'a'"),
        ({"headers": [(b"Sec-WebSocket-Accept", b"x")]}, "'Sec-WebSocket-Accept' of the handshake is the server's"),
        ({"headers": [(b"sec-websocket-extensions", b"x")]}, "'sec-websocket-extensions' of the handshake is"),
        ({"headers": [(b"upgrade", b"x")]}, "'upgrade' of the handshake is the server's"),
        ({"headers": [(b"Connection", b"close")]}, "'Connection' of the handshake is the server's"),
        ({"headers": [(b"content-length", b"0")]}, "'content-length' of the handshake is the server's"),
        ({"headers": [(b"transfer-encoding", b"chunked")]}, "'transfer-encoding' of the handshake is the server's"),
        ({"headers": [(b"a", b"b\r\nc: d")]}, "without control characters"),
        ({"headers": [("a", "b")]}, "must be a token"),
        ({"headers": [b"a"]}, "headers must be pairs of bytes"),
    ],
)
async def test_a_wrong_accept_raises_and_a_right_one_may_follow(
    parser: MakeParser, wrong: dict[str, object], expected: str
) -> None:
    app = Puppet()
    client = await connect(websocket_context(app, parser), b"Sec-WebSocket-Protocol: a, b")
    with pytest.raises(AppError, match=expected):
        await app.send({**ACCEPT, **wrong})
    assert client.received == b""
    await app.send(ACCEPT)
    assert client.received == switching()
    app.end()
    await client.lose()


async def test_compression_is_agreed_on_unless_the_application_declines_it(parser: MakeParser) -> None:
    offer = b"Sec-WebSocket-Extensions: permessage-deflate"
    content = "a" * 1000
    for headers, fields in (
        ([], [b"sec-websocket-extensions: permessage-deflate"]),
        ([(b"Sec-WebSocket-Extensions", b"")], []),
    ):
        app = Puppet()
        client = await connect(websocket_context(app, parser, compression="full"), offer)
        await app.send({**ACCEPT, "headers": headers})
        assert client.take() == switching(*fields)
        await app.send(sending(text=content))
        sent = client.take()
        assert sent[0] == FIN | TEXT | (RSV1 if fields else 0)
        assert (len(sent) < 50) is bool(fields)
        await app.send(sending(text="short"))
        assert client.take() == unmasked(TEXT, b"short"), "below --ws-compression-min-size nothing is compressed"
        await client.send(masked(TEXT, bytes.fromhex("f248cdc9c90700"), FIN | RSV1))
        await app.receive()
        assert await app.receive() == (text("Hello") if fields else disconnect(1002, "a frame with reserved bits"))
        app.end()
        await client.lose()


async def test_frames_behind_the_handshake_are_not_lost_however_they_are_cut(parser: MakeParser) -> None:
    raw = (
        handshake()
        + masked(TEXT, b"one")
        + masked(PING, b"p")
        + masked(BINARY, b"two", 0)
        + masked(CONTINUATION, b"!")
        + masked(CLOSE, close_payload(1000))
    )
    for pieces in every_cut(raw):
        got: list[Message] = []

        async def app(scope: Scope, receive: Receive, send: Send, got: list[Message] = got) -> None:
            await send(ACCEPT)
            while not got or got[-1]["type"] != "websocket.disconnect":
                got.append(await receive())

        context = websocket_context(app, parser)
        client = WebSocketClient(context)
        await client.send(*pieces)
        assert got == [CONNECT, text("one"), data(b"two!"), disconnect(1000)], pieces
        assert client.received == switching() + unmasked(PONG, b"p") + unmasked(CLOSE, close_payload(1000)), pieces
        await client.lose()
        assert not context.websockets


async def test_a_handshake_waits_for_the_responses_before_it(parser: MakeParser) -> None:
    held = Held()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await (echo if scope["type"] == "websocket" else held)(scope, receive, send)

    client = WebSocketClient(websocket_context(app, parser))
    await client.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n" + handshake() + masked(TEXT, b"a"))
    await client.send(masked(TEXT, b"b"))
    assert client.received == b""
    held.release.set()
    await client.wait()
    assert client.received == answer(b"/slow") + switching() + unmasked(TEXT, b"a") + unmasked(TEXT, b"b")
    await client.lose()


async def test_a_websocket_beyond_the_limit_is_refused_until_another_has_ended(parser: MakeParser) -> None:
    context = websocket_context(echo, parser)
    context.websocket_limit = 1
    first, second, third = (WebSocketClient(context) for _ in range(3))
    await first.send(handshake())
    await second.send(handshake())
    assert second.received.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"there are 1 WebSockets already (--limit-websockets)" in second.received
    assert second.closed
    await first.lose()
    await third.send(handshake())
    assert third.received == switching()
    await second.lose()
    await third.lose()


# Messages.


async def test_messages_go_both_ways(parser: MakeParser) -> None:
    app, client = await opened(parser)
    await client.send(masked(TEXT, "é".encode()), masked(BINARY, b"\xff"), masked(TEXT, b"a" * 200))
    assert [await app.receive() for _ in range(3)] == [text("é"), data(b"\xff"), text("a" * 200)]
    for message, frame in (
        (sending(text="é"), unmasked(TEXT, "é".encode())),
        (sending(text=""), unmasked(TEXT)),
        (sending(text="a", bytes=None), unmasked(TEXT, b"a")),
        (sending(bytes=b"a", text=None), unmasked(BINARY, b"a")),
        (sending(bytes=bytearray(b"a")), unmasked(BINARY, b"a")),
        (sending(bytes=memoryview(b"ab")), unmasked(BINARY, b"ab")),
        (sending(text="a" * 70000), unmasked(TEXT, b"a" * 70000)),
    ):
        await app.send(message)
        assert client.take() == frame
    app.end()
    await client.lose()


@pytest.mark.parametrize("wrong", [{}, {"text": "a", "bytes": b"a"}, {"text": b"a"}, {"bytes": "a"}, {"text": 5}])
async def test_a_message_with_the_wrong_content_raises_and_the_websocket_goes_on(
    parser: MakeParser, wrong: dict[str, object]
) -> None:
    app, client = await opened(parser)
    with pytest.raises(AppError, match=r"needs either 'text', a str, or 'bytes', which are bytes"):
        await app.send(sending(**wrong))
    await app.send(sending(text="a"))
    assert client.received == unmasked(TEXT, b"a")
    app.end()
    await client.lose()


HANDSHAKE = "'websocket.accept', 'websocket.close' or 'websocket.http.response.start'"
WRONG = [
    ([], sending(text="a"), HANDSHAKE),
    ([], {"type": "websocket.http.response.body"}, HANDSHAKE),
    ([], {"type": "http.response.start"}, HANDSHAKE),
    ([ACCEPT], ACCEPT, "'websocket.send' or 'websocket.close'"),
    ([ACCEPT], {"type": "websocket.http.response.start"}, "'websocket.send' or 'websocket.close'"),
    ([{"type": "websocket.http.response.start", "status": 200}], ACCEPT, "'websocket.http.response.body'"),
    ([ACCEPT, closing(1000)], ACCEPT, "no message after the end of the WebSocket"),
    ([closing(1000)], ACCEPT, "no message after the end of the WebSocket"),
]


@pytest.mark.parametrize(("before", "wrong", "expected"), WRONG)
async def test_a_message_at_the_wrong_time_raises_and_says_what_was_expected(
    parser: MakeParser, before: list[Message], wrong: Message, expected: str
) -> None:
    app, client = await connecting(parser)
    for message in before:
        await app.send(message)
    with pytest.raises(AppError) as caught:
        await app.send(wrong)
    assert str(caught.value) == f"expected {expected}, got {wrong['type']!r}"
    app.end()
    await client.lose()


@pytest.mark.parametrize("wrong", [{}, None, "websocket.accept"])
async def test_a_message_without_a_type_raises(parser: MakeParser, wrong: Any) -> None:
    app, client = await connecting(parser)
    with pytest.raises(AppError, match="a message must be a dict with the field 'type'"):
        await app.send(wrong)
    app.end()
    await client.lose()


# The end.


async def test_the_client_closes(parser: MakeParser) -> None:
    app = Puppet()
    context = websocket_context(app, parser)
    client = await accepted(app, context)
    await client.send(masked(TEXT, b"last") + masked(CLOSE, close_payload(4001, "bye é")) + masked(TEXT, b"late"))
    assert client.received == unmasked(CLOSE, close_payload(4001))
    assert client.transport.calls[-1] == "write_eof"
    assert await app.receive() == text("last")
    for _ in range(2):
        assert await app.receive() == disconnect(4001, "bye é")
    with pytest.raises(ClientDisconnectedError):
        await app.send(sending(text="a"))
    await app.send(closing(1000))  # both sides may close at the same time
    client.transport.end()
    assert client.transport.calls[-1] == "close"
    app.end()
    await client.lose()
    assert not context.websockets


async def test_a_close_frame_without_a_code_is_answered_by_one_without(parser: MakeParser) -> None:
    app, client = await opened(parser)
    await client.send(masked(CLOSE))
    assert client.received == unmasked(CLOSE)
    assert await app.receive() == disconnect(1005)
    app.end()
    await client.lose()


async def test_the_application_closes_and_the_client_answers(parser: MakeParser) -> None:
    app, client = await opened(parser)
    await app.send(closing(4000, "why é"))
    assert client.take() == unmasked(CLOSE, close_payload(4000, "why é"))
    with pytest.raises(OSError, match="closed"):
        await app.send(sending(text="a"))
    await client.send(masked(TEXT, b"under way"), masked(CLOSE, close_payload(4000)))
    assert client.received == b""
    assert client.transport.calls[-1] == "write_eof"
    assert await app.receive() == disconnect(4000)
    app.end()
    await client.lose()


@pytest.mark.parametrize("nothing", [{}, {"code": None}, {"reason": None}, {"code": None, "reason": ""}])
async def test_a_close_of_the_application_has_a_code_and_no_reason_by_itself(
    parser: MakeParser, nothing: dict[str, object]
) -> None:
    app, client = await opened(parser)
    await app.send({"type": "websocket.close", **nothing})
    assert client.received == unmasked(CLOSE, close_payload(1000))
    app.end()
    await client.lose()


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"code": 1005}, "1005 cannot be the code of a close frame"),
        ({"code": 5000}, "5000 cannot be the code of a close frame"),
        ({"code": "1000"}, "needs an int as 'code' and a str as 'reason'"),
        ({"reason": b"a"}, "needs an int as 'code' and a str as 'reason'"),
    ],
)
async def test_a_wrong_close_raises_and_the_websocket_goes_on(
    parser: MakeParser, wrong: dict[str, object], expected: str
) -> None:
    app, client = await opened(parser)
    with pytest.raises(AppError, match=expected):
        await app.send({"type": "websocket.close", **wrong})
    await app.send(sending(text="a"))
    assert client.received == unmasked(TEXT, b"a")
    app.end()
    await client.lose()


async def test_a_client_that_does_not_answer_a_close_is_cut(parser: MakeParser) -> None:
    app = Puppet()
    context = websocket_context(app, parser)
    client = await accepted(app, context)
    await app.send(closing(1000))
    await pass_time(context, 9)
    assert not client.closed
    await pass_time(context, 1)
    assert client.transport.calls[-1] == "abort"
    await client.lose()
    assert await app.receive() == disconnect(1006)
    app.end()


async def test_a_client_that_does_not_end_its_side_after_the_close_is_cut(parser: MakeParser) -> None:
    context = websocket_context(echo, parser)
    client = WebSocketClient(context)
    await client.send(handshake() + masked(CLOSE))
    await pass_time(context, 1)
    assert "abort" not in client.transport.calls
    await pass_time(context, 1)
    assert client.transport.calls[-1] == "abort"
    await client.lose()


async def test_a_transport_that_has_no_half_close_is_closed(parser: MakeParser) -> None:
    context = websocket_context(echo, parser)
    client = WebSocketClient(context)
    client.transport._half_closes = False
    await client.send(handshake() + masked(CLOSE))
    assert client.transport.calls[-1] == "close"
    await client.lose()


@pytest.mark.parametrize("how", ["end", "lose"])
async def test_a_client_that_leaves_without_a_word_is_a_disconnect_with_1006(parser: MakeParser, how: str) -> None:
    app, client = await opened(parser)
    await client.send(masked(TEXT, b"last"))
    if how == "end":
        client.transport.end()
        assert client.transport.calls[-1] == "close"
    await client.lose()
    assert await app.receive() == text("last")
    for _ in range(2):
        assert await app.receive() == disconnect(1006)
    with pytest.raises(OSError, match="closed"):
        await app.send(sending(text="a"))
    await app.send(closing(1000))
    app.end()
    await client.wait()


@pytest.mark.parametrize(
    ("raw", "code", "reason"),
    [
        (b"\x81\x01a", 1002, "a frame that is not masked"),
        (masked(TEXT, b"\xff"), 1007, "a text that is not UTF-8"),
        (masked(TEXT, b"\xff" * 200), 1007, "a text that is not UTF-8"),
        (masked(BINARY, bytes(2**24 + 1))[:20], 1009, f"a message of more than {2**24} bytes"),
        (masked(CLOSE, b"\x03\xee"), 1002, "a close frame with a wrong code"),
    ],
)
async def test_a_client_that_breaks_the_protocol_is_told_how_and_no_more_is_read(
    parser: MakeParser, error_log: list[logging.LogRecord], raw: bytes, code: int, reason: str
) -> None:
    app, client = await opened(parser)
    await client.send(masked(TEXT, b"right") + raw, masked(TEXT, b"more"))
    assert client.received == unmasked(CLOSE, close_payload(code, reason))
    assert client.transport.calls[-1] == "write_eof"
    assert await app.receive() == text("right")
    assert await app.receive() == disconnect(code, reason)
    assert messages_of(error_log) == [f"closed a WebSocket of 192.0.2.1:50000: {reason} ({code})"]
    app.end()
    await client.lose()


# What the application does wrong, or not at all.


@pytest.mark.parametrize(
    ("before", "received"),
    [
        ([], FAILED),
        ([{"type": "websocket.http.response.start", "status": 200}], FAILED),
        ([ACCEPT], switching() + unmasked(CLOSE, close_payload(1011, "the application failed"))),
    ],
    ids=["before accept", "before a denial's body", "open"],
)
async def test_an_application_that_raises_is_reported_and_answered_for(
    parser: MakeParser, error_log: list[logging.LogRecord], before: list[Message], received: bytes
) -> None:
    app = Puppet()
    context = websocket_context(app, parser)
    client = await connect(context)
    for message in before:
        await app.send(message)
    app.end(LookupError("its fault"))
    await client.wait()
    assert client.received == received
    [record] = error_log
    assert record.getMessage() == "exception in the application: WS /ws"
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "its fault"
    await client.lose()
    assert not context.websockets


async def test_a_cancellation_is_reported_if_it_is_the_application_s_own(
    parser: MakeParser, error_log: list[logging.LogRecord]
) -> None:
    app, client = await connecting(parser)
    await app.send(ACCEPT)
    app.end(asyncio.CancelledError())
    await client.wait()
    assert client.received == switching() + unmasked(CLOSE, close_payload(1011, "the application was cancelled"))
    assert [record.getMessage() for record in error_log] == ["exception in the application: WS /ws"]


async def test_an_application_that_raises_in_a_denial_cuts_it(
    parser: MakeParser, error_log: list[logging.LogRecord]
) -> None:
    app, client = await connecting(parser)
    await app.send({"type": "websocket.http.response.start", "status": 200})
    await app.send({"type": "websocket.http.response.body", "body": b"a", "more_body": True})
    app.end(LookupError())
    await client.wait()
    assert client.transport.calls[-1] == "abort"
    assert len(error_log) == 1
    await client.lose()


async def test_an_application_that_returns_closes_the_websocket(
    parser: MakeParser, error_log: list[logging.LogRecord]
) -> None:
    app, client = await opened(parser)
    app.end()
    await client.wait()
    assert client.received == unmasked(CLOSE, close_payload(1000))
    assert error_log == []
    await client.lose()


async def test_an_application_that_returns_without_an_answer_is_reported(
    parser: MakeParser, error_log: list[logging.LogRecord]
) -> None:
    app, client = await connecting(parser)
    app.end()
    await client.wait()
    assert client.received == FAILED
    assert messages_of(error_log) == ["WS /ws: the application returned without answering the handshake"]
    await client.lose()


async def test_an_application_must_return_none(parser: MakeParser, error_log: list[logging.LogRecord]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> Any:
        await send(ACCEPT)
        return 5

    client = await connect(websocket_context(app, parser))
    assert client.received == switching() + unmasked(CLOSE, close_payload(1000))
    assert messages_of(error_log) == ["WS /ws: the application must return None, not 5"]
    await client.lose()


async def test_an_application_that_never_answers_sees_the_client_leave(parser: MakeParser) -> None:
    app = Puppet()
    context = websocket_context(app, parser)
    client = await connect(context)
    await pass_time(context, 60)
    assert not client.closed
    await client.lose()
    assert await app.receive() == CONNECT
    assert await app.receive() == disconnect(1006)
    assert len(context.websockets) == 1
    app.end()
    await client.wait()
    assert not context.websockets


@pytest.mark.parametrize("late", [ACCEPT, {"type": "websocket.http.response.start", "status": 403}])
async def test_an_answer_for_a_client_that_has_left_raises_and_is_nobodys_fault(
    parser: MakeParser, error_log: list[logging.LogRecord], late: Message
) -> None:
    app, client = await connecting(parser)
    await client.lose()
    with pytest.raises(ClientDisconnectedError) as caught:
        await app.send(late)
    app.end(caught.value)
    await client.wait()
    assert error_log == []


async def test_an_application_that_fails_because_the_client_has_left_is_not_reported(
    parser: MakeParser, error_log: list[logging.LogRecord]
) -> None:
    app, client = await opened(parser)
    await client.lose()
    with pytest.raises(ClientDisconnectedError) as caught:
        await app.send(sending(text="a"))
    wrapped = RuntimeError("a framework's")
    wrapped.__cause__ = caught.value
    app.end(wrapped)
    await client.wait()
    assert error_log == []


@pytest.mark.parametrize(
    ("before", "received"),
    [([], FAILED), ([ACCEPT], switching() + unmasked(CLOSE, close_payload(1011, "the application was cancelled")))],
    ids=["before accept", "open"],
)
async def test_an_application_that_is_cancelled_is_answered_for(
    parser: MakeParser, before: list[Message], received: bytes
) -> None:
    app, client = await connecting(parser)
    for message in before:
        await app.send(message)
    client.websocket.cancel()
    await client.wait()
    assert app.cancelled
    assert client.received == received
    assert client.websocket.ended
    await client.lose()


# A denial.

END = b"connection: close\r\n\r\n"


async def test_a_close_before_accept_is_403(parser: MakeParser) -> None:
    app, client = await connecting(parser)
    await app.send(closing(4000))
    head = b"HTTP/1.1 403 Forbidden\r\ncontent-type: text/plain; charset=utf-8\r\n"
    assert client.received == head + LINES + b"content-length: 0\r\nconnection: close\r\n\r\n"
    assert client.transport.calls[-1] == "write_eof"
    await client.send(masked(TEXT, b"late"))
    assert (await app.receive(), await app.receive()) == (CONNECT, disconnect(1006))
    app.end()
    await client.lose()


def denial(status: int, *headers: tuple[bytes, bytes]) -> Message:
    return {"type": "websocket.http.response.start", "status": status, "headers": list(headers)}


def body(content: bytes, more: bool = False) -> Message:
    return {"type": "websocket.http.response.body", "body": content, "more_body": more}


@pytest.mark.parametrize(
    ("messages", "received"),
    [
        (
            [denial(401, (b"www-authenticate", b"Basic")), body(b"no")],
            b"HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Basic\r\n%bcontent-length: 2\r\n" + END + b"no",
        ),
        (
            [denial(404, (b"content-length", b"4")), body(b"no", True), body(b"pe")],
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n%b" + END + b"nope",
        ),
        (
            [denial(404), body(b"no", True), body(b"", True), body(b"pe")],
            b"HTTP/1.1 404 Not Found\r\n%btransfer-encoding: chunked\r\n" + END + b"2\r\nno\r\n2\r\npe\r\n0\r\n\r\n",
        ),
        (
            [denial(204), {"type": "websocket.http.response.body"}],
            b"HTTP/1.1 204 No Content\r\n%b" + END,
        ),
    ],
    ids=["whole", "sized", "chunked", "without a body"],
)
async def test_a_denial_is_an_http_response(parser: MakeParser, messages: list[Message], received: bytes) -> None:
    app, client = await connecting(parser)
    for message in messages:
        assert not client.closed
        await app.send(message)
    assert client.received == received % LINES
    assert client.closed
    await app.receive()
    assert await app.receive() == disconnect(1006)
    app.end()
    await client.lose()


async def test_a_denial_with_its_own_date_and_server_has_no_others(parser: MakeParser) -> None:
    app, client = await connecting(parser)
    await app.send(denial(404, (b"server", b"mine"), (b"Date", b"today")))
    await app.send(body(b""))
    assert client.received == (
        b"HTTP/1.1 404 Not Found\r\nserver: mine\r\nDate: today\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    )
    app.end()
    await client.lose()


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ({}, "needs the field 'status'"),
        ({"status": "200"}, "status must be an int"),
        ({"status": 101}, "from 200 to 999"),
        ({"status": 200, "headers": [(b"a b", b"c")]}, "must be a token"),
    ],
)
async def test_a_wrong_denial_raises_and_is_answered_for(
    parser: MakeParser, error_log: list[logging.LogRecord], start: dict[str, object], expected: str
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.http.response.start", **start})
        await send(body(b"a"))

    client = await connect(websocket_context(app, parser))
    assert client.received == FAILED
    [record] = error_log
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], AppError)
    assert expected in str(record.exc_info[1])
    await client.lose()


async def test_a_body_that_is_not_bytes_raises(parser: MakeParser) -> None:
    app, client = await connecting(parser)
    await app.send(denial(404))
    with pytest.raises(AppError, match="must be bytes, not 'a'"):
        await app.send({"type": "websocket.http.response.body", "body": "a"})
    await app.send(body(b"a"))
    assert client.received.endswith(b"\r\n\r\na")
    app.end()
    await client.lose()


# A worker that leaves.


async def test_a_worker_that_leaves_tells_client_and_application(parser: MakeParser) -> None:
    app = Puppet()
    context = websocket_context(app, parser, records=[])
    client = await accepted(app, context)
    waiting = asyncio.create_task(receive_from(app))
    await client.wait()
    client.websocket.announce_leave()
    reason = "the server is restarting"
    assert client.received == unmasked(CLOSE, close_payload(1012, reason))
    assert await waiting == disconnect(1012, reason)
    client.websocket.announce_leave()
    await client.send(masked(CLOSE, close_payload(1012)))
    assert client.received == unmasked(CLOSE, close_payload(1012, reason))
    assert await app.receive() == disconnect(1012, reason)
    app.end()
    await client.lose()
    assert closings(context) == [("/ws", 1012, (0, 0, 0, 0))]


async def receive_from(app: Puppet) -> Message:
    return await app.receive()


async def test_a_worker_that_leaves_waits_for_the_answer_to_a_handshake(parser: MakeParser) -> None:
    app, client = await connecting(parser)
    client.websocket.announce_leave()
    assert client.received == b""
    await app.send(ACCEPT)
    client.websocket.announce_leave()
    assert client.received == switching() + unmasked(CLOSE, close_payload(1012, "the server is restarting"))
    app.end()
    await client.lose()


async def test_a_websocket_is_never_idle_nor_passed_on(parser: MakeParser) -> None:
    app = Puppet()
    context = websocket_context(app, parser)
    client = await accepted(app, context)
    assert context.connections == {client.websocket} == context.websockets
    assert not client.websocket.idle
    assert not client.websocket.pass_on(lambda parcel: True)
    assert client.websocket.unanswered == []
    client.websocket.cut()
    assert client.transport.calls[-1] == "abort"
    app.end()
    await client.lose()
    assert not context.connections
    assert not context.websockets


# The access log.


async def test_the_access_log_has_the_handshake_and_the_end(parser: MakeParser) -> None:
    records: list[AccessRecord] = []
    context = websocket_context(echo, parser, records=records)
    client = await connect(context, target=b"/a%0Ab?c=d")
    [(name, method, target, version, status, size, _)] = records
    assert (name, method, target, version, status, size) == ("192.0.2.1:50000", "GET", "/a%0Ab?c=d", "1.1", 101, 0)
    # Short and alone, behind another, long, and in fragments: all are counted in bytes.
    await client.send(masked(TEXT, "é".encode()), masked(TEXT, "é".encode()) + masked(BINARY, b"abc"))
    await client.send(masked(TEXT, "é".encode() * 100), masked(BINARY, b"a", 0) + masked(CONTINUATION, b"b"))
    await client.send(masked(CLOSE, close_payload(4321)))
    assert closings(context) == []
    await client.lose()
    assert len(records) == 1
    assert closings(context) == [("/a%0Ab", 4321, (5, 5, 209, 209))], "the path is as it was sent: one line"


async def test_the_access_log_has_a_denial_with_its_whole_body_and_no_end(parser: MakeParser) -> None:
    for messages in [body(b"nope")], [body(b"no", True), body(b"pe")], [body(b"nope", True)]:
        app = Puppet()
        records: list[AccessRecord] = []
        context = websocket_context(app, parser, records=records)
        client = await connect(context)
        await app.send(denial(404))
        for message in messages:
            await app.send(message)
        await client.lose()
        app.end()
        await client.wait()
        assert [record[4:6] for record in records] == [(404, 4)]
        assert closings(context) == []


async def test_a_client_that_left_before_the_answer_is_in_the_access_log_with_status_499(parser: MakeParser) -> None:
    app = Puppet()
    records: list[AccessRecord] = []
    context = websocket_context(app, parser, records=records)
    client = await connect(context)
    await client.lose()
    app.end(ClientDisconnectedError())
    await client.wait()
    assert [record[1:6] for record in records] == [("GET", "/ws", "1.1", 499, 0)]
    assert closings(context) == []


async def test_the_ledger_counts_those_that_have_not_ended(parser: MakeParser) -> None:
    app = Puppet()
    context = websocket_context(app, parser)
    board = Scoreboard.create()
    context.ledger = row = board.row(board.claim(0))
    client = await accepted(app, context)
    assert (row.websockets, row.connections) == (1, 1)
    await client.lose()
    assert (row.websockets, row.connections) == (1, 0)
    app.end()
    await client.wait()
    assert row.websockets == 0
    board.close()


async def test_one_that_is_cancelled_before_it_has_begun_has_its_end(parser: MakeParser) -> None:
    context = websocket_context(Puppet(), parser)
    client = WebSocketClient(context)
    client.transport.deliver(handshake())
    client.websocket.cancel()  # before Python 3.12 the application begins in the next turn
    await client.lose()
    assert not context.websockets


@pytest.mark.parametrize(
    ("reason", "sent"),
    [
        ("a" * 123, "a" * 123),
        ("a" * 124, "a" * 123),
        ("é" * 61, "é" * 61),
        ("é" * 62, "é" * 61),
        ("€" * 100, "€" * 41),
        ("a" + "\U0001f600" * 40, "a" + "\U0001f600" * 30),
        ("\ud800 \udfff" * 50, "? ?" * 41),
        ("a" * 10_000_000, "a" * 123),
    ],
    ids=lambda reason: repr(reason[:4]),
)
async def test_the_reason_of_a_close_is_cut_between_two_characters_and_its_code_is_kept(
    parser: MakeParser, reason: str, sent: str
) -> None:
    app = Puppet()
    records: list[AccessRecord] = []
    context = websocket_context(app, parser, records=records)
    client = await accepted(app, context)
    await app.send({"type": "websocket.close", "code": 4001, "reason": reason})
    assert client.received == unmasked(CLOSE, close_payload(4001, sent))
    app.end()
    await client.lose()
    assert [closing[1] for closing in closings(context)] == [4001]


@pytest.mark.parametrize("waits", [True, False])
async def test_a_lost_websocket_is_closed_once_in_the_access_log(parser: MakeParser, waits: bool) -> None:
    """The application may return while it is told, or later."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        await receive()
        if waits:
            await asyncio.sleep(0)

    context = websocket_context(app, parser, records=[])
    client = await connect(context)
    asyncio.get_running_loop().call_soon(client.transport.lose)
    await client.wait()
    assert closings(context) == [("/ws", 1006, (0, 0, 0, 0))]
