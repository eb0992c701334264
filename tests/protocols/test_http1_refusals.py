"""Requests that are refused: the cases in `cases/`, and what surrounds a refusal.

A case holds `why` it is refused, the `request` (its characters are bytes) and the `status` of the answer.
"""

import logging
import tomllib
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple

import pytest

from corehttp.asgi import Receive, Scope, Send
from tests.fakes import LINES, Client, MakeParser, every_cut, make_context
from tests.protocols.apps import Held, Recorder, answer, echo, hello
from tests.protocols.cuts import serve_every_cut

PHRASES = {400: b"Bad Request", 417: b"Expectation Failed", 501: b"Not Implemented", 505: b"HTTP Version Not Supported"}
PHRASES[414] = HTTPStatus(414).phrase.encode()  # it has changed with Python 3.13
PHRASES[431] = b"Request Header Fields Too Large"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
BAD = b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n"


class Case(NamedTuple):
    name: str
    status: int
    request: bytes


def read_cases() -> list[Case]:
    return [
        Case(f"{file.stem}: {name}", case["status"], case["request"].encode("latin-1"))
        for file in sorted((Path(__file__).parent / "cases").glob("*.toml"))
        for name, case in tomllib.loads(file.read_text()).items()
    ]


def refusal_of(received: bytes, status: int) -> bytes:
    """The whole refusal that ends with the same reason as `received` does."""
    reason = received.partition(b"\r\n\r\n")[2]
    assert reason.endswith(b"\n")
    return (
        b"HTTP/1.1 %d %b\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n"
        % (status, PHRASES[status], len(reason))
        + LINES
        + b"connection: close\r\n\r\n"
        + reason
    )


@pytest.mark.parametrize("case", read_cases(), ids=lambda case: case.name)
async def test_a_bad_request_is_answered_once_and_nothing_behind_it_reaches_the_application(
    parser: MakeParser, case: Case
) -> None:
    raw = case.request + SMUGGLED
    for pieces in every_cut(raw):
        recorder = Recorder(echo)
        client = Client(make_context(recorder, parser))
        await client.send(*pieces)
        assert client.received == refusal_of(client.received, case.status), pieces
        assert client.transport.calls == ["write_eof"]
        assert [scope["path"] for scope in recorder.scopes] in ([], ["/"])
        assert not any("end of body" in messages for messages in recorder.messages)


async def test_every_case_says_why_it_is_refused() -> None:
    for file in (Path(__file__).parent / "cases").glob("*.toml"):
        for name, case in tomllib.loads(file.read_text()).items():
            assert sorted(case) == ["request", "status", "why"], f"{file.name}: {name}"
            assert case["why"]


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
    assert received[len(slow) :] == refusal_of(received[len(slow) :], 400)
    assert client.transport.calls == ["write_eof"]


async def test_a_refusal_waits_for_all_good_requests_before_it(parser: MakeParser) -> None:
    raw = b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n" + BAD + SMUGGLED
    outcome = await serve_every_cut(raw, parser, hello)
    good = answer(b"hello") * 2
    assert outcome.received.startswith(good)
    assert outcome.received[len(good) :] == refusal_of(outcome.received[len(good) :], 400)
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
)
async def test_a_head_that_does_not_end_is_refused(parser: MakeParser, start: bytes, status: int) -> None:
    recorder = Recorder(hello)
    client = Client(make_context(recorder, parser))
    await client.send(start, *[b"a" * 1000] * 66)
    assert client.received == refusal_of(client.received, status)
    assert recorder.scopes == []


async def test_a_head_that_does_not_end_is_refused_behind_other_requests_too(parser: MakeParser) -> None:
    client = Client(make_context(hello, parser))
    await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /", *[b"a" * 1000] * 66)
    good = answer(b"hello")
    assert client.received.startswith(good)
    assert client.received[len(good) :] == refusal_of(client.received[len(good) :], 414)


async def test_a_refusal_is_logged_as_one_warning_with_the_client_and_the_reason(
    parser: MakeParser, error_log: list[logging.LogRecord]
) -> None:
    client = Client(make_context(hello, parser))
    await client.send(BAD + BAD)
    (record,) = error_log
    assert record.levelname == "WARNING"
    assert record.getMessage() == (
        "refused a request from ('192.0.2.1', 50000): the Host field is not a valid host (400)"
    )
