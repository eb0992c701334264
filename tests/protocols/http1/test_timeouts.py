"""How long a client may take, and an application: heads, bodies, responses, whole requests, idle connections."""

import asyncio
import logging
import socket
import struct
from dataclasses import replace

import pytest

from corehttp.asgi import Message, Receive, Scope, Send
from corehttp.moments import NEVER
from corehttp.protocols.http1.wire import refusal
from corehttp.protocols.limits import Limits
from corehttp.protocols.observers import AccessRecord
from tests.kit.apps import Held, Recorder, answer, echo, hello, read_body, respond, tell_path
from tests.kit.fakes import LINES, Client, FakeTransport, MakeParser, make_context, pass_time

LIMITS = Limits(keep_alive=5, request_header=10, request_body_stall=20, write_stall=30)
LONG = 500  # seconds
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
SLOW = b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
HEAD_TOO_SLOW = refusal(408, "the head of a request came in too slowly", LINES)
BODY_TOO_SLOW = refusal(408, "a body came in too slowly", LINES)
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\n" + LINES + b"transfer-encoding: chunked\r\n\r\n1\r\na\r\n"


def post(length: int, *fields: bytes) -> bytes:
    lines = [b"POST / HTTP/1.1", b"Host: a", b"Content-Length: %d" % length, *fields, b"", b""]
    return b"\r\n".join(lines)


async def stream(scope: Scope, receive: Receive, send: Send) -> None:
    """Begins a response at once, and ends it never; reads until the client is gone."""
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"a", "more_body": True})
    while (await receive())["type"] != "http.disconnect":
        pass


