"""What an application does to its scope changes nothing but what it sees itself."""

import asyncio
import logging
import sys

import pytest

from corehttp.asgi import Message, Receive, Scope, Send
from corehttp.protocols.observers import AccessRecord
from tests.kit.apps import Recorder, hello, respond
from tests.kit.draining import Time, drain_of
from tests.kit.fakes import LINES, Client, MakeParser, make_context
from tests.kit.websocket_client import (
    ACCEPT,
    WebSocketClient,
    closings,
    disconnect,
    handshake,
    websocket_context,
)

EVIL = {
    "type": "lifespan",
    "method": "GET",
    "http_version": "1.0",
    "path": 5,
    "raw_path": None,
    "query_string": "no bytes",
    "headers": None,
    "client": "somebody",
}


def clear(scope: Scope) -> None:
    scope.clear()


def falsify(scope: Scope) -> None:
    scope.update(EVIL)


CHANGES = pytest.mark.parametrize("change", [clear, falsify])


class Changing:
    """Changes its scope, then waits for `release` if its path is /slow, and answers."""

    def __init__(self, change: object) -> None:
        assert callable(change)
        self.release = asyncio.Event()
        self._change = change

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        slow = scope["path"] == "/slow"
        self._change(scope)
        if slow:
            await self.release.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"hel", "more_body": True})
        await send({"type": "http.response.body", "body": b"lo"})


@CHANGES
@pytest.mark.parametrize("path", [b"/", b"/slow"])
@pytest.mark.parametrize(
    ("method", "version", "end"),
    [
        (b"HEAD", b"1.1", b"\r\n"),
        (b"GET", b"1.1", b"transfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"),
        (b"GET", b"1.0", b"connection: close\r\n\r\nhello"),
        (b"HEAD", b"1.0", b"connection: keep-alive\r\n\r\n"),
    ],
)
async def test_a_response_is_framed_for_the_request_that_came(
    parser: MakeParser, change: object, path: bytes, method: bytes, version: bytes, end: bytes
) -> None:
    app = Changing(change)
    records: list[AccessRecord] = []
    client = Client(make_context(app, parser, records=records))
    await client.send(b"%b %b HTTP/%b\r\nHost: a\r\nConnection: keep-alive\r\n\r\n" % (method, path, version))
    app.release.set()
    await client.wait()
    assert client.received == b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n" + LINES + end
    (record,) = records
    size = 0 if method == b"HEAD" else 5
    assert record[1:6] == (method.decode(), path.decode(), version.decode(), 200, size)


class Entries:
    """A ledger that keeps what it is told."""

    connections = taken_over = websockets = 0.0
    method, path = "", b""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.since = memoryview(bytearray(8)).cast("d")

    def name(self, method: bytes, path: bytes) -> None:
        assert not self.since[0], "nobody sees a request under the name of another"
        self.calls.append(("name", method, path))

    def enter(self, now: float, method: bytes, path: bytes) -> int:
        self.calls.append(("enter", method, path))
        return 7

    def leave(self, place: int) -> None:
        self.calls.append(("leave", place))


@CHANGES
async def test_the_ledger_names_the_request_that_came(parser: MakeParser, change: object) -> None:
    app = Changing(change)
    context = make_context(app, parser)
    context.ledger = entries = Entries()
    client = Client(context)
    await client.send(b"POST /slow?a HTTP/1.1\r\nHost: a\r\n\r\n")
    app.release.set()
    await client.wait()
    names = (b"POST", b"/slow")
    assert entries.calls == [("name", *names), ("enter", *names), ("leave", 7)]
    assert not entries.since[0]


async def test_the_ledger_has_the_request_that_runs_under_its_name(parser: MakeParser) -> None:
    async def look(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((scope["method"], scope["path"], entries.method, entries.path, entries.since[0]))
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})

    seen: list[tuple[object, ...]] = []
    context = make_context(look, parser)
    context.ledger = entries = Entries()
    client = Client(context)
    requests = [(b"GET", b"/a"), (b"GET", b"/a"), (b"GET", b"/b"), (b"HEAD", b"/b"), (b"HEAD", b"/b"), (b"GET", b"/a")]
    for method, path in requests:
        await client.send(b"%b %b HTTP/1.1\r\nHost: a\r\n\r\n" % (method, path))
        await client.wait()
    shown = [(method.decode(), path.decode()) for method, path in requests]
    # Before 3.12 an application begins a turn of the loop later, when the request is entered as one that waits.
    since = context.clock.monotonic if sys.version_info >= (3, 12) else 0.0
    assert seen == [(*name, name[0], name[1].encode(), since) for name in shown]
    assert [call[1:] for call in entries.calls if call[0] == "name"] == [requests[at] for at in (0, 2, 3, 5)]
    assert not entries.since[0]


