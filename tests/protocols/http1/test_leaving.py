"""A worker that leaves: what becomes of its connections, and of responses without an end."""

import asyncio
import socket
from collections.abc import Iterator

import pytest

from corehttp.asgi import ASGIApp, Receive, Scope, Send
from corehttp.errors import ClientDisconnectedError
from corehttp.ipc.parcel import Parcel
from tests.kit.apps import Held, answer, echo, hello, respond
from tests.kit.fakes import KEEP_ALIVE, NOW, Client, FakeTransport, MakeParser, make_context

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
SLOW = b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"


class Taker:
    """The way to another worker."""

    def __init__(self, *, takes: bool = True) -> None:
        self.takes = takes
        self.given: list[tuple[int, float]] = []

    def __call__(self, parcel: Parcel) -> bool:
        self.given.append((parcel.descriptor, parcel.keep_until))
        return self.takes


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    with socket.socket() as sock:
        yield sock


def client_of(app: ASGIApp, parser: MakeParser, sock: socket.socket, taker: Taker | None = None) -> Client:
    context = make_context(app, parser)
    context.hand_over = taker
    return Client(context, FakeTransport(sock=sock))


async def test_an_idle_connection_is_passed_on_with_its_deadline(parser: MakeParser, sock: socket.socket) -> None:
    client = client_of(hello, parser, sock)
    taker = Taker()
    assert client.connection.pass_on(taker)
    assert taker.given == [(sock.fileno(), NOW + KEEP_ALIVE)]
    assert client.transport.calls == ["abort"], "no FIN may be sent, nor anything read"


async def test_one_that_nobody_takes_stays_and_goes_on(parser: MakeParser, sock: socket.socket) -> None:
    client = client_of(hello, parser, sock)
    assert not client.connection.pass_on(Taker(takes=False))
    await client.send(GET)
    assert client.received == answer(b"hello")
    assert not client.closed


async def test_a_busy_one_is_passed_on_when_its_response_is_out(parser: MakeParser, sock: socket.socket) -> None:
    held, taker = Held(), Taker()
    client = client_of(held, parser, sock, taker)
    await client.send(SLOW)
    assert not client.connection.pass_on(taker)
    held.release.set()
    await client.wait()
    assert client.received == answer(b"/slow"), "the client is not told to close"
    assert len(taker.given) == 1
    assert client.transport.calls[-1] == "abort"


async def test_pipelined_requests_are_all_answered_first(parser: MakeParser, sock: socket.socket) -> None:
    taker = Taker()
    client = client_of(hello, parser, sock, taker)
    await client.send(GET * 3)
    assert client.received == answer(b"hello") * 3
    assert len(taker.given) == 1