async def read_until_gone(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


# A head.


@pytest.mark.parametrize("start", [b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r"])
async def test_a_head_that_is_not_whole_in_time_is_refused_with_408(
    parser: MakeParser, start: bytes, error_log: list[logging.LogRecord]
) -> None:
    records: list[AccessRecord] = []
    context = make_context(hello, parser, limits=LIMITS, records=records)
    client = Client(context)
    await client.send(start)
    await pass_time(context, 9)
    assert client.received == b""
    await pass_time(context, 1)
    assert client.received == HEAD_TOO_SLOW
    assert client.transport.calls == ["write_eof"]
    (record,) = error_log
    assert record.levelname == "WARNING"
    assert record.getMessage().endswith("the head of a request came in too slowly (408)")
    await client.send(GET)
    await pass_time(context, 2)
    assert client.received == HEAD_TOO_SLOW
    assert client.transport.calls == ["write_eof", "abort"]
    assert records == []


@pytest.mark.parametrize("before", [b"", GET])
async def test_half_an_empty_line_is_the_beginning_of_a_head(parser: MakeParser, before: bytes) -> None:
    context = make_context(hello, parser, limits=LIMITS)
    client = Client(context)
    await client.send(before + b"\r")
    client.take()
    await pass_time(context, 9)
    assert client.received == b""
    await pass_time(context, 1)
    assert client.received == HEAD_TOO_SLOW


async def test_a_whole_empty_line_gives_an_idle_connection_no_more_time(parser: MakeParser) -> None:
    context = make_context(hello, parser, limits=LIMITS)
    client = Client(context)
    await pass_time(context, 3)
    await client.send(b"\r", b"\n")
    assert client.connection.idle
    await pass_time(context, 1)
    assert not client.closed
    await pass_time(context, 1)
    assert client.closed
    assert client.received == b""


async def test_an_empty_line_before_a_head_gives_the_head_no_more_time(parser: MakeParser) -> None:
    context = make_context(hello, parser, limits=LIMITS)
    client = Client(context)
    await client.send(b"\r\nG")
    for _ in range(9):
        await client.send(b"E")
        await pass_time(context, 1)
    assert client.received == b""
    await pass_time(context, 1)
    assert client.received == HEAD_TOO_SLOW


async def test_further_bytes_of_a_head_do_not_give_it_more_time(parser: MakeParser) -> None:
    context = make_context(hello, parser, limits=LIMITS)
    client = Client(context)
    for byte in b"GET / HTTP":
        assert client.received == b""
        await client.send(bytes([byte]))
        await pass_time(context, 1)
    assert client.received == HEAD_TOO_SLOW


async def test_a_head_has_its_time_from_its_first_byte_on(parser: MakeParser) -> None:
    context = make_context(hello, parser, limits=LIMITS)
    client = Client(context)
    await pass_time(context, 4)
    await client.send(b"GET")
    await pass_time(context, 9)
    await client.send(b" / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert client.take() == answer(b"hello")
    await pass_time(context, 4)
    await client.send(b"GET")
    await pass_time(context, 9)
    assert client.received == b""
    await pass_time(context, 1)
    assert client.received == HEAD_TOO_SLOW


async def test_empty_lines_before_a_head_are_none_of_it(parser: MakeParser) -> None:
    context = make_context(hello, parser, limits=LIMITS)
    client = Client(context)
    for _ in range(4):
        await client.send(b"\r\n")
        await pass_time(context, 1)
    assert not client.closed
    await pass_time(context, 1)
    assert client.received == b""
    assert client.transport.calls == ["close"]  # as an idle connection


async def test_a_head_behind_a_request_in_progress_has_its_time_when_that_is_done(parser: MakeParser) -> None:
    app = Held()
    context = make_context(app, parser, limits=LIMITS)
    client = Client(context)
    await client.send(SLOW + GET[:5])
    await pass_time(context, 100)
    assert client.received == b""
    app.release.set()
    await client.wait()
    assert client.take() == answer(b"/slow")
    await pass_time(context, 9)
    assert client.received == b""
    await pass_time(context, 1)
    assert client.received == HEAD_TOO_SLOW


async def test_a_head_behind_a_request_that_is_done_at_once_has_its_time_from_then_on(parser: MakeParser) -> None:
    context = make_context(hello, parser, limits=LIMITS)
    client = Client(context)
    await client.send(GET + GET[:5])
    assert client.take() == answer(b"hello")
    await pass_time(context, 9)
    assert client.received == b""
    await pass_time(context, 1)
    assert client.received == HEAD_TOO_SLOW


@pytest.mark.parametrize("count", [1, 15, 16, 17, 40])
async def test_a_head_behind_many_requests_has_its_time_when_they_are_answered(parser: MakeParser, count: int) -> None:
    app = Held()
    context = make_context(app, parser, limits=LIMITS)
    client = Client(context)
    await client.send(SLOW + GET * count + GET[:5])
    await pass_time(context, 100)
    app.release.set()
    for _ in range(5):
        await client.wait()
    assert client.take() == answer(b"/slow") + answer(b"/") * count
    await pass_time(context, 9)
    assert client.received == b""
    await pass_time(context, 1)
    assert client.received == HEAD_TOO_SLOW


async def test_without_a_limit_a_head_has_all_the_time(parser: MakeParser) -> None:
    context = make_context(hello, parser, limits=replace(LIMITS, request_header=NEVER))
    client = Client(context)
    await client.send(GET[:5])
    await pass_time(context, LONG)
    await client.send(GET[5:])
    assert client.received == answer(b"hello")


# A body.


@pytest.mark.parametrize(
    "pieces",
    [
        [post(5)],
        [post(5) + b"ab"],
        [post(5), b"ab"],
        [CHUNKED],
        [CHUNKED, b"3\r\nab"],
        [CHUNKED + b"3\r\nabc\r\n0\r\n"],
    ],
)
async def test_a_body_that_stalls_is_refused_with_408(
    parser: MakeParser, pieces: list[bytes], error_log: list[logging.LogRecord]
) -> None:
    records: list[AccessRecord] = []
    recorder = Recorder(read_until_gone)
    context = make_context(recorder, parser, limits=LIMITS, records=records)
    client = Client(context)
    await client.send(*pieces)
    await pass_time(context, 19)
    assert client.received == b""
    await pass_time(context, 1)
    assert client.received == BODY_TOO_SLOW
    assert client.transport.calls == ["write_eof"]
    assert recorder.messages[0][-1] == "http.disconnect"
    assert "end of body" not in recorder.messages[0]
    assert [record[1:6] for record in records] == [("POST", "/", "1.1", 408, 0)]
    assert [record.getMessage()[-31:] for record in error_log] == ["a body came in too slowly (408)"]
    assert not context.running


@pytest.mark.parametrize("size", [1, 100, 200])
async def test_a_body_that_comes_in_below_the_minimum_rate_is_refused(parser: MakeParser, size: int) -> None:
    context = make_context(echo, parser, limits=LIMITS)
    client = Client(context)
    await client.send(post(10**6))
    seconds = 0
    while not client.received:
        await client.send(bytes(size))
        await pass_time(context, 1)
        seconds += 1
    assert client.received == BODY_TOO_SLOW
    assert 20 <= seconds <= 20 / (1 - size / 240) + 2


async def test_a_body_that_comes_in_at_the_minimum_rate_has_all_the_time(parser: MakeParser) -> None:
    context = make_context(echo, parser, limits=LIMITS)
    client = Client(context)
    await client.send(post(240 * 300))
    for _ in range(300):
        assert client.received == b""
        await pass_time(context, 1)
        await client.send(bytes(240))
    assert client.received == answer(b"/=" + bytes(240 * 300))


async def test_a_body_may_rest_shorter_than_its_time_again_and_again(parser: MakeParser) -> None:
    context = make_context(echo, parser, limits=LIMITS)
    client = Client(context)
    await client.send(post(6000 * 5))
    for _ in range(5):
        await pass_time(context, 19)
        assert client.received == b""
        await client.send(bytes(6000))
    assert client.received == answer(b"/=" + bytes(6000 * 5))


async def test_the_next_body_has_a_time_of_its_own(parser: MakeParser) -> None:
    context = make_context(echo, parser, limits=LIMITS)
    client = Client(context)
    for _ in range(5):
        await client.send(post(3), b"a")
        await pass_time(context, 19)
        await client.send(b"bc")
        assert client.take() == answer(b"/=abc")


async def test_a_stalled_body_cuts_a_response_in_progress(parser: MakeParser) -> None:
    records: list[AccessRecord] = []
    context = make_context(stream, parser, limits=LIMITS, records=records)
    client = Client(context)
    await client.send(post(5) + b"ab")
    assert client.received == STREAM
    await pass_time(context, 20)
    assert client.received == STREAM
    assert client.transport.calls == ["close"]
    assert [record[4:6] for record in records] == [(200, 1)]
    assert not context.running


@pytest.mark.parametrize("sent", [b"", b"ab"])
async def test_a_stalled_body_behind_its_response_closes_the_connection(parser: MakeParser, sent: bytes) -> None:
    context = make_context(hello, parser, limits=LIMITS)
    client = Client(context)
    await client.send(post(5) + sent)
    await pass_time(context, 19)
    assert not client.closed
    await pass_time(context, 1)
    assert client.received == answer(b"hello")
    assert client.transport.calls == ["write_eof"]


@pytest.mark.parametrize(
    "pieces", [[SLOW + post(5) + b"ab"], [SLOW + post(5)], [SLOW, post(5)], [SLOW, post(5)[:9], post(5)[9:], b"ab"]]
)
async def test_a_stalled_body_of_a_request_that_waits_for_its_turn_is_refused_after_the_answer_before_it(
    parser: MakeParser, pieces: list[bytes]
) -> None:
    app = Held()
    recorder = Recorder(app)
    context = make_context(recorder, parser, limits=LIMITS)
    client = Client(context)
    await client.send(*pieces)
    await pass_time(context, 19)
    await pass_time(context, 1)
    assert client.received == b""
    app.release.set()
    await client.wait()
    assert client.received == answer(b"/slow") + BODY_TOO_SLOW
    assert [scope["path"] for scope in recorder.scopes] == ["/slow"]


async def test_a_client_that_waits_for_100_has_its_time_from_then_on(parser: MakeParser) -> None:
    app = Held()

    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        await app.release.wait()
        await respond(send, await read_body(receive))

    context = make_context(late, parser, limits=LIMITS)
    client = Client(context)
    await client.send(post(5, b"Expect: 100-continue"))
    await pass_time(context, 100)
    assert client.received == b""
    app.release.set()
    await client.wait()
    assert client.take() == CONTINUE
    await pass_time(context, 19)
    assert client.received == b""
    await pass_time(context, 1)
    assert client.received == BODY_TOO_SLOW


async def test_a_body_that_comes_without_waiting_for_100_must_come_in_time(parser: MakeParser) -> None:
    context = make_context(Held(), parser, limits=LIMITS)
    client = Client(context)
    await client.send(post(5, b"Expect: 100-continue").replace(b"/ ", b"/slow "), b"a")
    await pass_time(context, 20)
    assert client.received == BODY_TOO_SLOW


@pytest.mark.parametrize("stalls", [False, True])
async def test_the_time_that_an_application_takes_to_read_does_not_count(parser: MakeParser, stalls: bool) -> None:
    app = Held()

    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        await app.release.wait()
        await respond(send, b"%d" % len(await read_body(receive)))

    context = make_context(late, parser, limits=LIMITS)
    client = Client(context)
    await client.send(post(100_000), bytes(70_000))
    assert not client.transport.reading
    await pass_time(context, LONG)
    assert client.received == b""
    app.release.set()
    await client.wait()
    assert client.transport.reading
    await pass_time(context, 19)
    assert client.received == b""
    if stalls:
        await pass_time(context, 1)
        assert client.received == BODY_TOO_SLOW
    else:
        await client.send(bytes(30_000))
        assert client.received == answer(b"100000")


async def test_without_a_limit_a_body_has_all_the_time(parser: MakeParser) -> None:
    context = make_context(echo, parser, limits=replace(LIMITS, request_body_stall=NEVER))
    client = Client(context)
    await client.send(post(3) + b"a")
    await pass_time(context, LONG)
    await client.send(b"bc")
    assert client.received == answer(b"/=abc")


# A response that the client does not take.


class Filling:
    """Sends pieces until it is stopped by an error, which it keeps."""

    def __init__(self) -> None:
        self.error: OSError | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        try:
            while True:
                await send({"type": "http.response.body", "body": b"a", "more_body": True})
        except OSError as error:
            self.error = error
            raise


async def test_a_client_that_takes_nothing_is_cut_with_a_reset(
    parser: MakeParser, error_log: list[logging.LogRecord]
) -> None:
    app = Filling()
    context = make_context(app, parser, limits=LIMITS)
    with socket.socket() as sock:
        client = Client(context, FakeTransport(sock=sock))
        client.transport.full = True
        client.transport.buffered = 70_000
        await client.send(GET)
        await pass_time(context, 29)
        assert client.transport.calls == []
        await pass_time(context, 1)
        assert client.transport.calls == ["abort"]
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) == struct.pack("ii", 1, 0)
    await client.lose()
    assert isinstance(app.error, OSError)
    assert [record.getMessage() for record in error_log] == [
        "cut the connection of 192.0.2.1:50000: it does not take what is sent to it"
    ]
    assert not context.running


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "closed by the client"])
async def test_a_client_that_takes_nothing_of_a_whole_response_is_cut(parser: MakeParser, kept: bool) -> None:
    context = make_context(hello, parser, limits=LIMITS)
    client = Client(context)
    client.transport.full = True
    client.transport.buffered = 10**6
    await client.send(GET if kept else GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    await pass_time(context, 29)
    assert "abort" not in client.transport.calls
    await pass_time(context, 6)
    assert "abort" in client.transport.calls


async def test_a_client_that_takes_less_than_the_minimum_rate_is_cut(parser: MakeParser) -> None:
    context = make_context(Filling(), parser, limits=LIMITS)
    client = Client(context)
    client.transport.full = True
    client.transport.buffered = 10**6
    await client.send(GET)
    seconds = 0
    while not client.transport.calls:
        client.transport.buffered -= 120
        await pass_time(context, 1)
        seconds += 1
    assert client.transport.calls == ["abort"]
    assert 59 <= seconds <= 61  # half of the minimum rate


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "closed by the client"])
async def test_a_client_that_takes_a_whole_response_at_the_minimum_rate_has_all_the_time(
    parser: MakeParser, kept: bool
) -> None:
    context = make_context(hello, parser, limits=replace(LIMITS, keep_alive=LONG))
    client = Client(context)
    client.transport.full = True
    client.transport.buffered = 10**6
    await client.send(GET if kept else GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    for _ in range(300):
        client.transport.buffered -= 240
        await pass_time(context, 1)
    assert client.transport.calls == ([] if kept else ["close"])


async def test_a_client_that_takes_its_response_in_the_end_gets_all_of_it(parser: MakeParser) -> None:
    sent = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal sent
        await send({"type": "http.response.start", "status": 200})
        for sent in range(10):
            await send({"type": "http.response.body", "body": b"a", "more_body": sent < 9})

    context = make_context(app, parser, limits=LIMITS)
    client = Client(context)
    for _ in range(9):
        client.transport.full = True
        if not client.received:
            await client.send(GET)
        else:
            client.connection.resume_writing()
            await client.wait()
        await pass_time(context, 29)
        assert not client.closed
    client.connection.resume_writing()
    await client.wait()
    assert client.received.count(b"\r\na") == 10
    assert client.received.endswith(b"0\r\n\r\n")
    assert not client.closed


async def test_a_client_that_is_resting_for_its_application_is_not_cut(parser: MakeParser) -> None:
    app = Held()

    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await app.release.wait()
        await send({"type": "http.response.body"})

    context = make_context(late, parser, limits=LIMITS)
    client = Client(context)
    client.transport.full = True
    await client.send(GET)
    client.connection.resume_writing()
    await pass_time(context, LONG)
    app.release.set()
    await client.wait()
    assert client.received == STREAM + b"0\r\n\r\n"


async def test_a_part_of_a_head_does_not_hide_that_a_client_takes_nothing(parser: MakeParser) -> None:
    context = make_context(hello, parser, limits=replace(LIMITS, request_header=NEVER))
    client = Client(context)
    client.transport.full = True
    client.transport.buffered = 70_000
    await client.send(GET + GET[:5])
    await pass_time(context, 30)
    assert client.transport.calls == ["abort"]


async def test_without_a_limit_a_client_may_take_nothing(parser: MakeParser) -> None:
    context = make_context(Filling(), parser, limits=replace(LIMITS, write_stall=NEVER))
    client = Client(context)
    client.transport.full = True
    client.transport.buffered = 70_000
    await client.send(GET)
    await pass_time(context, LONG)
    assert client.transport.calls == []


# A whole request.


class Tired:
    """Does what it is told to, then waits; keeps how it ended."""

    def __init__(self, *messages: Message) -> None:
        self._messages = messages
        self.cancelled = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        for message in self._messages:
            await send(message)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


START: Message = {"type": "http.response.start", "status": 200}
PIECE: Message = {"type": "http.response.body", "body": b"a", "more_body": True}
TIMED = replace(LIMITS, request=50)
REQUEST_TOO_LONG = refusal(504, "the request took longer than 50 s", LINES)


@pytest.mark.parametrize("messages", [[], [START]], ids=["nothing sent", "start sent"])
@pytest.mark.parametrize("raw", [GET, post(3) + b"abc", GET + GET, GET + GET[:5], GET * 30])
async def test_a_request_that_takes_too_long_is_cancelled_and_answered_with_504(
    parser: MakeParser, messages: list[Message], raw: bytes, error_log: list[logging.LogRecord]
) -> None:
    records: list[AccessRecord] = []
    app = Tired(*messages)
    context = make_context(app, parser, limits=TIMED, records=records)
    client = Client(context)
    await client.send(raw)
    await pass_time(context, 49)
    assert client.received == b""
    await pass_time(context, 1)
    assert client.received == REQUEST_TOO_LONG
    assert client.closed
    assert app.cancelled == 1
    assert [record[2:6] for record in records] == [("/", "1.1", 504, 34)]
    assert [record.getMessage() for record in error_log] == [
        f"{raw[:4].decode().strip()} / from 192.0.2.1:50000 took longer than 50 s (504)"
    ]
    assert not context.running
    await pass_time(context, 2)
    assert client.transport.calls[-1] == "abort"
    assert client.received == REQUEST_TOO_LONG


async def test_a_request_that_takes_too_long_after_its_response_began_is_cut(parser: MakeParser) -> None:
    records: list[AccessRecord] = []
    app = Tired(START, PIECE)
    context = make_context(app, parser, limits=TIMED, records=records)
    client = Client(context)
    await client.send(GET + GET)
    await pass_time(context, 49)
    assert not client.closed
    await pass_time(context, 1)
    assert client.received == STREAM
    assert client.transport.calls == ["close"]
    assert app.cancelled == 1
    assert [record[4:6] for record in records] == [(200, 1)]
    assert not context.running


async def test_a_request_of_http_1_0_that_takes_too_long_after_its_response_began_is_reset(parser: MakeParser) -> None:
    context = make_context(Tired(START, PIECE), parser, limits=TIMED)
    with socket.socket() as sock:
        client = Client(context, FakeTransport(sock=sock))
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        await pass_time(context, 50)
        assert client.transport.calls == ["abort"]
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) == struct.pack("ii", 1, 0)


