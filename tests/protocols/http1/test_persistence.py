"""What becomes of a connection after a response: it is kept, closed, or its next request is answered (RFC 9112, 9)."""

import pytest

from corehttp.asgi import Receive, Scope, Send
from tests.kit.apps import PLAIN, Held, Recorder, Sender, answer, echo, hello, tell_path
from tests.kit.cuts import serve_every_cut
from tests.kit.fakes import KEEP_ALIVE, NOW, Client, FakeTransport, MakeParser, make_context

CLOSE = b"connection: close\r\n"
KEPT = b"connection: keep-alive\r\n"


def get(path: bytes, *fields: bytes, version: bytes = b"1.1") -> bytes:
    lines = [b"GET %b HTTP/%b" % (path, version), b"Host: a", *fields, b"", b""]
    return b"\r\n".join(lines)


@pytest.mark.parametrize(
    ("version", "fields", "connection", "closed"),
    [
        (b"1.1", [], b"", False),
        (b"1.1", [b"Connection: keep-alive"], b"", False),
        (b"1.1", [b"Connection: Keep-Alive"], b"", False),
        (b"1.1", [b"Connection: x"], b"", False),
        (b"1.1", [b"Connection: closed"], b"", False),
        (b"1.1", [b"Connection:"], b"", False),
        (b"1.1", [b"Keep-Alive: timeout=5"], b"", False),
        (b"1.1", [b"Connection: close"], CLOSE, True),
        (b"1.1", [b"Connection: CLOSE"], CLOSE, True),
        (b"1.1", [b"Connection: x, close"], CLOSE, True),
        (b"1.1", [b"Connection: x ,\tclose\t, y"], CLOSE, True),
        (b"1.1", [b"Connection: close", b"Connection: x"], CLOSE, True),
        (b"1.1", [b"Connection: x", b"Connection: close"], CLOSE, True),
        (b"1.1", [b"Connection: keep-alive, close"], CLOSE, True),
        (b"1.0", [], CLOSE, True),
        (b"1.0", [b"Connection: close"], CLOSE, True),
        (b"1.0", [b"Connection: x"], CLOSE, True),
        (b"1.0", [b"Connection: keep-alive, close"], CLOSE, True),
        (b"1.0", [b"Connection: keep-alive"], KEPT, False),
        (b"1.0", [b"Connection: Keep-Alive"], KEPT, False),
        (b"1.0", [b"Connection: x, keep-alive"], KEPT, False),
        (b"1.0", [b"Connection: x", b"Connection: keep-alive"], KEPT, False),
    ],
)
async def test_version_and_connection_field_decide_whether_a_connection_is_kept(
    parser: MakeParser, version: bytes, fields: list[bytes], connection: bytes, closed: bool
) -> None:
    outcome = await serve_every_cut(get(b"/", *fields, version=version), parser, hello)
    assert outcome.received == answer(b"hello", connection=connection)
    assert outcome.closed is closed


async def test_http_1_0_needs_no_host(parser: MakeParser) -> None:
    outcome = await serve_every_cut(b"GET /a HTTP/1.0\r\n\r\n", parser, tell_path)
    assert outcome.received == answer(b"/a", connection=CLOSE)
    assert outcome.scopes[0]["http_version"] == "1.0"


async def test_nothing_after_the_last_request_is_served(parser: MakeParser) -> None:
    outcome = await serve_every_cut(get(b"/1", b"Connection: close") + get(b"/2"), parser, tell_path)
    assert outcome.received == answer(b"/1", connection=CLOSE)
    assert outcome.closed


async def test_requests_on_a_kept_connection_of_http_1_0_are_all_answered(parser: MakeParser) -> None:
    request = get(b"/", b"Connection: keep-alive", version=b"1.0")
    outcome = await serve_every_cut(request + request, parser, hello)
    assert outcome.received == answer(b"hello", connection=KEPT) * 2


@pytest.mark.parametrize("name", [b"connection", b"Connection"])
async def test_the_application_may_ask_for_the_end_of_the_connection(parser: MakeParser, name: bytes) -> None:
    app = Sender(
        {"type": "http.response.start", "status": 200, "headers": [*PLAIN, (name, b"Close")]},
        {"type": "http.response.body", "body": b"bye"},
    )
    outcome = await serve_every_cut(get(b"/1") + get(b"/2"), parser, app)
    assert outcome.received == answer(b"bye", connection=CLOSE)
    assert outcome.closed


