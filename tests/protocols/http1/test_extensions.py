"""The ASGI extensions over HTTP/1.1: who is offered them, early hints at every moment, trailers for who wants them."""

import pytest

from corehttp.asgi import Message, Receive, Scope, Send
from tests.kit.apps import Recorder, Sender, hello
from tests.kit.fakes import LINES, Client, MakeParser, make_context

START: Message = {"type": "http.response.start", "status": 200, "headers": []}
HINT: Message = {"type": "http.response.early_hint", "links": [b"</a.css>"]}
TRAILERS: Message = {"type": "http.response.trailers", "headers": [(b"x", b"y")]}
HEAD = b"HTTP/1.1 200 OK\r\n" + LINES
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
SIZED = HEAD + b"content-length: 3\r\n\r\nabc"
HINTED = b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n"


def body(content: bytes, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": content, "more_body": more}


def get(*fields: bytes, version: bytes = b"1.1") -> bytes:
    return b"\r\n".join([b"GET / HTTP/%b" % version, b"Host: a", *fields]) + b"\r\n\r\n"


async def reply(parser: MakeParser, raw: bytes, *messages: Message, early_hints: bool = False) -> bytes:
    """What a client gets from an application that sends the messages; it must be taken whole."""
    context = make_context(Sender(*messages), parser)
    context.early_hints = early_hints
    client = Client(context)
    await client.send(raw)
    assert not client.closed
    return client.received


@pytest.mark.parametrize("start", [{"headers": []}, {}], ids=["with fields", "without fields"])
async def test_trailers_that_were_announced_end_a_chunked_body(parser: MakeParser, start: Message) -> None:
    announced = {"type": "http.response.start", "status": 200, "trailers": True, **start}
    received = await reply(parser, get(b"TE: trailers"), announced, body(b"abc"), TRAILERS)
    assert received == CHUNKED + b"3\r\nabc\r\n0\r\nx: y\r\n\r\n"


async def test_trailers_may_be_any_kind_of_bytes(parser: MakeParser) -> None:
    announced = {"type": "http.response.start", "status": 200, "trailers": True}
    trailers = {"type": "http.response.trailers", "headers": [(bytearray(b"x"), memoryview(b"y"))]}
    received = await reply(parser, get(b"TE: trailers"), announced, body(b"abc"), trailers)
    assert received == CHUNKED + b"3\r\nabc\r\n0\r\nx: y\r\n\r\n"


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ([], False),
        ([b"TE:"], False),
        ([b"TE: gzip"], False),
        ([b"TE: trailers2, xtrailers"], False),
        ([b"TE: gzip;q=0.5, trailers"], True),
        ([b"TE: gzip,TRAILERS \t"], True),
        ([b"te: trailers", b"TE: deflate"], True),
        ([b"Connection: TE", b"TE: trailers"], True),
        ([b"Trailers: te"], False),
    ],
)
async def test_only_a_client_that_wants_trailers_gets_and_is_offered_them(
    parser: MakeParser, fields: list[bytes], wanted: bool
) -> None:
    app = Recorder(Sender({**START, "trailers": True}, body(b"abc"), {**TRAILERS, "more_trailers": True}, TRAILERS))
    client = Client(make_context(app, parser))
    await client.send(get(*fields))
    assert client.received == (CHUNKED + b"3\r\nabc\r\n0\r\nx: y\r\nx: y\r\n\r\n" if wanted else SIZED)
    assert app.scopes[0]["extensions"] == ({"http.response.trailers": {}} if wanted else {})
    assert not client.closed


async def test_trailers_that_nobody_wants_need_not_come_for_the_response_to_end(parser: MakeParser) -> None:
    messages = [{**START, "trailers": True}, body(b"a", more=True), body(b"")]
    assert await reply(parser, get(), *messages) == CHUNKED + b"1\r\na\r\n0\r\n\r\n"


async def test_http_1_0_has_no_trailers(parser: MakeParser) -> None:
    raw = get(b"Connection: keep-alive", b"TE: trailers", version=b"1.0")
    received = await reply(parser, raw, {**START, "trailers": True}, body(b"abc"), TRAILERS)
    assert received == HEAD + b"content-length: 3\r\nconnection: keep-alive\r\n\r\nabc"


@pytest.mark.parametrize("early_hints", [True, False])
@pytest.mark.parametrize(
    ("messages", "sent", "received"),
    [
        ([HINT, START, body(b"abc")], 1, SIZED),
        ([START, HINT, body(b"abc")], 1, SIZED),
        ([HINT, START, HINT, HINT, body(b"abc")], 3, SIZED),
        ([START, body(b"a", more=True), HINT, body(b"")], 0, CHUNKED + b"1\r\na\r\n0\r\n\r\n"),
        ([START, HINT, body(b"a", more=True), HINT, body(b"")], 1, CHUNKED + b"1\r\na\r\n0\r\n\r\n"),
    ],
)
async def test_an_early_hint_may_be_sent_until_the_last_body_message(
    parser: MakeParser, messages: list[Message], sent: int, received: bytes, early_hints: bool
) -> None:
    hints = HINTED * sent if early_hints else b""
    assert await reply(parser, get(), *messages, early_hints=early_hints) == hints + received


async def test_http_1_0_has_no_early_hints(parser: MakeParser) -> None:
    raw = get(b"Connection: keep-alive", version=b"1.0")
    received = await reply(parser, raw, START, HINT, body(b"abc"), early_hints=True)
    assert received == HEAD + b"content-length: 3\r\nconnection: keep-alive\r\n\r\nabc"


@pytest.mark.parametrize("early_hints", [True, False])
async def test_a_wrong_early_hint_is_the_applications_error_even_if_it_is_held_back(
    parser: MakeParser, early_hints: bool
) -> None:
    context = make_context(Sender(START, {**HINT, "links": [b"a\r\nb"]}, body(b"abc")), parser)
    context.early_hints = early_hints
    client = Client(context)
    await client.send(get())
    assert client.received.startswith(b"HTTP/1.1 500 ")


@pytest.mark.parametrize("late", [HINT, TRAILERS, body(b"d")])
async def test_no_message_is_taken_after_the_end_by_a_client_that_wants_trailers(
    parser: MakeParser, late: Message
) -> None:
    errors: list[Exception] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await hello(scope, receive, send)
        try:
            await send(late)
        except RuntimeError as error:
            errors.append(error)

    client = Client(make_context(app, parser))
    await client.send(get(b"TE: trailers"))
    assert [str(error) for error in errors] == [
        f"expected no message after the end of the response, got {late['type']!r}"
    ]
