"""A response as bytes; above all, that no field of the application can end a head early."""

from collections.abc import Callable, Iterator
from http import HTTPStatus

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corehttp.errors import AppError
from corehttp.protocols.fields import NOT_TRAILERS
from corehttp.protocols.http1 import wire
from corehttp.protocols.http1.parser_httptools import HttptoolsParser
from corehttp.protocols.http1.wire import (
    chunk,
    early_hints,
    refusal,
    response_head,
    status_line,
    trailer_lines,
)
from corehttp.protocols.response_fields import CLOSES, OWN_DATE, OWN_SERVER, response_fields
from tests.kit.apps import Sender
from tests.kit.fakes import Client, make_context

OURS = {b"connection", b"keep-alive", b"transfer-encoding", b"upgrade"}  # fields that are never passed on


@pytest.mark.parametrize("status", [status for status in HTTPStatus if status >= 200])
def test_a_known_status_has_its_phrase(status: HTTPStatus) -> None:
    line = b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode())
    assert status_line(status.value) == status_line(status) == line


@pytest.mark.parametrize("status", [299, 599, 799, 999])
def test_an_unknown_status_has_an_empty_phrase(status: int) -> None:
    assert status_line(status) == b"HTTP/1.1 %d \r\n" % status


@pytest.mark.parametrize("status", [-1, 0, 99, 100, 101, 199, 1000, True, False, None, "200", 200.5, b"200"])
def test_anything_but_a_final_status_is_the_applications_error(status: object) -> None:
    with pytest.raises(AppError, match="status must be"):
        status_line(status)


@pytest.mark.parametrize(
    ("headers", "lines", "length", "flags"),
    [
        ([], b"", -1, 0),
        ([(b"a", b"b"), (b"a", b"c")], b"a: b\r\na: c\r\n", -1, 0),
        ([(b"X-Name", b"")], b"X-Name: \r\n", -1, 0),
        ([(b"a", b"\xe9\tb ")], b"a: \xe9\tb \r\n", -1, 0),
        ([(b"content-length", b"7")], b"content-length: 7\r\n", 7, 0),
        ([(b"Content-Length", b"7")], b"Content-Length: 7\r\n", 7, 0),
        ([(b"content-length", b"7"), (b"Content-Length", b"7")], b"content-length: 7\r\n", 7, 0),
        ([(b"transfer-encoding", b"chunked")], b"", -1, 0),
        ([(b"Transfer-Encoding", b"gzip")], b"", -1, 0),
        ([(b"keep-alive", b"timeout=5"), (b"Upgrade", b"h2c")], b"", -1, 0),
        ([(b"connection", b"keep-alive")], b"", -1, 0),
        ([(b"Connection", b"x, Close")], b"", -1, CLOSES),
        ([(b"date", b"d")], b"date: d\r\n", -1, OWN_DATE),
        ([(b"Server", b"s")], b"Server: s\r\n", -1, OWN_SERVER),
        (
            [(b"Date", b"d"), (b"connection", b"close"), (b"server", b"s")],
            b"Date: d\r\nserver: s\r\n",
            -1,
            OWN_DATE | OWN_SERVER | CLOSES,
        ),
    ],
)
def test_a_head_is_rendered_and_what_it_says_is_known(
    headers: list[tuple[bytes, bytes]], lines: bytes, length: int, flags: int
) -> None:
    for _ in range(2):  # the second time the lines may be remembered
        pieces, declared, said = response_head(200, headers)
        assert (b"".join(pieces), declared, said) == (b"HTTP/1.1 200 OK\r\n" + lines, length, flags)


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        ([(b"", b"a")], "name must be a token"),
        ([(b"a b", b"a")], "name must be a token"),
        ([(b"a:", b"a")], "name must be a token"),
        ([(b"a\r\n", b"a")], "name must be a token"),
        ([(b"\xe9", b"a")], "name must be a token"),
        ([("a", b"a")], "name must be a token"),
        ([(b"a", b"b\r\nc: d")], "value of the response field 'a'"),
        ([(b"a", b"b\n")], "value of the response field 'a'"),
        ([(b"a", b"\rb")], "value of the response field 'a'"),
        ([(b"a", b"\0")], "value of the response field 'a'"),
        ([(b"a", "b")], "value of the response field 'a'"),
        ([(b"a", None)], "value of the response field 'a'"),
        ([(b"a", b"\x0b")], "value of the response field 'a' must be bytes without control characters"),
        ([(b"a", b"b\x7f")], "value of the response field 'a' must be bytes without control characters"),
        ([(b"connection", b"close\r\na: b")], "value of the response field 'connection'"),
        ([(b"content-length", b"")], "Content-Length must be digits"),
        ([(b"content-length", b"-1")], "Content-Length must be digits"),
        ([(b"content-length", b"1_0")], "Content-Length must be digits"),
        ([(b"content-length", b"1"), (b"content-length", b"2")], "Content-Length twice"),
        ([(b"a",)], "pairs of bytes"),
        ([(b"a", b"b", b"c")], "pairs of bytes"),
        (None, "pairs of bytes"),
        ([None], "pairs of bytes"),
    ],
)
def test_a_wrong_field_is_the_applications_error(headers: list[tuple[bytes, bytes]], text: str) -> None:
    with pytest.raises(AppError, match=text):
        response_head(200, headers)


