"""A response's body in each framing: what goes out, and what is held against the application."""

import pytest

from corehttp.errors import AppError
from corehttp.protocols.http1.framing import Framing, OutgoingBody, frame

CHUNKED = b"transfer-encoding: chunked\r\n"
SIZED, IN_CHUNKS, UNTIL_CLOSE, NONE = Framing


@pytest.mark.parametrize(
    ("bodiless", "version", "length", "framing", "line"),
    [
        (False, "1.1", 3, SIZED, b""),
        (False, "1.1", 0, SIZED, b""),
        (False, "1.0", 3, SIZED, b""),
        (False, "1.1", -1, IN_CHUNKS, CHUNKED),
        (False, "1.0", -1, UNTIL_CLOSE, b""),
        (True, "1.1", 3, NONE, b""),
        (True, "1.1", -1, NONE, b""),
        (True, "1.0", -1, NONE, b""),
    ],
)
def test_the_framing_follows_from_what_is_declared_and_the_version(
    bodiless: bool, version: str, length: int, framing: Framing, line: bytes
) -> None:
    body, field = frame(bodiless, 200, version, length)
    assert (body.framing, field) == (framing, line)


@pytest.mark.parametrize(
    ("framing", "pieces"),
    [
        (SIZED, [b"ab", b"", b"c", b""]),
        (IN_CHUNKS, [b"2\r\nab\r\n", b"", b"1\r\nc\r\n", b"0\r\n\r\n"]),
        (UNTIL_CLOSE, [b"ab", b"", b"c", b""]),
        (NONE, [b"", b"", b"", b""]),
    ],
)
def test_each_framing_encodes_pieces_in_its_way(framing: Framing, pieces: list[bytes]) -> None:
    body = OutgoingBody(framing, 200, 3)
    assert [
        body.encode(b"ab", True),
        body.encode(b"", True),
        body.encode(b"c", True),
        body.encode(b"", False),
    ] == pieces


@pytest.mark.parametrize(
    ("framing", "last"),
    [(SIZED, b"abc"), (IN_CHUNKS, b"3\r\nabc\r\n0\r\n\r\n"), (UNTIL_CLOSE, b"abc"), (NONE, b"")],
)
def test_the_last_piece_brings_the_end_of_the_body(framing: Framing, last: bytes) -> None:
    assert OutgoingBody(framing, 200, 3).encode(b"abc", False) == last


@pytest.mark.parametrize(
    ("framing", "around"),
    [
        (SIZED, [(b"", b""), (b"", b""), (b"", b"")]),
        (IN_CHUNKS, [(b"1a\r\n", b"\r\n"), (b"", b""), (b"1\r\n", b"\r\n0\r\n\r\n")]),
        (UNTIL_CLOSE, [(b"", b""), (b"", b""), (b"", b"")]),
        (NONE, [(b"", b""), (b"", b""), (b"", b"")]),
    ],
)
def test_a_piece_that_is_not_here_is_framed_as_one_that_is(framing: Framing, around: list[tuple[bytes, bytes]]) -> None:
    body = OutgoingBody(framing, 200, 27)
    assert [body.around(26, True), body.around(0, True), body.around(1, False)] == around
    elsewhere, here = OutgoingBody(framing, 200, 27), OutgoingBody(framing, 200, 27)
    for size, more in ((26, True), (0, True), (1, False)):
        before, after = elsewhere.around(size, more)
        data = bytes(size) if framing is not NONE else b""
        assert before + data + after == here.encode(bytes(size), more)


@pytest.mark.parametrize(
    ("framing", "end"),
    [(SIZED, b""), (IN_CHUNKS, b"0\r\nx: y\r\n\r\n"), (UNTIL_CLOSE, b""), (NONE, b"")],
)
def test_trailers_go_out_where_they_have_a_place(framing: Framing, end: bytes) -> None:
    body = OutgoingBody(framing, 200, 3)
    body.encode(b"abc", True)
    assert body.end(b"x: y\r\n") == end


def test_a_body_of_declared_length_must_be_as_long() -> None:
    longer = "the response's body is longer than its Content-Length, by 1 bytes"
    shorter = "the response's body is shorter than its Content-Length, by 2 bytes"
    for size, more, text in ((4, True, longer), (4, False, longer), (1, False, shorter)):
        with pytest.raises(AppError, match=text):
            OutgoingBody(SIZED, 200, 3).encode(bytes(size), more)
        with pytest.raises(AppError, match=text):
            OutgoingBody(SIZED, 200, 3).around(size, more)
    body = OutgoingBody(SIZED, 200, 3)
    body.around(1, True)
    with pytest.raises(AppError, match=shorter):
        body.end(b"")


def test_a_piece_that_was_refused_does_not_count() -> None:
    body = OutgoingBody(SIZED, 200, 3)
    for _ in range(2):
        with pytest.raises(AppError):
            body.encode(b"abcd", True)
        with pytest.raises(AppError):
            body.encode(b"ab", False)
    assert body.encode(b"abc", False) == b"abc"


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_a_body_takes_none(status: int) -> None:
    body = OutgoingBody(NONE, status, 0)
    assert body.encode(b"", False) == b""
    assert body.around(0, False) == (b"", b"")
    with pytest.raises(AppError, match=f"a response with status {status} has no body"):
        body.encode(b"a", True)
    with pytest.raises(AppError, match=f"a response with status {status} has no body"):
        body.around(1, True)


def test_the_body_of_an_answer_to_head_is_left_out() -> None:
    body = OutgoingBody(NONE, 200, 0)
    assert body.encode(b"abc", True) == b""
    assert body.around(3, False) == (b"", b"")
