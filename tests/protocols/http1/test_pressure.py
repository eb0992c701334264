"""Clients that send faster than they are answered, or than they read: what is kept for them is bounded."""

import pytest

from corehttp.asgi import Receive, Scope, Send
from corehttp.protocols.http1.reader import PIPELINE_LIMIT
from tests.kit.apps import Held, Recorder, answer, read_body, respond, tell_path
from tests.kit.fakes import Client, MakeParser, make_context

MOST = PIPELINE_LIMIT + 2  # the current one, those in the queue, and one that came before reading could pause
KIB = 1024


def get(path: bytes) -> bytes:
    return b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path


def post(path: bytes, length: int | None) -> bytes:
    framing = b"Transfer-Encoding: chunked" if length is None else b"Content-Length: %d" % length
    return b"POST %b HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % (path, framing)


def numbered(count: int) -> tuple[bytes, bytes]:
    """So many requests, and their answers."""
    paths = [b"/%d" % number for number in range(count)]
    return b"".join(map(get, paths)), b"".join(map(answer, paths))


def reads(raw: bytes, size: int) -> list[bytes]:
    return [raw[at : at + size] for at in range(0, len(raw), size)]


async def wait_for(client: Client, size: int) -> None:
    """Let the server do what it can, as long as it does something, until so much has come."""
    before = -1
    while before < len(client.received) < size:
        before = len(client.received)
        await client.wait()


@pytest.mark.parametrize(
    ("count", "size"), [(10_000, 10**6), (3000, 65536), (1000, 700)], ids=["one read", "large reads", "small reads"]
)
async def test_thousands_of_requests_of_a_client_that_reads_nothing_wait_unparsed(
    parser: MakeParser, count: int, size: int
) -> None:
    raw, answers = numbered(count)
    client = Client(make_context(tell_path, parser))
    client.transport.full = True
    for piece in reads(raw, size):
        client.transport.deliver(piece)
        assert len(client.connection.unanswered) <= MOST
    await client.wait()
    assert client.received == answer(b"/0")
    assert len(client.connection.unanswered) <= MOST
    assert not client.transport.reading
    client.connection.resume_writing()
    await wait_for(client, len(answers))
    assert client.received == answers
    assert client.connection.idle
    assert client.transport.reading


@pytest.mark.parametrize(
    ("count", "size"), [(10_000, 10**6), (3000, 65536), (1000, 700)], ids=["one read", "large reads", "small reads"]
)
async def test_thousands_of_requests_behind_a_slow_one_wait_unparsed(parser: MakeParser, count: int, size: int) -> None:
    app = Held()
    recorder = Recorder(app)
    raw, answers = numbered(count)
    client = Client(make_context(recorder, parser))
    await client.send(get(b"/slow"))
    for piece in reads(raw, size):
        client.transport.deliver(piece)
        assert len(client.connection.unanswered) <= MOST
    await client.wait()
    assert len(recorder.scopes) == 1
    assert not client.transport.reading
    app.release.set()
    await wait_for(client, len(answers) + len(answer(b"/slow")))
    assert client.received == answer(b"/slow") + answers
    assert client.connection.idle
    assert client.transport.reading


async def test_single_requests_behind_a_slow_one_pause_reading_in_time(parser: MakeParser) -> None:
    app = Held()
    client = Client(make_context(app, parser))
    await client.send(get(b"/slow"))
    count = 0
    while client.transport.reading:
        client.transport.deliver(get(b"/%d" % count))
        count += 1
    assert PIPELINE_LIMIT <= count <= PIPELINE_LIMIT + 2
    assert len(client.connection.unanswered) <= MOST
    app.release.set()
    await client.wait()
    assert client.received == answer(b"/slow") + b"".join(answer(b"/%d" % number) for number in range(count))
    assert client.transport.reading


async def test_a_client_that_reads_little_by_little_gets_all_answers_in_order(parser: MakeParser) -> None:
    raw, answers = numbered(500)
    client = Client(make_context(tell_path, parser))
    client.transport.full = True
    await client.send(raw)
    while client.connection.congested:
        received = client.received
        assert answers.startswith(received)
        client.transport.full = len(received) < len(answers) / 2
        client.connection.resume_writing()
        await client.wait()
        assert len(client.received) > len(received)
        assert len(client.connection.unanswered) <= MOST
    await wait_for(client, len(answers))
    assert client.received == answers