@pytest.mark.parametrize(
    "make", [bytearray, memoryview, lambda text: memoryview(bytearray(text)), type("B", (bytes,), {})]
)
def test_names_and_values_may_be_any_object_that_holds_bytes(make: Callable[[bytes], bytes]) -> None:
    for headers in (
        [(make(b"X-A"), b"b"), (b"content-length", make(b"1"))],
        [(b"X-A", make(b"b")), (make(b"content-length"), b"1")],
        ([make(b"X-A"), make(b"b")], (make(b"content-length"), make(b"1"))),
    ):
        for _ in range(3):
            pieces, length, flags = response_head(200, headers)  # type: ignore[arg-type]
            head = b"HTTP/1.1 200 OK\r\nX-A: b\r\ncontent-length: 1\r\n"
            assert (b"".join(pieces), length, flags) == (head, 1, 0)
        assert response_fields(headers)[0] == [(b"x-a", b"b"), (b"content-length", b"1")]  # type: ignore[arg-type]
    with pytest.raises(AppError, match="value of the response field 'a' must be bytes without control characters"):
        response_head(200, [(b"a", make(b"b\n"))])
    with pytest.raises(AppError, match="name must be a token"):
        response_head(200, [(make(b"a b"), b"c"), (b"x", make(b"y"))])
    with pytest.raises(AppError, match="value of the response field 'a'"):
        response_head(200, [(b"a", "text"), (b"b", make(b"c"))])  # type: ignore[list-item]
    assert early_hints([make(b"</a>")]) == b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"


def test_a_pair_may_be_a_list() -> None:
    headers: list[list[bytes]] = [[b"a", b"b"], [b"content-length", b"1"]]
    pieces, length, _ = response_head(200, headers)  # type: ignore[arg-type]
    assert (b"".join(pieces), length) == (b"HTTP/1.1 200 OK\r\na: b\r\ncontent-length: 1\r\n", 1)


def test_any_number_of_different_fields_is_rendered_rightly() -> None:
    for number in range(2000):
        pieces, _, _ = response_head(200, [(b"a", b"%d" % number)])
        assert b"".join(pieces) == b"HTTP/1.1 200 OK\r\na: %d\r\n" % number


def test_a_chunk_is_its_size_in_hexadecimal_and_its_data() -> None:
    assert chunk(b"a" * 26) == b"1a\r\n" + b"a" * 26 + b"\r\n"


def test_early_hints_are_a_head_of_links() -> None:
    assert early_hints([b"</a.css>; rel=preload", b"</b>"]) == (
        b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\nlink: </b>\r\n\r\n"
    )
    assert early_hints(()) == b"HTTP/1.1 103 Early Hints\r\n\r\n"


@pytest.mark.parametrize(
    ("links", "text"),
    [
        ([b"a\r\nb: c"], "the value of the response field 'link'"),
        ([b"a\0"], "the value of the response field 'link'"),
        (["a"], "the value of the response field 'link'"),
        ([None], "the value of the response field 'link'"),
        (b"abc", "the value of the response field 'link'"),
        (None, "the field 'links' of 'http.response.early_hint' must be a list of bytes"),
        (1, "the field 'links' of 'http.response.early_hint' must be a list of bytes"),
    ],
)
def test_wrong_links_are_the_applications_error(links: list[bytes], text: str) -> None:
    with pytest.raises(AppError, match=text):
        early_hints(links)


def test_trailers_are_lines() -> None:
    assert trailer_lines([(b"X-Sum", b"1"), (b"etag", b'"a"')]) == b'X-Sum: 1\r\netag: "a"\r\n'
    assert trailer_lines([]) == b""


@pytest.mark.parametrize("name", sorted(NOT_TRAILERS))
def test_a_field_that_must_be_in_the_head_is_no_trailer(name: bytes) -> None:
    for written in (name, name.title()):
        with pytest.raises(AppError, match=f"the field '{written.decode()}' must not be a trailer"):
            trailer_lines([(b"x", b"y"), (written, b"1")])


@pytest.mark.parametrize(
    ("trailers", "text"),
    [
        ([(b"a b", b"c")], "name must be a token"),
        ([("a", b"c")], "name must be a token"),
        ([(b"a", b"b\r\nc: d")], "value of the response field 'a'"),
        ([(b"a", None)], "value of the response field 'a'"),
    ],
)
def test_a_wrong_trailer_is_the_applications_error(trailers: list[tuple[bytes, bytes]], text: str) -> None:
    with pytest.raises(AppError, match=text):
        trailer_lines(trailers)