async def test_pipelined_requests_are_answered_in_order(parser: MakeParser) -> None:
    body = b"POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
    chunked = b"PUT /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n0\r\n\r\n"
    outcome = await serve_every_cut(get(b"/1") + body + chunked + get(b"/4"), parser, echo)
    assert outcome.received == answer(b"/1=") + answer(b"/2=abc") + answer(b"/3=de") + answer(b"/4=")
    assert [scope["path"] for scope in outcome.scopes] == ["/1", "/2", "/3", "/4"]


async def test_pipelined_requests_wait_for_a_slow_first_one(parser: MakeParser) -> None:
    app = Held()
    recorder = Recorder(app)
    client = Client(make_context(recorder, parser))
    await client.send(get(b"/slow") + get(b"/2"), get(b"/3"))
    assert client.received == b""
    assert [scope["path"] for scope in recorder.scopes] == ["/slow"]
    app.release.set()
    await client.wait()
    assert client.received == answer(b"/slow") + answer(b"/2") + answer(b"/3")


async def test_the_next_request_need_not_wait_for_what_an_application_does_after_its_response(
    parser: MakeParser,
) -> None:
    held = Held()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await tell_path(scope, receive, send)
        await held.release.wait()

    context = make_context(app, parser)
    client = Client(context)
    await client.send(get(b"/1") + get(b"/2"))
    assert client.received == answer(b"/1") + answer(b"/2")
    assert len(context.running) == 2
    held.release.set()
    await client.wait()
    assert not context.running


async def test_reading_pauses_when_many_requests_wait_behind_a_slow_one(parser: MakeParser) -> None:
    app = Held()
    client = Client(make_context(app, parser))
    await client.send(get(b"/slow"), *[get(b"/next")] * 20)
    assert not client.transport.reading
    app.release.set()
    for _ in range(10):
        await client.wait()
    assert client.transport.reading
    assert client.received == answer(b"/slow") + answer(b"/next") * 20


async def test_a_burst_of_pipelined_requests_is_answered_whole(parser: MakeParser) -> None:
    app = Held()
    client = Client(make_context(app, parser))
    await client.send(get(b"/slow") + get(b"/next") * 100)
    assert not client.transport.reading
    app.release.set()
    for _ in range(30):
        await client.wait()
    assert client.received == answer(b"/slow") + answer(b"/next") * 100
    assert client.transport.reading


async def test_an_idle_connection_closes_when_the_client_ends_its_side(parser: MakeParser) -> None:
    client = Client(make_context(hello, parser))
    await client.send(get(b"/"))
    await client.hang_up()
    assert client.transport.calls == ["close"]


async def test_a_connection_with_half_a_request_closes_when_the_client_ends_its_side(parser: MakeParser) -> None:
    client = Client(make_context(hello, parser))
    await client.send(b"GET / HTTP/1.1\r\n")
    await client.hang_up()
    assert client.received == b""
    assert client.transport.calls == ["close"]


async def test_a_client_that_ended_its_side_still_gets_its_answer(parser: MakeParser) -> None:
    app = Held()
    client = Client(make_context(app, parser))
    await client.send(get(b"/slow"))
    await client.hang_up()
    assert client.transport.calls == []
    app.release.set()
    await client.wait()
    assert client.received == answer(b"/slow", connection=CLOSE)
    assert client.transport.calls == ["close"]


async def test_a_client_that_ended_its_side_still_gets_all_its_answers(parser: MakeParser) -> None:
    app = Held()
    client = Client(make_context(app, parser))
    await client.send(get(b"/slow") + get(b"/2"))
    await client.hang_up()
    app.release.set()
    await client.wait()
    assert client.received == answer(b"/slow") + answer(b"/2", connection=CLOSE)
    assert client.transport.calls == ["close"]


async def test_a_draining_worker_closes_after_its_next_response(parser: MakeParser) -> None:
    context = make_context(hello, parser)
    client = Client(context)
    await client.send(get(b"/"))
    context.draining = True
    await client.send(get(b"/"))
    assert client.received == answer(b"hello") + answer(b"hello", connection=CLOSE)
    assert client.closed


async def test_a_new_connection_must_send_within_the_keep_alive_time(parser: MakeParser) -> None:
    context = make_context(hello, parser)
    client = Client(context)
    assert client.connection.deadline == NOW + KEEP_ALIVE
    context.clock.update(NOW + KEEP_ALIVE, 0)
    client.connection.expire()
    assert client.transport.calls == ["close"]


