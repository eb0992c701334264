"""What a client may send at most: request line, fields, head, body; what it is told, and what the application sees."""

import pytest

from corehttp.asgi import ASGIApp, Receive, Scope, Send
from corehttp.protocols.http1.wire import refusal
from corehttp.protocols.limits import Limits
from corehttp.protocols.observers import AccessRecord
from tests.kit.apps import Held, Recorder, answer, echo, hello
from tests.kit.cuts import serve_every_cut
from tests.kit.fakes import LINES, Client, MakeParser, make_context

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LINE_TOO_LONG = refusal(414, "the request line must not be longer than 40 bytes", LINES)
TOO_MANY_FIELDS = refusal(431, "a request must not have more than 3 fields", LINES)
HEAD_TOO_LARGE = refusal(431, "the fields of a request must not be larger than 90 bytes", LINES)
BODY_TOO_LARGE = refusal(413, "the body of a request must not be larger than 5 bytes", LINES)
LIMITS = Limits(request_line=40, request_fields=3, request_head=90, request_body=5)


def line_of(size: int) -> bytes:
    return b"GET /".ljust(size - 9, b"a") + b" HTTP/1.1\r\nHost: a\r\n\r\n"


def head_of(size: int) -> bytes:
    start = b"GET / HTTP/1.1\r\nHost: a\r\nX: "
    return start.ljust(size - 4, b"a") + b"\r\n\r\n"


def fields_of(count: int) -> bytes:
    return b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * (count - 1) + b"\r\n"


def post(length: int, *fields: bytes) -> bytes:
    lines = [b"POST / HTTP/1.1", b"Host: a", b"Content-Length: %d" % length, *fields, b"", b""]
    return b"\r\n".join(lines)


CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


# Heads.


@pytest.mark.parametrize("raw", [line_of(40), head_of(90), fields_of(3)], ids=["line", "head", "fields"])
async def test_a_head_at_the_limit_is_served(parser: MakeParser, raw: bytes) -> None:
    outcome = await serve_every_cut(raw + raw, parser, hello, limits=LIMITS)
    assert outcome.received == answer(b"hello") * 2
    assert not outcome.closed


@pytest.mark.parametrize(
    ("raw", "received"),
    [
        (line_of(41), LINE_TOO_LONG),
        (line_of(80), LINE_TOO_LONG),
        (head_of(91), HEAD_TOO_LARGE),
        (head_of(92), HEAD_TOO_LARGE),
        (head_of(93), HEAD_TOO_LARGE),
        (head_of(200), HEAD_TOO_LARGE),
        (fields_of(4), TOO_MANY_FIELDS),
        (fields_of(6), TOO_MANY_FIELDS),
    ],
)
@pytest.mark.parametrize("before", [b"", GET])
async def test_a_head_beyond_a_limit_is_refused_in_every_cut(
    parser: MakeParser, raw: bytes, received: bytes, before: bytes
) -> None:
    outcome = await serve_every_cut(before + raw + GET, parser, hello, limits=LIMITS)
    assert outcome.received == (answer(b"hello") if before else b"") + received
    assert outcome.closed
    assert len(outcome.scopes) == bool(before)


@pytest.mark.parametrize(
    ("start", "received"),
    [
        (line_of(41)[:41], LINE_TOO_LONG),
        (head_of(91)[:91], HEAD_TOO_LARGE),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: " + b"a" * 63, HEAD_TOO_LARGE),
        (b"GET / HTTP/1.1\r\n" + b"X:y\r\n" * 4, TOO_MANY_FIELDS),
    ],
)
async def test_a_head_beyond_a_limit_is_refused_before_it_is_whole(
    parser: MakeParser, start: bytes, received: bytes
) -> None:
    client = Client(make_context(hello, parser, limits=LIMITS))
    await client.send(start[:-1])
    assert client.received == b""
    await client.send(start[-1:])
    assert client.received == received
    assert client.transport.calls == ["write_eof"]


async def test_the_usual_limits_let_usual_requests_through(parser: MakeParser) -> None:
    line = b"GET /" + b"a" * (8192 - 14) + b" HTTP/1.1\r\n"
    field = b"X-Large: " + b"a" * 500 + b"\r\n"
    raw = line + b"Host: a\r\n" + field * 99 + b"\r\n"
    assert len(raw) < 65536
    client = Client(make_context(hello, parser))
    await client.send(raw, raw[:9000], raw[9000:])
    assert client.received == answer(b"hello") * 2


async def test_no_limit_on_a_body_is_the_default(parser: MakeParser) -> None:
    client = Client(make_context(Held(), parser))
    await client.send(post(10**15).replace(b"/ ", b"/slow "))
    assert client.received == b""


async def test_each_limit_stands_by_itself(parser: MakeParser) -> None:
    raw = b"GET /".ljust(9000, b"a") + b" HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 150 + b"\r\n"
    for limits, status in (
        (Limits(), 414),
        (Limits(request_line=10_000), 431),
        (Limits(request_fields=200), 414),
        (Limits(request_line=10_000, request_fields=200), 200),
        (Limits(request_line=10_000, request_fields=200, request_head=len(raw)), 200),
        (Limits(request_line=10_000, request_fields=200, request_head=len(raw) - 1), 431),
    ):
        client = Client(make_context(hello, parser, limits=limits))
        await client.send(raw)
        assert client.received.startswith(b"HTTP/1.1 %d " % status), limits