async def test_an_application_that_minds_its_cancellation_can_send_no_more(
    parser: MakeParser, error_log: list[logging.LogRecord]
) -> None:
    caught: list[BaseException] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            try:
                await respond(send, b"late")
            except OSError as error:
                caught.append(error)
                raise

    context = make_context(app, parser, limits=TIMED)
    client = Client(context)
    await client.send(GET)
    await pass_time(context, 50)
    assert len(caught) == 1
    assert client.received == REQUEST_TOO_LONG
    assert len(error_log) == 1  # the time-out itself
    assert not context.running


async def test_the_time_of_a_request_runs_from_its_turn_on(parser: MakeParser) -> None:
    app = Held()
    context = make_context(app, parser, limits=TIMED)
    client = Client(context)
    await client.send(SLOW + SLOW)
    await pass_time(context, 40)
    app.release.set()
    await client.wait()
    assert client.take() == answer(b"/slow") * 2
    app.release.clear()
    await client.send(SLOW)
    await pass_time(context, 49)
    assert client.received == b""
    await pass_time(context, 1)
    assert client.received == REQUEST_TOO_LONG


async def test_what_an_application_does_after_its_response_has_all_the_time(parser: MakeParser) -> None:
    app = Tired(START, {"type": "http.response.body", "body": b"fine"})
    context = make_context(app, parser, limits=replace(TIMED, keep_alive=LONG))
    client = Client(context)
    await client.send(GET)
    await pass_time(context, 200)
    assert app.cancelled == 0
    assert not client.closed
    await client.lose()
    assert len(context.running) == 1
    for exchange in context.running:
        exchange.cancel()
    await client.wait()