async def test_the_keep_alive_time_runs_from_the_end_of_a_response(parser: MakeParser) -> None:
    app = Held()
    context = make_context(app, parser)
    client = Client(context)
    await client.send(get(b"/slow"))
    assert client.connection.deadline == float("inf")
    assert not client.connection.idle
    context.clock.update(NOW + 100, 0)
    app.release.set()
    await client.wait()
    assert client.connection.idle
    context.clock.update(NOW + 100 + KEEP_ALIVE - 0.1, 0)
    assert client.connection.deadline <= context.clock.now  # it forgets the last request long before its end
    client.connection.expire()
    assert client.transport.calls == []
    assert client.connection.deadline == NOW + 100 + KEEP_ALIVE
    context.clock.update(NOW + 100 + KEEP_ALIVE, 0)
    client.connection.expire()
    assert client.transport.calls == ["close"]


@pytest.mark.parametrize(
    ("field", "pieces"),
    [
        (b"Content-Length: 6", [b"abcdef"]),
        (b"Content-Length: 6", [b"abc", b"def"]),
        (b"Transfer-Encoding: chunked", [b"6\r\nabcdef\r\n0\r\n\r\n"]),
        (b"Transfer-Encoding: chunked", [b"6\r\nabc", b"def\r\n", b"0\r\n\r\n"]),
    ],
)
async def test_the_keep_alive_time_runs_from_the_end_of_a_body_that_comes_after_its_response(
    parser: MakeParser, field: bytes, pieces: list[bytes]
) -> None:
    context = make_context(hello, parser)
    client = Client(context)
    await client.send(b"POST / HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % field)
    assert client.received == answer(b"hello")
    for piece in pieces:
        assert not client.connection.idle
        context.clock.update(context.clock.now + 1, 0)
        await client.send(piece)
    assert client.connection.idle
    end = context.clock.now + KEEP_ALIVE
    assert client.connection.deadline <= end
    for due, calls in ((end - 0.1, []), (end, ["close"])):
        context.clock.update(due, 0)
        client.connection.expire()
        assert client.transport.calls == calls


async def test_a_slow_pipelined_request_has_no_keep_alive_deadline(parser: MakeParser) -> None:
    app = Held()
    client = Client(make_context(app, parser))
    await client.send(get(b"/1") + get(b"/slow"))
    assert client.received == answer(b"/1")
    assert client.connection.deadline == float("inf")


async def test_a_slow_request_behind_a_discarded_body_has_no_keep_alive_deadline(parser: MakeParser) -> None:
    app = Held()
    client = Client(make_context(app, parser))
    await client.send(b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n", b"abc" + get(b"/slow"))
    assert client.received == answer(b"/1")
    assert client.connection.deadline == float("inf")


@pytest.mark.parametrize(("half_closes", "call"), [(True, "write_eof"), (False, "close")])
async def test_a_connection_lingers_after_a_close_that_the_client_did_not_ask_for(
    parser: MakeParser, half_closes: bool, call: str
) -> None:
    context = make_context(hello, parser)
    client = Client(context, FakeTransport(half_closes=half_closes))
    context.draining = True
    await client.send(get(b"/"))
    assert client.transport.calls == [call]
    assert client.connection.deadline == NOW + 2
    if half_closes:
        await client.send(get(b"/more"))
        assert client.received == answer(b"hello", connection=CLOSE)


async def test_a_lingering_connection_is_cut_only_when_all_is_written(parser: MakeParser) -> None:
    context = make_context(hello, parser)
    client = Client(context)
    context.draining = True
    await client.send(get(b"/"))
    client.transport.buffered = 1
    context.clock.update(NOW + 2, 0)
    client.connection.expire()
    assert client.transport.calls == ["write_eof"]
    assert client.connection.deadline == NOW + 4
    client.transport.buffered = 0
    client.connection.expire()
    assert client.transport.calls == ["write_eof", "abort"]


async def test_the_worker_may_close_an_idle_connection_and_cut_a_busy_one(parser: MakeParser) -> None:
    context = make_context(Held(), parser)
    idle, busy = Client(context), Client(context)
    await busy.send(get(b"/slow"))
    idle.connection.close()
    busy.connection.cut()
    assert idle.transport.calls == ["close"]
    assert busy.transport.calls == ["abort"]
    await busy.lose()
    (exchange,) = context.running
    exchange.cancel()
    await busy.wait()
    assert not context.running
