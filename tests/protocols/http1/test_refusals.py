"""What surrounds a refusal: answers before it, a response in progress, the log. What is refused is in the corpus."""

import logging
from itertools import pairwise

import pytest

from corehttp.asgi import Receive, Scope, Send
from tests.kit.agreement import agree
from tests.kit.apps import Held, Recorder, answer, hello
from tests.kit.corpus import refusal_like
from tests.kit.cuts import serve_every_cut
from tests.kit.fakes import LINES, Client, MakeParser, every_cut, make_context

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
BAD = b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n"


async def test_a_refusal_waits_for_the_slow_answer_before_it(parser: MakeParser) -> None:
    app = Held()
    client = Client(make_context(app, parser))
    await client.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n" + BAD)
    assert client.received == b""
    app.release.set()
    await client.wait()
    received = client.received
    slow = answer(b"/slow")
    assert received.startswith(slow)
    assert received[len(slow) :] == refusal_like(received[len(slow) :], 400)
    assert client.transport.calls == ["write_eof"]


async def test_a_refusal_waits_for_all_good_requests_before_it(parser: MakeParser) -> None:
    raw = b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n" + BAD + SMUGGLED
    outcome = await serve_every_cut(raw, parser, hello)
    good = answer(b"hello") * 2
    assert outcome.received.startswith(good)
    assert outcome.received[len(good) :] == refusal_like(outcome.received[len(good) :], 400)
    assert [scope["path"] for scope in outcome.scopes] == ["/1", "/2"]
    assert outcome.closed


@pytest.mark.parametrize("bad", [BAD, b"nonsense\r\n\r\n"], ids=["refused by us", "refused by the parser"])
@pytest.mark.parametrize("apart", [False, True], ids=["in one piece", "in two pieces"])
async def test_a_slow_answer_before_a_refusal_survives_that_the_client_ends_its_side(
    parser: MakeParser, bad: bytes, apart: bool
) -> None:
    app = Held()
    client = Client(make_context(app, parser))
    slow = b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"
    await client.send(*([slow, bad] if apart else [slow + bad]))
    await client.hang_up()
    app.release.set()
    await client.wait()
    assert client.received.startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    "raw",
    [
        b"HEAD / HTTP/1.1\r\nHost: a b\r\n\r\n",
        b"HEAD / HTTP/2.0\r\n",
        b"HEAD / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    ],
    ids=["by what its head means", "before its head is whole", "by its body"],
)
async def test_a_refusal_of_head_has_no_content(raw: bytes) -> None:
    outcome = await agree(raw, every_cut(raw))
    head, end, content = outcome.received.partition(b"\r\n\r\n")
    assert b"\r\ncontent-length: " in head
    assert head.endswith(b"\r\nconnection: close")
    assert (end, content) == (b"\r\n\r\n", b"")


async def test_a_fault_in_a_body_whose_response_is_out_closes_the_connection(parser: MakeParser) -> None:
    client = Client(make_context(hello, parser))
    await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert client.take() == answer(b"hello")
    await client.send(b"xyz\r\n")
    assert client.closed


async def test_a_fault_in_a_body_cuts_a_response_in_progress(parser: MakeParser) -> None:
    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass

    context = make_context(stream, parser)
    client = Client(context)
    await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", b"xyz\r\n")
    assert client.received == (
        b"HTTP/1.1 200 OK\r\n" + LINES + b"transfer-encoding: chunked\r\n\r\n1\r\na\r\n"
    )  # no last chunk: the client sees that it is not whole
    assert client.transport.calls == ["close"]
    assert not context.running


@pytest.mark.parametrize(
    ("start", "status"),
    [
        (b"GET /", 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: ", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX", 431),
    ],
    ids=["target", "value", "name"],
)
async def test_a_head_that_does_not_end_is_refused(parser: MakeParser, start: bytes, status: int) -> None:
    recorder = Recorder(hello)
    client = Client(make_context(recorder, parser))
    await client.send(start, *[b"a" * 1000] * 66)
    assert client.received == refusal_like(client.received, status)
    assert recorder.scopes == []


async def test_a_head_that_does_not_end_is_refused_behind_other_requests_too(parser: MakeParser) -> None:
    client = Client(make_context(hello, parser))
    await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nX: ", *[b"a" * 1000] * 66)
    good = answer(b"hello")
    assert client.received.startswith(good)
    assert client.received[len(good) :] == refusal_like(client.received[len(good) :], 431)


async def test_a_refusal_is_logged_as_one_warning_with_the_client_and_the_reason(
    parser: MakeParser, error_log: list[logging.LogRecord]
) -> None:
    client = Client(make_context(hello, parser))
    await client.send(BAD + BAD)
    (record,) = error_log
    assert record.levelname == "WARNING"
    assert record.getMessage() == ("refused a request from 192.0.2.1:50000: the Host field is not a valid host (400)")


@pytest.mark.parametrize("lines", [b"", b"\r\n", b"\r\n\r\n"])
async def test_half_an_empty_line_is_refused_alike_in_whatever_pieces_it_comes(
    parser: MakeParser, lines: bytes
) -> None:
    raw = lines + b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n"
    for places in range(1 << (len(lines) + 1)):  # each bit: whether a piece ends behind that byte
        ends = [at + 1 for at in range(len(lines) + 1) if places >> at & 1] + [len(raw)]
        client = Client(make_context(hello, parser))
        await client.send(*(raw[start:end] for start, end in pairwise([0, *ends])))
        assert client.received.endswith(b"a line must end in CR LF\n"), ends