async def test_many_requests_with_bodies_wait_as_others_do(parser: MakeParser) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, await read_body(receive))

    bodies = [b"%d" % number * (number % 50) for number in range(1000)]
    raw = b"".join(post(b"/", len(body)) + body for body in bodies)
    client = Client(make_context(app, parser))
    client.transport.full = True
    for piece in reads(raw, 5000):
        client.transport.deliver(piece)
        assert len(client.connection.unanswered) <= MOST
    assert not client.transport.reading
    await client.wait()  # on Python 3.11 the first answer comes a turn later
    client.connection.resume_writing()
    answers = b"".join(map(answer, bodies))
    await wait_for(client, len(answers))
    assert client.received == answers


async def test_the_last_answer_is_followed_by_the_next_request_however_many_there_were(parser: MakeParser) -> None:
    for count in (
        1,
        PIPELINE_LIMIT - 1,
        PIPELINE_LIMIT,
        PIPELINE_LIMIT + 1,
        2 * PIPELINE_LIMIT,
        3 * PIPELINE_LIMIT + 1,
    ):
        raw, answers = numbered(count)
        for tail in (b"", get(b"/next")[:10]):
            app = Held()
            client = Client(make_context(app, parser))
            await client.send(get(b"/slow") + raw + tail)
            app.release.set()
            await wait_for(client, len(answers) + len(answer(b"/slow")))
            assert client.take() == answer(b"/slow") + answers
            assert client.transport.reading
            await client.send(get(b"/next")[len(tail) :])
            assert client.received == answer(b"/next")


# Bodies that nobody reads.


@pytest.mark.parametrize("length", [300 * KIB, None], ids=["length", "chunked"])
async def test_a_body_that_is_not_read_pauses_reading_and_goes_on_when_it_is(
    parser: MakeParser, length: int | None
) -> None:
    held = Held()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await held.release.wait()
        await respond(send, b"%d" % len(await read_body(receive)))

    client = Client(make_context(app, parser))
    await client.send(post(b"/", length))
    delivered = 0
    while client.transport.reading:
        piece = bytes(20 * KIB)
        client.transport.deliver(piece if length else b"5000\r\n" + piece + b"\r\n")
        delivered += len(piece)
    assert delivered == 80 * KIB  # the first piece that is beyond 64 KiB
    held.release.set()
    await client.wait()
    assert client.transport.reading
    rest = bytes(220 * KIB)
    await client.send(rest if length else b"37000\r\n" + rest + b"\r\n0\r\n\r\n")
    assert client.received == answer(b"%d" % (300 * KIB))


@pytest.mark.parametrize("length", [300 * KIB, None], ids=["length", "chunked"])
async def test_a_body_of_a_request_that_waits_for_its_turn_pauses_reading_too(
    parser: MakeParser, length: int | None
) -> None:
    held = Held()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await held.release.wait()
        await respond(send, b"%d" % len(await read_body(receive)))

    client = Client(make_context(app, parser))
    body = bytes(300 * KIB)
    raw = post(b"/", length) + (body if length else b"4b000\r\n" + body + b"\r\n0\r\n\r\n")
    await client.send(get(b"/slow"), *reads(raw, 30 * KIB))
    assert not client.transport.reading
    held.release.set()
    for _ in range(5):
        await client.wait()
    assert client.received == answer(b"0") + answer(b"%d" % (300 * KIB))
    assert client.transport.reading


async def test_a_response_before_the_end_of_a_paused_body_lets_reading_go_on(parser: MakeParser) -> None:
    held = Held()
    client = Client(make_context(held, parser))
    body = bytes(200 * KIB)
    await client.send(post(b"/slow", len(body)), *reads(body, 50 * KIB))
    assert not client.transport.reading
    held.release.set()
    await client.wait()
    assert client.transport.reading
    await client.send(get(b"/next"))
    assert client.received == answer(b"/slow") + answer(b"/next")


async def test_a_connection_that_ends_reads_on_whatever_waits_on_it(parser: MakeParser) -> None:
    held = Held()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await held.release.wait()
        headers = [(b"connection", b"close"), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body"})

    client = Client(make_context(app, parser))
    await client.send(get(b"/"), post(b"/", 300 * KIB), *[bytes(30 * KIB)] * 5)
    assert not client.transport.reading
    held.release.set()
    await client.wait()
    assert client.transport.calls[-1] == "write_eof"
    # What is not read when the connection closes makes a reset of its end, which may cost the client our answer.
    assert client.transport.reading