@CHANGES
async def test_what_is_cut_and_what_fails_is_logged_by_its_own_name(
    parser: MakeParser, change: object, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(scope: Scope, receive: Receive, send: Send) -> None:
        falsify(scope)
        if change is clear:
            scope.clear()
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("a fault")

    context = make_context(fail, parser)
    client = Client(context)
    await client.send(b"POST /a%0ab?secret HTTP/1.1\r\nHost: a\r\n\r\n")
    drain = drain_of(context, Time())
    assert await drain.cut()
    cut, fault = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert cut.startswith("cut at the end of the graceful time: POST /a\\nb after ")
    assert fault == "exception in the application: POST /a\\nb"


@CHANGES
async def test_a_websocket_is_logged_as_the_handshake_that_came(
    parser: MakeParser, change: object, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        subprotocols = scope["subprotocols"]
        assert callable(change)
        change(scope)
        subprotocols.append("invented")
        await receive()
        with pytest.raises(RuntimeError, match="was not offered"):
            await send({**ACCEPT, "subprotocol": "invented"})
        await send(ACCEPT)
        await receive()
        raise ValueError("a fault")

    records: list[AccessRecord] = []
    context = websocket_context(app, parser, records=records)
    client = WebSocketClient(context)
    await client.send(handshake(target=b"/ws%20?a=b"))
    assert repr(client.websocket) == "<WebSocketConnection WS /ws : open>"
    await client.lose()
    assert [record[:5] for record in records] == [("192.0.2.1:50000", "GET", "/ws%20?a=b", "1.1", 101)]
    assert closings(context) == [("/ws%20", 1006, (0, 0, 0, 0))]
    assert caplog.records[-1].getMessage() == "exception in the application: WS /ws "


async def test_nothing_that_is_written_into_a_scope_comes_to_the_next_request(parser: MakeParser) -> None:
    async def scribble(scope: Scope, receive: Receive, send: Send) -> None:
        for value in (scope, scope["state"], scope["asgi"], scope["extensions"], *scope["extensions"].values()):
            value["mark"] = "of another request"
        scope["headers"].append((b"mark", b"of another request"))
        if scope["type"] == "http":
            await respond(send, b"")
        else:
            await send({"type": "websocket.close"})

    app = Recorder(scribble)
    event = asyncio.Event()
    context = websocket_context(app, parser)
    for offered in (context.extensions, context.websocket_extensions):
        offered.update({"one": {}, "corehttp.shutdown": {"event": event}})
    seen = []
    for raw in (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", handshake(b"Sec-WebSocket-Protocol: a")) * 2:
        client = WebSocketClient(context)
        before = len(app.scopes)
        original = app._app

        async def look(scope: Scope, receive: Receive, send: Send) -> None:
            seen.append(repr(scope))
            await scribble(scope, receive, send)

        app._app = look
        await client.send(raw)
        app._app = original
        assert len(app.scopes) == before + 1
        await client.lose()
    assert len(seen) == 4
    assert not [scope for scope in seen if "mark" in scope]
    assert seen[0] == seen[2]
    assert seen[1] == seen[3]
    assert all(scope["extensions"]["corehttp.shutdown"]["event"] is event for scope in app.scopes)


async def test_a_disconnect_that_was_changed_comes_again_as_it_was(parser: MakeParser) -> None:
    got: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        for _ in range(3):
            message = await receive()
            got.append(dict(message))
            message.clear()

    client = WebSocketClient(websocket_context(app, parser))
    await client.send(handshake())
    await client.lose()
    assert got == [disconnect(1006)] * 3


async def test_the_next_request_is_served_after_a_scope_was_cleared(parser: MakeParser) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope.clear()
        await hello(scope, receive, send)

    client = Client(make_context(app, parser))
    await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 3)
    assert client.received.count(b"hello") == 3
