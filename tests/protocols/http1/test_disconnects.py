"""Clients that leave: what the application is told, and what is logged."""

import asyncio
import logging

import pytest

from corehttp.asgi import Message, Receive, Scope, Send
from tests.kit.apps import Held, respond
from tests.kit.fakes import Client, MakeParser, make_context

GET = b"GET /a%20b?q HTTP/1.1\r\nHost: a\r\n\r\n"


class Waiting:
    """Reads until the client is gone, then sends."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.error: OSError | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        while not self.messages or self.messages[-1]["type"] != "http.disconnect":
            self.messages.append(await receive())
        try:
            await respond(send, b"too late")
        except OSError as error:
            self.error = error
            raise


@pytest.mark.parametrize(
    "raw",
    [GET, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab"],
    ids=["whole request", "half a body"],
)
async def test_a_lost_connection_is_told_by_receive_and_raised_by_send_and_not_logged(
    parser: MakeParser, raw: bytes, error_log: list[logging.LogRecord]
) -> None:
    app = Waiting()
    context = make_context(app, parser)
    client = Client(context)
    await client.send(raw)
    await client.lose(ConnectionResetError())
    assert app.messages[-1] == {"type": "http.disconnect"}
    assert isinstance(app.error, OSError)
    assert client.received == b""
    assert error_log == []
    assert not context.running


@pytest.mark.parametrize("cause", [True, False], ids=["raise from", "raise while handling"])
async def test_what_an_application_makes_of_a_lost_connection_is_not_logged(
    parser: MakeParser, cause: bool, error_log: list[logging.LogRecord]
) -> None:
    gone = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await gone.wait()
        try:
            await respond(send, b"too late")
        except OSError as error:
            raise RuntimeError("wrapped") from (error if cause else None)

    client = Client(make_context(app, parser))
    await client.send(GET)
    await client.lose()
    gone.set()
    await client.wait()
    assert error_log == []


async def test_an_applications_own_error_after_a_lost_connection_is_logged(
    parser: MakeParser, error_log: list[logging.LogRecord]
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        raise LookupError

    client = Client(make_context(app, parser))
    await client.send(GET)
    await client.lose()
    assert [record.getMessage() for record in error_log] == ["exception in the application: GET /a b"]


async def test_a_sender_that_waits_for_a_client_goes_on_when_the_connection_is_lost(parser: MakeParser) -> None:
    errors: list[OSError] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        try:
            while True:
                await send({"type": "http.response.body", "body": b"a", "more_body": True})
        except OSError as error:
            errors.append(error)

    context = make_context(app, parser)
    client = Client(context)
    client.transport.full = True
    await client.send(GET)
    await client.lose()
    assert len(errors) == 1
    assert not context.running


async def test_requests_not_begun_when_the_connection_is_lost_are_never_begun(parser: MakeParser) -> None:
    app = Waiting()
    client = Client(make_context(app, parser))
    await client.send(GET + GET)
    await client.lose()
    assert [message["type"] for message in app.messages] == ["http.request", "http.disconnect"]


# cancel_on_disconnect.


class Lasting:
    """Sends the messages, then waits; keeps how that ended."""

    def __init__(self, *messages: Message, minds: bool = False) -> None:
        self.cancelled = False
        self.release = asyncio.Event()
        self._messages = messages
        self._minds = minds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        for message in self._messages:
            await send(message)
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            if self._minds:
                await respond(send, b"too late")
            raise


START: Message = {"type": "http.response.start", "status": 200}
PIECE: Message = {"type": "http.response.body", "body": b"a", "more_body": True}
END: Message = {"type": "http.response.body", "body": b"b"}


@pytest.mark.parametrize("messages", [[], [START], [START, PIECE]], ids=["nothing sent", "start sent", "begun"])
@pytest.mark.parametrize("cancels", [False, True], ids=["default", "cancel_on_disconnect"])
async def test_an_application_without_its_client_is_cancelled_where_that_is_asked_for(
    parser: MakeParser, messages: list[Message], cancels: bool, error_log: list[logging.LogRecord]
) -> None:
    app = Lasting(*messages)
    context = make_context(app, parser, cancel_on_disconnect=cancels)
    client = Client(context)
    await client.send(GET + GET)
    await client.lose()
    assert app.cancelled is cancels
    assert len(context.running) == (not cancels)
    app.release.set()
    await client.wait()
    assert not context.running
    # Who goes on without its client and does not complete its response is to blame for nothing.
    assert error_log == []


async def test_what_an_application_does_after_its_response_is_not_cancelled(parser: MakeParser) -> None:
    app = Lasting(START, PIECE, END)
    context = make_context(app, parser, cancel_on_disconnect=True)
    client = Client(context)
    await client.send(GET)
    await client.lose()
    assert not app.cancelled
    assert len(context.running) == 1
    app.release.set()
    await client.wait()
    assert not context.running


async def test_only_the_request_in_progress_is_cancelled(parser: MakeParser) -> None:
    after = Lasting(START, PIECE, END)
    current = Lasting()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await (after if scope["path"] == "/after" else current)(scope, receive, send)

    context = make_context(app, parser, cancel_on_disconnect=True)
    client = Client(context)
    await client.send(b"GET /after HTTP/1.1\r\nHost: a\r\n\r\n" + GET)
    await client.lose()
    assert (after.cancelled, current.cancelled) == (False, True)
    after.release.set()
    await client.wait()


async def test_a_cancelled_application_that_goes_on_sending_is_told_and_not_logged(
    parser: MakeParser, error_log: list[logging.LogRecord]
) -> None:
    app = Lasting(minds=True)
    context = make_context(app, parser, cancel_on_disconnect=True)
    client = Client(context)
    await client.send(GET)
    await client.lose()
    assert app.cancelled
    assert client.received == b""
    assert error_log == []
    assert not context.running


@pytest.mark.parametrize("messages", [[], [START, PIECE]], ids=["nothing sent", "begun"])
async def test_a_request_that_is_refused_in_its_body_is_cancelled_like_one_without_its_client(
    parser: MakeParser, messages: list[Message]
) -> None:
    for cancels in (False, True):
        app = Lasting(*messages)
        context = make_context(app, parser, cancel_on_disconnect=cancels)
        client = Client(context)
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", b"xyz\r\n")
        assert client.closed
        assert app.cancelled is cancels
        app.release.set()
        await client.wait()
        assert not context.running


async def test_a_request_that_is_cancelled_before_it_has_begun_has_its_end(parser: MakeParser) -> None:
    context = make_context(Held(), parser, cancel_on_disconnect=True)
    client = Client(context)
    client.transport.deliver(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")  # before Python 3.12 it begins in the next turn
    await client.lose()
    assert not context.running
