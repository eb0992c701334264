"""What a drain does not wait for: an application whose client has left, and a stream without an end."""

import asyncio
import logging
from collections.abc import Callable

import pytest

from corehttp.asgi import Message, Receive, Scope, Send
from corehttp.protocols.context import WorkerContext
from corehttp.protocols.http1.parser_httptools import HttptoolsParser
from corehttp.worker.drain import CANCEL_GRACE, LAST, POLL, Drain
from tests.kit import draining
from tests.kit.apps import respond
from tests.kit.draining import Time
from tests.kit.fakes import NOW, Client, make_context
from tests.kit.websocket_client import (
    CLOSE,
    Puppet,
    WebSocketClient,
    accepted,
    close_payload,
    handshake,
    masked,
    websocket_context,
)

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LIMIT = 30.0  # seconds, of graceful time
MOMENT = LAST + CANCEL_GRACE + 3 * POLL  # by then nobody is waited for any more


def drain_of(context: WorkerContext, time: Time, stream_grace: float = LIMIT) -> Drain:
    context.draining = True
    return draining.drain_of(context, time, stream_grace=stream_grace)


def start(*headers: tuple[bytes, bytes]) -> Message:
    return {"type": "http.response.start", "status": 200, "headers": headers}


def piece(body: bytes, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


SO_FAR: dict[str, list[Message]] = {
    "nothing sent": [],
    "only the head": [start()],
    "streaming": [start(), piece(b"some")],
    "a part of a declared length": [start((b"content-length", b"9")), piece(b"some")],
}


@pytest.mark.parametrize("when", [0.0, 3.0], ids=["before the stop", "during it"])
@pytest.mark.parametrize("sent", SO_FAR.values(), ids=SO_FAR.keys())
async def test_a_request_whose_client_has_left_is_cancelled_after_a_moment_and_is_no_cut(
    time: Time, sent: list[Message], when: float, error_log: list[logging.LogRecord]
) -> None:
    app = Puppet()
    context = make_context(app, HttptoolsParser)
    client = Client(context)
    await client.send(GET)
    for message in sent:
        await app.send(message)
    if not when:
        await client.lose()

    def meanwhile() -> None:
        if when and time.now >= NOW + when and context.connections:
            client.transport.lose()

    time.meanwhile = meanwhile
    assert await drain_of(context, time).finish(NOW + LIMIT)
    assert app.cancelled
    assert NOW + when + LAST <= time.now <= NOW + when + MOMENT
    assert error_log == []


async def test_what_ends_within_the_moment_is_not_cancelled(time: Time) -> None:
    app = Puppet()
    context = make_context(app, HttptoolsParser)
    client = Client(context)
    await client.send(GET)
    await client.lose()
    time.meanwhile = lambda: app.end() if time.now > NOW + LAST / 2 else None
    assert await drain_of(context, time).finish(NOW + LIMIT)
    assert not app.cancelled


async def test_an_application_that_does_not_heed_its_cancellation_is_not_waited_for(time: Time) -> None:
    release = asyncio.Event()
    cancelled = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal cancelled
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                cancelled += 1

    context = make_context(app, HttptoolsParser)
    client = Client(context)
    await client.send(GET)
    await client.lose()
    assert await drain_of(context, time).finish(NOW + LIMIT)
    assert time.now <= NOW + MOMENT
    assert cancelled == 1
    release.set()
    await client.wait()


async def test_work_after_a_whole_response_is_waited_for_though_the_client_has_left(time: Time) -> None:
    app = Puppet()
    context = make_context(app, HttptoolsParser)
    client = Client(context)
    await client.send(GET)
    await respond(app.send, b"done")
    await client.lose()
    time.meanwhile = lambda: app.end() if time.now > NOW + 7 else None
    assert await drain_of(context, time).finish(NOW + LIMIT)
    assert time.now > NOW + 7
    assert not app.cancelled


ENDLESS = [b"text/event-stream", b"Text/Event-Stream;charset=utf-8", b"multipart/x-mixed-replace; boundary=f"]
OTHERS = [b"application/x-ndjson", b"text/plain", b"multipart/mixed; boundary=f", b"text/event-streams"]


async def streaming(kind: bytes) -> tuple[Puppet, WorkerContext, Client]:
    app = Puppet()
    context = make_context(app, HttptoolsParser)
    client = Client(context)
    await client.send(GET)
    await app.send(start((b"Content-Type", kind)))
    await app.send(piece(b"some"))
    return app, context, client


@pytest.mark.parametrize("kind", ENDLESS)
async def test_a_stream_that_never_ends_by_its_type_is_told_by_send_and_ended_whole(time: Time, kind: bytes) -> None:
    app, context, client = await streaming(kind)
    drain = drain_of(context, time, stream_grace=2.0)
    sent = asyncio.ensure_future(drain.finish(NOW + LIMIT))
    while time.now < NOW + 1.5:
        await app.send(piece(b"more"))
        await asyncio.sleep(0)
    while time.now < NOW + 2.0 + 2 * POLL:
        await asyncio.sleep(0)
    with pytest.raises(OSError, match="shutting down"):
        await app.send(piece(b"more"))
    app.end()
    await client.wait()
    assert client.received.endswith(b"0\r\n\r\n")
    client.transport.lose()
    assert await sent


@pytest.mark.parametrize("kind", ENDLESS)
async def test_a_stream_without_an_end_that_sends_nothing_is_cancelled_and_ended_whole(
    time: Time, kind: bytes, error_log: list[logging.LogRecord]
) -> None:
    app, context, client = await streaming(kind)

    def meanwhile() -> None:
        if client.closed and context.connections:
            client.transport.lose()

    time.meanwhile = meanwhile
    assert await drain_of(context, time, stream_grace=2.0).finish(NOW + LIMIT)
    assert app.cancelled
    assert client.received.endswith(b"some\r\n0\r\n\r\n")
    assert time.now <= NOW + 2.0 + MOMENT + 1
    assert error_log == []


async def test_at_the_end_of_the_graceful_time_a_stream_without_an_end_is_no_cut(time: Time) -> None:
    _, context, client = await streaming(ENDLESS[0])
    drain = drain_of(context, time, stream_grace=60.0)
    assert not await drain.finish(NOW + 5)
    assert await drain.cut() == 0
    assert client.received.endswith(b"some\r\n0\r\n\r\n")
    client.transport.lose()


@pytest.mark.parametrize("kind", OTHERS)
async def test_any_other_stream_has_the_whole_graceful_time_and_is_then_cut(time: Time, kind: bytes) -> None:
    app, context, client = await streaming(kind)
    drain = drain_of(context, time, stream_grace=0.0)
    assert not await drain.finish(NOW + 5)
    await app.send(piece(b"more"))
    assert not app.cancelled
    assert await drain.cut() == 1
    assert not client.received.endswith(b"0\r\n\r\n")
    client.transport.lose()


def leave_without_a_word(client: WebSocketClient) -> None:
    client.transport.lose()


def leave_with_a_close_frame(client: WebSocketClient) -> None:
    client.transport.deliver(masked(CLOSE, close_payload(1001)))
    client.transport.lose()


@pytest.mark.parametrize("leave", [leave_without_a_word, leave_with_a_close_frame])
async def test_a_websocket_whose_client_has_left_is_cancelled_after_a_moment_and_is_no_cut(
    time: Time, leave: Callable[[WebSocketClient], None], error_log: list[logging.LogRecord]
) -> None:
    app = Puppet()
    context = websocket_context(app, HttptoolsParser)
    client = await accepted(app, context)
    leave(client)
    assert await drain_of(context, time).finish(NOW + LIMIT)
    assert app.cancelled
    assert time.now <= NOW + MOMENT
    assert error_log == []


async def test_a_handshake_whose_client_has_left_is_cancelled_after_a_moment(time: Time) -> None:
    app = Puppet()
    context = websocket_context(app, HttptoolsParser)
    client = WebSocketClient(context)
    await client.send(handshake())
    await client.lose()
    assert await drain_of(context, time).finish(NOW + LIMIT)
    assert app.cancelled
    assert time.now <= NOW + MOMENT


@pytest.mark.parametrize("closed", ["by the application", "by the stop"])
async def test_work_after_a_websocket_that_its_client_did_not_end_is_waited_for(time: Time, closed: str) -> None:
    app = Puppet()
    context = websocket_context(app, HttptoolsParser)
    client = await accepted(app, context)
    if closed == "by the application":
        await app.send({"type": "websocket.close"})
        await client.lose()

    def meanwhile() -> None:
        if client.received and context.connections:
            client.transport.lose()
        if time.now > NOW + 7:
            app.end()

    time.meanwhile = meanwhile
    assert await drain_of(context, time).finish(NOW + LIMIT)
    assert time.now > NOW + 7
    assert not app.cancelled


async def test_where_reading_is_paused_a_client_is_probed_with_what_its_response_begins_with(time: Time) -> None:
    app = Puppet()
    context = make_context(app, HttptoolsParser)
    client = Client(context)
    body = b"x" * 2**20
    await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (2 * len(body)) + body)
    assert not client.transport.reading
    assert not await drain_of(context, time).finish(NOW + 1)
    assert client.received == b"HTTP/1.1 ", "which one that is gone answers with a reset"
    await respond(app.send, b"done")
    assert client.received.count(b"HTTP/1.1 ") == 1
    assert client.received.startswith(b"HTTP/1.1 200 OK\r\n")
    client.transport.lose()
    app.end()
    await client.wait()
