"""What a worker counts: responses, requests without one, refusals, bytes, times; whatever protocol a client speaks."""

import asyncio
import logging
from bisect import bisect_left
from collections.abc import Callable
from itertools import product
from time import monotonic

import pytest

from corehttp.asgi import ASGIApp, Receive, Scope, Send
from corehttp.ipc.counters import BOUNDS, BUCKETS, OTHER, Counters
from corehttp.protocols import tally as tally_module
from corehttp.protocols.admission import Admission
from corehttp.protocols.context import WorkerContext
from corehttp.protocols.http1 import request_heads as heads_module
from corehttp.protocols.http1 import writer as writer_module
from corehttp.protocols.limits import Limits
from corehttp.protocols.tally import Tally
from corehttp.protocols.websocket.writer import Settings
from tests.kit.apps import Held, Sender, echo, hello, respond, tell_path
from tests.kit.connections import Opened
from tests.kit.fakes import Client, FakeTimers, MakeParser, make_context, pass_time
from tests.kit.websocket_client import (
    ACCEPT,
    CONNECT,
    TEXT,
    Puppet,
    WebSocketClient,
    accepted,
    handshake,
    masked,
    text,
    unmasked,
    websocket_context,
)

GET = b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"
LIMITS = Limits(keep_alive=500, request_header=10, request_body_stall=10, write_stall=30, request=20, request_body=100)


def counted(app: ASGIApp, parser: MakeParser, limits: Limits = LIMITS) -> tuple[WorkerContext, Callable[[], Counters]]:
    """A context that counts, and what tells what it has counted."""
    return counting(make_context(app, parser, limits=limits))


def counting(context: WorkerContext) -> tuple[WorkerContext, Callable[[], Counters]]:
    """The context, which counts from now on, and what tells what it has counted."""
    tally = Tally()
    context.count_in(tally)
    return context, lambda: tally.counters(context.begun)


def some(reasons: Counters, kind: str) -> dict[str, int]:
    """The reasons of this kind, `refused` or `aborted`, that were counted."""
    return {reason: count for reason, count in getattr(reasons, kind).items() if count}