async def test_the_time_of_a_request_bounds_its_body_too(parser: MakeParser) -> None:
    context = make_context(echo, parser, limits=TIMED)
    client = Client(context)
    await client.send(post(240 * 100))
    for _ in range(50):
        await client.send(bytes(240))
        await pass_time(context, 1)
    assert client.received == REQUEST_TOO_LONG
    assert not context.running


async def test_an_answer_to_head_has_no_body_even_if_it_is_504(parser: MakeParser) -> None:
    context = make_context(Tired(), parser, limits=TIMED)
    client = Client(context)
    await client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    await pass_time(context, 50)
    head = REQUEST_TOO_LONG.partition(b"\r\n\r\n")[0]
    assert client.received == head + b"\r\n\r\n"


# An idle connection, and one that ends.


async def test_an_idle_connection_is_closed_after_its_time(parser: MakeParser) -> None:
    context = make_context(hello, parser, limits=LIMITS)
    client = Client(context)
    for _ in range(3):
        await pass_time(context, 4)
        await client.send(GET)
    assert client.take() == answer(b"hello") * 3
    await pass_time(context, 4)
    assert not client.closed
    await pass_time(context, 1)
    assert client.received == b""
    assert client.transport.calls == ["close"]


async def test_a_connection_is_not_idle_while_its_client_takes_nothing(parser: MakeParser) -> None:
    context = make_context(hello, parser, limits=LIMITS)
    client = Client(context)
    client.transport.full = True
    client.transport.buffered = 70_000
    await client.send(GET)
    await pass_time(context, 20)
    assert not client.closed
    client.connection.resume_writing()
    await pass_time(context, 4)
    assert not client.closed
    await pass_time(context, 1)
    assert client.transport.calls == ["close"]