# Bodies.


async def test_a_body_at_the_limit_reaches_the_application(parser: MakeParser) -> None:
    raw = post(5) + b"abcde" + CHUNKED + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    outcome = await serve_every_cut(raw, parser, echo, limits=Limits(request_body=5))
    assert outcome.received == answer(b"/=abcde") * 2
    assert not outcome.closed


@pytest.mark.parametrize("fields", [[], [b"Expect: 100-continue"]], ids=["", "expects 100"])
@pytest.mark.parametrize("length", [6, 10**18])
async def test_a_body_that_announces_too_much_is_refused_before_the_application_runs(
    parser: MakeParser, length: int, fields: list[bytes]
) -> None:
    raw = post(length, *fields)
    outcome = await serve_every_cut(raw + b"abcdef", parser, echo, limits=Limits(request_body=5))
    assert outcome.received == BODY_TOO_LARGE
    assert outcome.closed
    assert outcome.scopes == []


async def test_a_request_whose_body_announces_too_much_waits_for_the_answers_before_it(parser: MakeParser) -> None:
    app = Held()
    client = Client(make_context(app, parser, limits=Limits(request_body=5)))
    await client.send(GET.replace(b"/ ", b"/slow ") + post(6))
    assert client.received == b""
    app.release.set()
    await client.wait()
    assert client.received == answer(b"/slow") + BODY_TOO_LARGE


@pytest.mark.parametrize("large", [b"6\r\n", b"5\r\nabcde\r\n1\r\n", b"1\r\na\r\n5\r\nbcdef\r\n"])
async def test_a_chunked_body_that_becomes_too_large_is_refused(parser: MakeParser, large: bytes) -> None:
    records: list[AccessRecord] = []
    recorder = Recorder(echo)
    context = make_context(recorder, parser, limits=Limits(request_body=5), records=records)
    client = Client(context)
    await client.send(CHUNKED, large)
    assert client.received == BODY_TOO_LARGE
    assert client.transport.calls == ["write_eof"]
    assert recorder.messages[0][-1] == "http.disconnect"
    assert [record[1:6] for record in records] == [("POST", "/", "1.1", 413, 0)]
    assert not context.running


async def test_a_chunked_body_that_becomes_too_large_is_refused_after_continue_too(parser: MakeParser) -> None:
    client = Client(make_context(echo, parser, limits=Limits(request_body=5)))
    await client.send(CHUNKED.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
    assert client.take() == CONTINUE
    await client.send(b"6\r\nabcdef\r\n0\r\n\r\n")
    assert client.received == BODY_TOO_LARGE


async def test_a_chunked_body_that_becomes_too_large_cuts_a_response_in_progress(parser: MakeParser) -> None:
    records: list[AccessRecord] = []
    context = make_context(stream_until_disconnect, parser, limits=Limits(request_body=5), records=records)
    client = Client(context)
    await client.send(CHUNKED, b"6\r\nabcdef\r\n0\r\n\r\n")
    assert client.received == b"HTTP/1.1 200 OK\r\n" + LINES + b"transfer-encoding: chunked\r\n\r\n1\r\na\r\n"
    assert client.transport.calls == ["close"]
    assert [record[4:6] for record in records] == [(200, 1)]
    assert not context.running


async def test_a_chunked_body_that_becomes_too_large_behind_its_response_closes_the_connection(
    parser: MakeParser,
) -> None:
    client = Client(make_context(hello, parser, limits=Limits(request_body=5)))
    await client.send(CHUNKED, b"6\r\nabcdef\r\n0\r\n\r\n" + GET)
    assert client.received == answer(b"hello")
    assert client.transport.calls == ["write_eof"]


async def test_a_chunked_body_that_becomes_too_large_before_its_turn_is_never_begun(parser: MakeParser) -> None:
    app = Held()
    recorder = Recorder(app)
    client = Client(make_context(recorder, parser, limits=Limits(request_body=5)))
    await client.send(GET.replace(b"/ ", b"/slow ") + CHUNKED, b"6\r\n")
    app.release.set()
    await client.wait()
    assert client.received == answer(b"/slow") + BODY_TOO_LARGE
    assert [scope["path"] for scope in recorder.scopes] == ["/slow"]


@pytest.mark.parametrize("app", [echo, hello], ids=["read", "not read"])
async def test_the_trailers_of_a_body_have_the_limits_of_a_head(parser: MakeParser, app: ASGIApp) -> None:
    limits = Limits(request_fields=3, request_head=90)
    good = CHUNKED + b"0\r\n" + b"X: y\r\n" * 3 + b"\r\n"
    client = Client(make_context(app, parser, limits=limits))
    await client.send(good + good)
    assert client.received.count(b"HTTP/1.1 200 OK\r\n") == 2
    for bad in (b"X: y\r\n" * 4, b"X: ".ljust(91, b"a")):
        client = Client(make_context(echo, parser, limits=limits))
        await client.send(CHUNKED, b"0\r\n" + bad)
        assert client.received in (TOO_MANY_FIELDS, HEAD_TOO_LARGE)


async def stream_until_disconnect(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"a", "more_body": True})
    while (await receive())["type"] != "http.disconnect":
        pass