async def status_of_path(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the status that the path says."""
    await respond(send, b"", int(scope["path"][1:]))


async def respond_sized(send: Send, body: bytes, status: int) -> None:
    """Answers with a declared length, which a head needs in order to be remembered whole."""
    fields = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})


async def test_responses_are_counted_by_method_and_status(parser: MakeParser) -> None:
    context, counters = counted(status_of_path, parser)
    client = Client(context)
    for method, status in [(b"GET", 200), (b"GET", 200), (b"GET", 404), (b"PUT", 201), (b"HEAD", 500)]:
        await client.send(b"%b /%d HTTP/1.1\r\nHost: a\r\n\r\n" % (method, status))
    assert counters().requests == {
        ("GET", 200): 2,
        ("GET", 404): 1,
        ("PUT", 201): 1,
        ("HEAD", 500): 1,
    }
    assert counters().duration.count == counters().begun == counters().queue_time.count == 5


async def test_every_byte_is_counted_that_comes_and_goes(parser: MakeParser, opened: Opened) -> None:
    source = opened(50_000)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        match scope["path"]:
            case "/chunked":
                await send({"type": "http.response.start", "status": 200})
                for piece in (b"", b"x" * 10, b"y" * 40_000):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                await send({"type": "http.response.body"})
            case "/large":
                await respond(send, b"x" * 100_000)
            case "/file":
                await send({"type": "http.response.start", "status": 200})
                message = {"type": "http.response.zerocopysend", "file": source.descriptor, "count": 50_000}
                await send({**message, "offset": 0})
            case _:
                await echo(scope, receive, send)

    context, counters = counted(app, parser, Limits())
    context.extensions["http.response.zerocopysend"] = {}
    client = Client(context)
    sent = 0
    for path in (b"/chunked", b"/large", b"/file", b"/echo"):
        raw = b"POST %b HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n" % path
        sent += len(raw) + 5
        await client.send(raw, b"hello")
    await client.send(b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n")
    sent += 29
    assert counters().received == sent
    assert counters().sent == len(client.received)


async def test_requests_behind_each_other_are_all_counted(parser: MakeParser) -> None:
    context, counters = counted(tell_path, parser)
    client = Client(context)
    await client.send(GET * 50)
    assert counters().requests == {("GET", 200): 50}
    assert counters().received == 50 * len(GET)


async def test_responses_like_the_one_before_are_counted_one_by_one(parser: MakeParser) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body = b"hello" if scope["path"] == "/hello" else b"good day"
        await respond_sized(send, body, 200 if scope["method"] == "GET" else 202)

    context, counters = counted(app, parser)
    client = Client(context)
    expected: dict[tuple[str, int], int] = {}
    for method, path, status, times in [
        ("GET", "/hello", 200, 7),
        ("POST", "/hello", 202, 5),
        ("GET", "/hello", 200, 6),
        ("GET", "/day", 200, 5),
        ("HEAD", "/day", 202, 4),
        ("PUT", "/day", 202, 6),
        ("POST", "/day", 202, 6),
    ]:
        for _ in range(times):
            await client.send(f"{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            expected[method, status] = expected.get((method, status), 0) + 1
            assert counters().requests == expected
            assert counters().sent == len(client.received)
    assert counters().duration.count == counters().begun == 39


async def test_the_duration_of_each_response_is_counted(parser: MakeParser, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    for module in (heads_module, tally_module, writer_module):
        monkeypatch.setattr(module, "monotonic", lambda: now[0])

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        now[0] += float(scope["path"][1:])
        await respond_sized(send, b"hello", 200)

    context, counters = counted(app, parser)
    client = Client(context)
    expected = [0] * BUCKETS
    durations = [0.0, 0.0001, 0.0001, 0.0001, 0.003, 0.004, 0.0001, 0.0006, 4.0, 4.5, 70.0, 20.0, 0.0, 0.06]
    for methods, looks in [(["GET"], False), (["GET", "GET", "POST"], False), (["GET", "GET", "POST"], True)]:
        for seconds, method in product(durations, methods):
            await client.send(f"{method} /{seconds:f} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            expected[bisect_left(BOUNDS, seconds)] += 1
            if looks:  # which ends a run
                assert counters().duration.counts == tuple(expected)
        assert counters().duration.counts == tuple(expected)
    assert counters().duration.seconds == pytest.approx(7 * sum(durations))


async def test_a_fault_of_the_application_is_an_exception_and_a_500(
    parser: MakeParser, error_log: list[logging.LogRecord]
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("boom")

    context, counters = counted(app, parser)
    await Client(context).send(GET)
    assert counters().requests == {("GET", 500): 1}
    assert (counters().exceptions, counters().errors) == (1, 1)
    assert len(error_log) == 1


async def test_a_response_that_the_application_breaks_off_is_no_response(
    parser: MakeParser, error_log: list[logging.LogRecord]
) -> None:
    start = {"type": "http.response.start", "status": 200}
    context, counters = counted(Sender(start, {"type": "http.response.body", "body": b"a", "more_body": True}), parser)
    client = Client(context)
    await client.send(GET)
    await client.lose()
    assert counters().requests == {}
    assert some(counters(), "aborted") == {"error": 1}
    assert len(error_log) == 1


async def test_a_client_that_leaves_has_had_no_response_and_is_no_error(parser: MakeParser) -> None:
    context, counters = counted(Held(), parser)
    client = Client(context)
    await client.send(GET)
    await client.lose()
    assert (some(counters(), "aborted"), counters().errors, counters().begun) == ({"client": 1}, 0, 1)


async def test_what_is_cut_at_the_end_of_the_graceful_time_is_counted_as_that(parser: MakeParser) -> None:
    context, counters = counted(Held(), parser)
    client = Client(context)
    await client.send(GET)
    context.cutting = True
    client.connection.cut()
    await client.lose()
    assert some(counters(), "aborted") == {"cut": 1}


async def test_a_request_that_takes_too_long_is_a_504_or_cut(
    parser: MakeParser, error_log: list[logging.LogRecord]
) -> None:
    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await asyncio.Event().wait()

    expected: list[tuple[ASGIApp, dict[tuple[str, int], int], dict[str, int]]] = [
        (Held(), {("GET", 504): 1}, {}),
        (stream, {}, {"timeout": 1}),
    ]
    for app, responses, aborted in expected:
        context, counters = counted(app, parser)
        client = Client(context)
        await client.send(GET)
        await pass_time(context, 30)
        await client.lose()
        assert (counters().requests, some(counters(), "aborted")) == (responses, aborted)


async def test_a_client_that_takes_nothing_is_a_timeout(parser: MakeParser, error_log: list[logging.LogRecord]) -> None:
    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        for _ in range(2):
            await send({"type": "http.response.body", "body": b"a", "more_body": True})

    context, counters = counted(stream, parser, Limits(write_stall=5))
    client = Client(context)
    client.transport.full, client.transport.buffered = True, 100
    await client.send(GET)
    await pass_time(context, 10)
    assert "abort" in client.transport.calls
    await client.lose()
    assert some(counters(), "aborted") == {"timeout": 1}


@pytest.mark.parametrize(
    ("raw", "response", "reason"),
    [
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", ("GET", 400), "malformed"),
        (b"nonsense\r\n\r\n", (OTHER, 400), "malformed"),
        (b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", (OTHER, 501), "unsupported"),
        (b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\n\r\n", ("PUT", 413), "too_large"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"x" * 100_000, ("GET", 431), "too_large"),
        (b"GET /" + b"x" * 100_000, ("GET", 414), "too_large"),
        (b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", ("GET", 505), "unsupported"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", ("POST", 501), "unsupported"),
    ],
)
async def test_a_refusal_is_a_response_with_a_reason(
    parser: MakeParser, raw: bytes, response: tuple[str, int], reason: str, error_log: list[logging.LogRecord]
) -> None:
    context, counters = counted(hello, parser)
    client = Client(context)
    await client.send(raw)
    assert counters().requests == {response: 1}
    assert some(counters(), "refused") == {reason: 1}
    assert (counters().begun, counters().duration.count) == (0, 0)
    assert counters().sent == len(client.received)


async def test_what_comes_too_slowly_is_refused(parser: MakeParser, error_log: list[logging.LogRecord]) -> None:
    context, counters = counted(Held(), parser)
    head, body = Client(context), Client(context)
    await head.send(GET[:20])
    await body.send(b"POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na")
    await pass_time(context, 15)
    assert counters().requests == {("GET", 408): 1, ("POST", 408): 1}
    assert some(counters(), "refused") == {"too_slow": 2}
    assert some(counters(), "aborted") == {}


async def test_what_finds_no_room_is_counted_by_the_admission(
    parser: MakeParser, error_log: list[logging.LogRecord]
) -> None:
    context, counters = counted(Held(), parser)
    context.admission = Admission(context.running, FakeTimers(), limit=1, queue=0, queue_timeout=2)
    for client in (Client(context), Client(context), Client(context)):
        await client.send(GET)
    assert counters().requests == {("GET", 503): 2}
    assert (context.admission.refused, context.admission.waiting) == (2, 0)
    assert counters().begun == 1


@pytest.mark.parametrize("seconds", [0.0, 0.0001, 0.00026, 0.003, 0.07, 9.9, 10.1, 1e6])
def test_a_duration_is_counted_in_its_bucket(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr(tally_module, "monotonic", lambda: 1000.0 + seconds)
    tally = Tally()
    tally.count_response("GET", 200, 1000.0)
    tally.count_wait(1000.0)
    bucket = next((number for number, bound in enumerate(BOUNDS) if seconds <= bound), len(BOUNDS))
    counters = tally.counters(begun=1)
    for histogram in (counters.duration, counters.queue_time):
        assert [number for number, count in enumerate(histogram.counts) if count] == [bucket]
    assert counters.duration.seconds == pytest.approx(seconds)


async def test_a_request_that_waits_for_another_one_has_a_time_in_the_queue(
    parser: MakeParser, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = [0.0]
    monkeypatch.setattr(tally_module, "monotonic", lambda: monotonic() + later[0])
    app = Held()
    context, counters = counted(app, parser)
    client = Client(context)
    await client.send(GET * 2)
    later[0] = 4.0
    app.release.set()
    await client.wait()
    waits = counters().queue_time
    assert waits.count == 2
    assert waits.counts[BOUNDS.index(5.0)] == 1
    assert 4.0 <= waits.seconds < 5.0


async def test_a_websocket_counts_like_any_request(parser: MakeParser) -> None:
    app = Puppet()
    context, counters = counting(websocket_context(app, parser, Settings()))
    client = WebSocketClient(context)
    hello_frame = masked(TEXT, b"hello")
    await client.send(handshake() + hello_frame)
    assert await app.receive() == CONNECT
    await app.send(ACCEPT)
    sent = len(client.take())
    assert counters().requests == {("GET", 101): 1}
    assert await app.receive() == text("hello")
    await client.send(masked(TEXT, b"x" * 1000))
    await app.receive()
    for size in (5, 1000):
        await app.send({"type": "websocket.send", "text": "y" * size})
        sent += len(unmasked(TEXT, b"y" * size))
    await client.send(masked(0x9, b"ping"))
    sent += len(unmasked(0xA, b"ping"))
    assert counters().received == len(handshake() + hello_frame + masked(TEXT, b"x" * 1000) + masked(0x9, b"ping"))
    assert counters().sent == sent
    await client.lose()
    app.end()
    await client.wait()
    assert some(counters(), "aborted") == {}


async def test_a_websocket_that_is_denied_or_never_answered_is_counted(parser: MakeParser) -> None:
    app = Puppet()
    context, counters = counting(websocket_context(app, parser, Settings()))
    client = WebSocketClient(context)
    await client.send(handshake())
    await app.receive()
    await app.send({"type": "websocket.close"})
    assert counters().requests == {("GET", 403): 1}
    await client.lose()
    app.end()
    await client.wait()

    other = Puppet()
    context, counters = counting(websocket_context(other, parser, Settings()))
    leaver = WebSocketClient(context)
    await leaver.send(handshake())
    await leaver.lose()
    assert some(counters(), "aborted") == {"client": 1}
    other.end()
    await leaver.wait()


async def test_a_websocket_for_which_there_is_no_room_is_an_overload(
    parser: MakeParser, error_log: list[logging.LogRecord]
) -> None:
    app = Puppet()
    context, counters = counting(websocket_context(app, parser, Settings()))
    await accepted(app, context)
    context.websocket_limit = 1
    await WebSocketClient(context).send(handshake())
    assert some(counters(), "refused") == {"overload": 1}
    assert counters().requests == {("GET", 101): 1, ("GET", 503): 1}
    app.end()
    await asyncio.sleep(0)