@pytest.mark.parametrize("part", [b"G", GET[:-2], b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nx"])
async def test_one_with_a_part_of_a_request_stays(parser: MakeParser, sock: socket.socket, part: bytes) -> None:
    client = client_of(hello, parser, sock)
    await client.send(part)
    assert not client.connection.pass_on(Taker())


async def test_one_whose_client_has_something_to_take_stays(parser: MakeParser, sock: socket.socket) -> None:
    client = client_of(hello, parser, sock)
    client.transport.buffered = 1
    assert not client.connection.pass_on(Taker())


async def test_an_encrypted_one_stays(parser: MakeParser, sock: socket.socket) -> None:
    client = client_of(hello, parser, sock)
    client.transport._extra["ssl_object"] = object()  # type: ignore[attr-defined]
    assert not client.connection.pass_on(Taker())


# Responses without an end.


class Endless:
    """Streams with this content type until it is told to end, in the way it listens for that."""

    def __init__(self, content_type: bytes, *, listens: bool) -> None:
        self.fields = [(b"content-type", content_type)]
        self.listens = listens
        self.error: OSError | None = None
        self.more = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": iter(self.fields)})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        if self.listens:
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        await self.more.wait()
        try:
            await send({"type": "http.response.body", "body": b"b", "more_body": True})
        except OSError as error:
            self.error = error
            raise


def tell_all(client: Client) -> None:
    for exchange in client.connection.unanswered:
        exchange.announce_leave()


async def test_a_stream_of_events_that_listens_is_told_and_ended_whole(
    parser: MakeParser, sock: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    client = client_of(Endless(b"text/event-stream", listens=True), parser, sock)
    await client.send(GET)
    tell_all(client)
    await client.wait()
    assert client.received.endswith(b"1\r\na\r\n0\r\n\r\n")
    assert not client.closed
    assert not caplog.records


async def test_a_stream_of_events_that_only_sends_is_told_by_send(
    parser: MakeParser, sock: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    app = Endless(b"Text/Event-Stream; charset=utf-8", listens=False)
    client = client_of(app, parser, sock)
    await client.send(GET)
    tell_all(client)
    app.more.set()
    await client.wait()
    assert isinstance(app.error, ClientDisconnectedError)
    assert client.received.endswith(b"1\r\na\r\n0\r\n\r\n")
    assert not caplog.records


async def test_another_stream_may_send_on_after_it_was_told(parser: MakeParser, sock: socket.socket) -> None:
    app = Endless(b"text/csv", listens=False)
    client = client_of(app, parser, sock)
    await client.send(GET)
    tell_all(client)
    app.more.set()
    await client.wait()
    assert app.error is None


async def test_another_stream_that_ends_without_its_end_is_cut(parser: MakeParser, sock: socket.socket) -> None:
    client = client_of(Endless(b"text/csv", listens=True), parser, sock)
    await client.send(GET)
    tell_all(client)
    await client.wait()
    assert client.received.endswith(b"1\r\na\r\n"), "its client would take a part for the whole"
    assert client.closed


async def test_a_poll_is_answered_with_503_when_its_application_gives_up(
    parser: MakeParser, sock: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    async def poll(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    client = client_of(poll, parser, sock)
    await client.send(GET)
    tell_all(client)
    await client.wait()
    assert client.received.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"\r\nretry-after: 1\r\n" in client.received
    assert not caplog.records


async def test_an_application_that_waits_for_the_rest_of_an_upload_gets_it(
    parser: MakeParser, sock: socket.socket
) -> None:
    client = client_of(echo, parser, sock)
    await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na")
    tell_all(client)
    await client.wait()
    assert client.received == b""
    await client.send(b"b")
    assert client.received == answer(b"/=ab")


async def test_an_ordinary_request_whose_client_is_watched_by_another_task_is_left_alone(
    parser: MakeParser, sock: socket.socket
) -> None:
    release = asyncio.Event()

    async def watched(scope: Scope, receive: Receive, send: Send) -> None:
        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            release.set()

        watching = asyncio.create_task(watch())
        await release.wait()
        watching.cancel()
        await respond(send, b"done")

    client = client_of(watched, parser, sock)
    await client.send(GET)
    tell_all(client)
    await client.wait()
    assert client.received == b""
    release.set()
    await client.wait()
    assert client.received == answer(b"done")


async def test_a_response_of_declared_length_is_no_stream(parser: MakeParser, sock: socket.socket) -> None:
    release = asyncio.Event()
    said: list[str] = []

    async def download(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await receive()
        watching: asyncio.Future[object] = asyncio.ensure_future(receive())
        await release.wait()
        said.append("told" if watching.done() else "not told")
        watching.cancel()
        await send({"type": "http.response.body", "body": b"b"})

    client = client_of(download, parser, sock)
    await client.send(GET)
    tell_all(client)
    await client.wait()
    release.set()
    await client.wait()
    assert said == ["not told"]
    assert client.received.endswith(b"ab")


@pytest.mark.parametrize("before", [b"\r", b"\r\n\r"])
async def test_one_with_half_an_empty_line_is_not_passed_on_before_the_other_half(
    parser: MakeParser, sock: socket.socket, before: bytes
) -> None:
    client = client_of(hello, parser, sock)
    taker = Taker()
    await client.send(before)
    assert not client.connection.idle
    assert not client.connection.pass_on(taker)
    await client.send(b"\n")
    assert client.connection.pass_on(taker)
    assert taker.given == [(sock.fileno(), NOW + KEEP_ALIVE)]


async def test_half_an_empty_line_behind_a_request_is_not_forgotten_when_its_response_is_out(
    parser: MakeParser, sock: socket.socket
) -> None:
    held, taker = Held(), Taker()
    client = client_of(held, parser, sock, taker)
    await client.send(SLOW, b"\r")
    held.release.set()
    await client.wait()
    assert taker.given == []
    await client.send(b"\n" + SLOW)
    assert client.received == answer(b"/slow") * 2
    assert len(taker.given) == 1