@pytest.mark.parametrize("rest", [1, 16_000, 10**6])
@pytest.mark.parametrize("resumed", [False, True], ids=["congested", "below the low-water mark"])
async def test_a_connection_that_ends_with_unsent_data_is_cut_when_nothing_moves(
    parser: MakeParser, rest: int, resumed: bool
) -> None:
    context = make_context(hello, parser, limits=LIMITS)
    context.draining = True
    client = Client(context)
    client.transport.full = True
    client.transport.buffered = rest
    await client.send(GET)
    assert client.transport.calls == ["write_eof"]
    if resumed:
        client.connection.resume_writing()
    await pass_time(context, 28)
    assert client.transport.calls == ["write_eof"]
    await pass_time(context, 5)
    assert "abort" in client.transport.calls


async def test_a_connection_that_ends_stays_while_its_client_takes_what_is_left(parser: MakeParser) -> None:
    context = make_context(hello, parser, limits=LIMITS)
    context.draining = True
    client = Client(context)
    client.transport.full = True
    client.transport.buffered = 240 * 100
    await client.send(GET)
    for _ in range(99):
        client.transport.buffered -= 240
        await pass_time(context, 1)
        assert client.transport.calls == ["write_eof"]
    client.transport.buffered = 0
    await pass_time(context, 2)
    assert client.transport.calls == ["write_eof", "abort"]


async def test_what_a_client_still_sends_does_not_keep_a_connection_that_ends(parser: MakeParser) -> None:
    context = make_context(tell_path, parser, limits=LIMITS)
    context.draining = True
    client = Client(context)
    await client.send(GET)
    await pass_time(context, 1)
    await client.send(GET)
    assert client.transport.calls == ["write_eof"]
    await pass_time(context, 1)
    await client.send(GET)
    assert client.transport.calls == ["write_eof", "abort"]
