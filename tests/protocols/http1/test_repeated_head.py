"""A head that is sent again and again is not put together again, and nobody can tell from what is sent."""

from collections.abc import Iterator

import pytest

from corehttp.asgi import Message, Receive, Scope, Send
from corehttp.protocols.context import WorkerContext
from corehttp.protocols.http1 import wire
from corehttp.protocols.http1.parser_httptools import HttptoolsParser
from corehttp.protocols.tally import Tally
from tests.kit.fakes import DATE, NOW, SERVER, WALL, Client, make_context

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n"
WHOLE = HEAD + SERVER + DATE + b"\r\nhello"


@pytest.fixture(autouse=True)
def _nothing_repeated() -> Iterator[None]:
    before = wire.repeated
    wire.repeated = wire.RepeatedHead(0, [], -1, b"", b"")
    wire.known_heads.clear()
    yield
    wire.repeated = before
    wire.known_heads.clear()


class Greeter:
    """An application whose response the test may change between two requests."""

    def __init__(self) -> None:
        self.status: object = 200
        self.fields: list[object] = [(b"content-length", b"5")]
        self.body: Message = {"type": "http.response.body", "body": b"hello"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status, "headers": self.fields})
        await send(self.body)


async def greeted() -> tuple[Greeter, Client, WorkerContext]:
    """A client whose last responses had the head that is `repeated` now, with its application and worker."""
    app = Greeter()
    context = make_context(app, HttptoolsParser)
    client = Client(context)
    for _ in range(4):
        await client.send(GET)
        assert client.take() == WHOLE
    assert wire.repeated.beginning + b"hello" == WHOLE
    return app, client, context


async def test_a_head_is_repeated_only_once_it_was_sent_twice_in_a_row() -> None:
    app = Greeter()
    client = Client(make_context(app, HttptoolsParser))
    for number in range(12):
        app.fields[1:] = [(b"a", b"%d" % (number % 2))]
        await client.send(GET)
        assert client.take() == HEAD + b"a: %d\r\n" % (number % 2) + SERVER + DATE + b"\r\nhello"
        assert wire.repeated.length == -1


async def test_the_date_of_a_repeated_head_is_that_of_the_clock() -> None:
    _, client, context = await greeted()
    for second in range(1, 4):
        context.clock.update(NOW + second, WALL + second)
        for _ in range(3):
            await client.send(GET)
            assert client.take() == WHOLE.replace(b":37 GMT", b":%d GMT" % (37 + second))


async def test_fields_that_the_application_changes_in_their_list_are_sent_as_they_are() -> None:
    app, client, _ = await greeted()
    app.fields.append((b"a", b"b"))
    await client.send(GET)
    assert client.take() == HEAD + b"a: b\r\n" + SERVER + DATE + b"\r\nhello"
    del app.fields[1]
    await client.send(GET)
    assert client.take() == WHOLE


async def test_another_status_has_another_head() -> None:
    app, client, _ = await greeted()
    app.status = 404
    await client.send(GET)
    assert client.take() == WHOLE.replace(b"200 OK", b"404 Not Found")


@pytest.mark.parametrize(
    ("request_", "head_end", "body"),
    [
        (b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", b"", b""),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", b"connection: close\r\n", b"hello"),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", b"connection: keep-alive\r\n", b"hello"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nxy", b"", b"hello"),
    ],
    ids=["HEAD", "close", "HTTP/1.0", "POST"],
)
async def test_a_request_of_another_kind_has_the_response_of_its_kind(
    request_: bytes, head_end: bytes, body: bytes
) -> None:
    _, client, _ = await greeted()
    await client.send(request_)
    assert client.take() == HEAD + SERVER + DATE + head_end + b"\r\n" + body


async def test_a_response_in_a_drain_says_that_the_connection_ends() -> None:
    _, client, context = await greeted()
    context.draining = True
    await client.send(GET)
    assert client.take() == HEAD + SERVER + DATE + b"connection: close\r\n\r\nhello"


@pytest.mark.parametrize(
    ("status", "body"), [(200, b"longer than that"), (200, b""), (200.0, b"hello"), (True, b"hello")]
)
async def test_a_response_that_breaks_the_rules_is_a_fault_however_often_its_head_was_sent(
    status: object, body: bytes
) -> None:
    app, client, _ = await greeted()
    app.status, app.body = status, {"type": "http.response.body", "body": body}
    await client.send(GET)
    assert client.take().startswith(b"HTTP/1.1 500 ")


async def test_a_body_in_pieces_begins_with_the_head_that_is_repeated_otherwise() -> None:
    app, client, _ = await greeted()
    app.body = {"type": "http.response.body", "body": b"hello", "more_body": True}
    client.transport.writes.clear()
    await client.send(GET)
    assert client.take().startswith(WHOLE)


async def test_the_bytes_of_a_repeated_head_are_counted() -> None:
    _, client, context = await greeted()
    context.count_in(tally := Tally())
    await client.send(GET)
    assert client.take() == WHOLE
    assert tally.counters(context.begun).sent == len(WHOLE)