def test_a_refusal_is_a_whole_response() -> None:
    assert refusal(400, "no", b"date: d\r\n") == (
        b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 3\r\n"
        b"date: d\r\nconnection: close\r\n\r\nno\n"
    )


# VT and FF are white space to h11 and data to RFC 9112; neither ends a line, which the test above covers.
VALUES = st.binary(max_size=20).filter(lambda value: not set(value) & set(b"\v\f"))
SPECIAL = st.sampled_from([b"Content-Length", b"transfer-encoding", b"Connection", b"date", b"server", b"upgrade"])
NAMES = st.one_of(st.from_regex(rb"[A-Za-z0-9!#-]{1,8}", fullmatch=True), SPECIAL, st.binary(max_size=6))
HEADERS = st.lists(st.tuples(NAMES, st.one_of(VALUES, st.sampled_from([b"3", b"a\r\nb: c", b"chunked", b"close"]))))


@given(st.integers(200, 999), HEADERS)
def test_a_client_reads_the_very_fields_that_the_application_gave(
    status: int, headers: list[tuple[bytes, bytes]]
) -> None:
    try:
        pieces, _, _ = response_head(status, headers)
    except AppError:
        return
    response = parse_head(b"".join(pieces) + b"\r\n")
    assert response.status_code == status
    given_fields = [(name.lower(), value.strip(b" \t")) for name, value in headers if name.lower() not in OURS]
    assert sorted(set(response.headers)) == sorted(set(given_fields))
    unframed = [field for field in given_fields if field[0] != b"content-length"]
    assert [field for field in response.headers if field[0] != b"content-length"] == unframed


def parse_head(head: bytes) -> h11.Response:
    """The head as a client understands it; fails if anything is left over."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("host", "a")]))
    client.receive_data(head)
    response = client.next_event()
    assert isinstance(response, h11.Response)
    assert client.trailing_data == (b"", False)
    return response


# Heads that are remembered whole.


@pytest.fixture
def _nothing_known() -> Iterator[None]:
    wire.known_heads.clear()
    yield
    wire.known_heads.clear()


USUAL = [(b"content-type", b"text/plain"), (b"content-length", b"5")]


@pytest.mark.usefixtures("_nothing_known")
def test_a_head_that_is_asked_for_twice_in_a_row_is_known_whole() -> None:
    response_head(200, USUAL)  # its lines are remembered now
    rendered = [response_head(200, list(USUAL)) for _ in range(2)]
    assert wire.known_heads == {(200, *USUAL): (b"".join(rendered[0][0]), 5)}


@pytest.mark.usefixtures("_nothing_known")
@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (204, USUAL),  # of which the length is not sent
        (HTTPStatus.OK, USUAL),
        (200, tuple(USUAL)),
        (200, [list(pair) for pair in USUAL]),
        (200, [*USUAL, (b"date", b"now")]),
        (200, [*USUAL, (b"connection", b"close")]),
        (200, [*USUAL, (b"set-cookie", b"a=" + b"b" * 600)]),
    ],
)
def test_a_head_with_anything_special_is_never_known_whole(status: int, headers: list[tuple[bytes, bytes]]) -> None:
    for _ in range(4):
        response_head(status, headers)
    assert not wire.known_heads


@pytest.mark.usefixtures("_nothing_known")
def test_heads_that_never_repeat_do_not_fill_the_memory() -> None:
    for number in range(1000):
        response_head(200, [(b"content-type", b"text/plain"), (b"content-length", b"%d" % number)])
    assert not wire.known_heads
    for number in range(1000):
        for _ in range(2):
            response_head(200, [(b"content-type", b"text/plain"), (b"content-length", b"%d" % number)])
    assert len(wire.known_heads) <= 64


@pytest.mark.parametrize("body", [b"hello", b"other", b"", b"longer than it says"])
@pytest.mark.parametrize("status", [200, 404, 204, 304, 200.0, True, HTTPStatus.OK])
@pytest.mark.parametrize(
    "headers",
    [USUAL, tuple(USUAL), [list(pair) for pair in USUAL], [(b"content-length", bytearray(b"5"))], USUAL[:1], [], None],
)
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
async def test_what_is_sent_for_a_head_does_not_depend_on_how_often_it_was_sent(
    method: bytes, headers: object, status: object, body: bytes
) -> None:
    received = []
    for _ in range(4):
        start = {"type": "http.response.start", "status": status, "headers": headers}
        client = Client(make_context(Sender(start, {"type": "http.response.body", "body": body}), HttptoolsParser))
        await client.send(method + b" / HTTP/1.1\r\nHost: a\r\n\r\n")
        received.append((client.received, client.closed))
    assert len(set(received)) == 1
