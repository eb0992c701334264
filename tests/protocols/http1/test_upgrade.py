"""A request for another protocol is served as the plain HTTP that it also is (RFC 9110, 7.8)."""

import pytest

from tests.kit.apps import answer, echo, hello
from tests.kit.cuts import serve_every_cut
from tests.kit.fakes import MakeParser

UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"
GET = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize("fields", [UPGRADE, H2C], ids=["websocket", "h2c"])
async def test_an_upgrade_is_ignored_and_the_next_request_follows(parser: MakeParser, fields: bytes) -> None:
    raw = b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n" % fields
    outcome = await serve_every_cut(raw + GET + raw + GET, parser, hello)
    assert outcome.received == answer(b"hello") * 4
    assert [scope["path"] for scope in outcome.scopes] == ["/", "/next", "/", "/next"]
    assert (b"connection", b"Upgrade") in outcome.scopes[0]["headers"] or fields is H2C
    assert not outcome.closed


@pytest.mark.parametrize(
    ("framing", "body"),
    [
        (b"Content-Length: 5\r\n", b"abcde"),
        (b"Transfer-Encoding: chunked\r\n", b"2\r\nab\r\n3\r\ncde\r\n0\r\nX: y\r\n\r\n"),
    ],
    ids=["length", "chunked"],
)
async def test_the_body_of_an_upgrade_request_is_read_as_its_body(
    parser: MakeParser, framing: bytes, body: bytes
) -> None:
    raw = b"POST / HTTP/1.1\r\nHost: a\r\n" + UPGRADE + framing + b"\r\n" + body
    outcome = await serve_every_cut(raw + GET, parser, echo)
    assert outcome.received == answer(b"/=abcde") + answer(b"/next=")
    assert outcome.messages == [[b"abcde", "end of body"], [b"", "end of body"]]
    assert not outcome.closed


async def test_the_body_of_an_upgrade_request_is_no_request(parser: MakeParser) -> None:
    raw = b"POST / HTTP/1.1\r\nHost: a\r\n%bContent-Length: %d\r\n\r\n%b" % (UPGRADE, len(GET), GET)
    outcome = await serve_every_cut(raw, parser, echo)
    assert outcome.received == answer(b"/=" + GET)
    assert [scope["path"] for scope in outcome.scopes] == ["/"]


async def test_two_upgrade_requests_with_bodies_follow_each_other(parser: MakeParser) -> None:
    raw = b"POST / HTTP/1.1\r\nHost: a\r\n" + UPGRADE + b"Content-Length: 2\r\n\r\nab"
    outcome = await serve_every_cut(raw + raw + GET, parser, echo)
    assert outcome.received == answer(b"/=ab") * 2 + answer(b"/next=")


async def test_an_upgrade_request_that_closes_is_the_last(parser: MakeParser) -> None:
    raw = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n"
    outcome = await serve_every_cut(raw + GET, parser, hello)
    assert outcome.received == answer(b"hello", connection=b"connection: close\r\n")
    assert outcome.closed


async def test_an_upgrade_request_of_http_1_0_is_ignored_too(parser: MakeParser) -> None:
    raw = b"GET / HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    outcome = await serve_every_cut(raw, parser, hello)
    assert outcome.received == answer(b"hello", connection=b"connection: close\r\n")
    assert outcome.closed
