"""A chunked body in every cut: its content, its limits to the byte, and what is refused."""

import pytest

from corehttp.errors import PeerError
from corehttp.protocols.http1.chunked import EXTENSIONS_LIMIT, LINE_LIMIT, ChunkedBody
from corehttp.protocols.limits import Limits
from tests.kit.fakes import every_cut

REST = b"GET / HTTP/1.1\r\n"  # of what follows the body
NO_LIMITS = Limits()  # but those that are always there
Outcome = tuple[bytes, bytes] | tuple[int, str]  # content and rest, or status and reason


def decode(pieces: list[bytes], limits: Limits) -> Outcome:
    body = ChunkedBody(limits)
    content = b""
    rest = b""
    for piece in pieces:
        try:
            part, end = body.feed(piece, 0)
        except PeerError as error:
            return error.status, str(error)
        content += part
        rest += piece[end:]
        assert body.whole or end == len(piece)
    assert body.whole, "the body does not end"
    return content, rest


def decode_in_every_cut(raw: bytes, limits: Limits = NO_LIMITS) -> Outcome:
    """What becomes of a body with `REST` behind it, and that it does so however it is cut."""
    raw += REST
    whole = decode([raw], limits)
    for pieces in every_cut(raw) if len(raw) < 2000 else [[raw[at : at + 1] for at in range(len(raw))]]:
        assert decode(pieces, limits) == whole, f"another outcome for the pieces {pieces}"
    return whole


def refusal(raw: bytes, limits: Limits = NO_LIMITS) -> tuple[int, str]:
    status, reason = decode_in_every_cut(raw, limits)
    assert isinstance(status, int)
    assert isinstance(reason, str)
    return status, reason


@pytest.mark.parametrize("digits", [b"%b", b"0%b", b"000%b"])
def test_many_small_chunks_in_a_row_are_read_in_every_cut(digits: bytes) -> None:
    sizes = (1, 1, 1, 2, 15, 16, 17, 1, 0x1F, 3, 0xFF, 1)
    contents = [b"\r\n1\r\n0\r\n\r\n"[:size].ljust(size, b"z") for size in sizes]
    written = [b"%x" % size if index % 2 else b"%X" % size for index, size in enumerate(sizes)]
    raw = b"".join(
        (digits % size) + b"\r\n" + content + b"\r\n" for size, content in zip(written, contents, strict=True)
    )
    assert decode_in_every_cut(raw + b"0\r\n\r\n") == (b"".join(contents), REST)


def test_sizes_that_are_written_in_ever_other_ways_are_read_in_every_cut() -> None:
    written = [b"1", b"01", b"0001", b"001", b"1", b"0001", b"1", b"00a", b"A", b"1;a=b", b"1;a=b", b"0A", b"0001"]
    contents = [b"\n" * int(size.partition(b";")[0], 16) for size in written]
    raw = b"".join(size + b"\r\n" + content + b"\r\n" for size, content in zip(written, contents, strict=True))
    assert decode_in_every_cut(raw + b"0\r\n\r\n") == (b"".join(contents), REST)


@pytest.mark.parametrize(
    "wrong", [b"2\r\na\r\n", b"1\r\nab\r\n", b"1\na\r\n", b"1\r\na\n", b"g\r\n", b" 1\r\na\r\n", b"\r\n"]
)
def test_a_wrong_chunk_among_many_small_ones_is_refused_in_every_cut(wrong: bytes) -> None:
    good = b"1\r\na\r\n" * 9
    assert refusal(good + wrong + good + b"0\r\n\r\n")[0] == 400


def test_extensions_of_many_small_chunks_are_limited_to_the_byte() -> None:
    chunk = b"1;a\r\nx\r\n"
    most = EXTENSIONS_LIMIT // 2
    assert decode_in_every_cut(chunk * most + b"0\r\n\r\n") == (b"x" * most, REST)
    assert refusal(chunk * most + b"0;\r\n\r\n")[0] == 400
    assert refusal(chunk * (most + 1) + b"0\r\n\r\n")[0] == 400
    for cut in range(1, 9):
        raw = chunk * (most + 1)
        assert decode([raw[:-cut], raw[-cut:]], NO_LIMITS)[0] == 400


@pytest.mark.parametrize("limit", [1, 5, 9])
def test_many_small_chunks_are_limited_to_the_byte(limit: int) -> None:
    raw = b"1\r\na\r\n" * limit
    assert decode_in_every_cut(raw + b"0\r\n\r\n", Limits(request_body=limit)) == (b"a" * limit, REST)
    assert refusal(raw + b"1\r\na\r\n0\r\n\r\n", Limits(request_body=limit))[0] == 413


@pytest.mark.parametrize(
    ("raw", "content"),
    [
        (b"0\r\n\r\n", b""),
        (b"1\r\na\r\n0\r\n\r\n", b"a"),
        (b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", b"abcde"),
        (b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", b"0123456789" * 2),
        (b"0003\r\nabc\r\n0000000000000000\r\n\r\n", b"abc"),
        (b"4\r\n\r\n\r\n\r\n0\r\n\r\n", b"\r\n\r\n"),
        (b"5\r\n0\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n"),
        (b'3;a;b=c;d="e f;\\"\xff"\r\nabc\r\n0;x\r\n\r\n', b"abc"),
        (b"3 ; a = b\r\nabc\r\n0\t;\tx\r\n\r\n", b"abc"),
        (b"0\r\nX: y\r\nZ:\r\n\r\n", b""),
    ],
)
def test_the_content_comes_out_and_the_rest_stays(raw: bytes, content: bytes) -> None:
    assert decode_in_every_cut(raw) == (content, REST)


def test_decoding_begins_where_it_is_told_and_takes_any_bytes() -> None:
    body = ChunkedBody(NO_LIMITS)
    assert body.feed(bytearray(b"before1\r\na\r"), 6) == (b"a", 11)
    assert not body.whole
    assert body.feed(b"\n0\r\n\r\nafter", 0) == (b"", 6)
    assert body.whole
    assert body.feed(b"after", 0) == (b"", 0)


@pytest.mark.parametrize(
    "line",
    [
        b"\r\n",
        b"x\r\n",
        b"-1\r\n",
        b"+1\r\n",
        b"0x1\r\n",
        b"1_0\r\n",
        b" 1\r\n",
        b"1 \r\n",
        b"1\n",
        b"1\r\r\n",
        b"1;\r\n",
        b"1;=b\r\n",
        b"1;a=\r\n",
        b'1;a="b\r\n',
        b"1;a=b c\r\n",
        b"1;a\0\r\n",
        b"1 a\r\n",
        b"00000000000000001\r\n",
    ],
)
def test_a_line_that_is_no_size_is_refused(line: bytes) -> None:
    for before in (b"", b"1\r\na\r\n"):
        assert refusal(before + line) == (
            400,
            "a chunk must begin with its size in hexadecimal digits, and CR LF",
        )


@pytest.mark.parametrize("end", [b"b", b"\n", b"\rb", b"0\r\n\r\n"])
def test_a_chunk_that_is_longer_than_its_size_is_refused(end: bytes) -> None:
    assert refusal(b"1\r\na" + end) == (400, "a chunk's data must be as long as its size says, and end in CR LF")


def test_a_chunk_may_be_as_large_as_a_length_can_be() -> None:
    for size in (b"7fffffffffffffff", b"7FFFFFFFFFFFFFFF"):
        body = ChunkedBody(NO_LIMITS)
        assert body.feed(size + b"\r\nabc", 0) == (b"abc", 21)
        assert not body.whole
    for size in (b"8000000000000000", b"ffffffffffffffff"):
        assert refusal(size + b"\r\n")[0] == 400


def test_a_size_line_may_be_as_long_as_the_limit_and_no_longer() -> None:
    longest = b"1;" + b"a" * (LINE_LIMIT - 2)
    assert decode_in_every_cut(longest + b"\r\nb\r\n0\r\n\r\n") == (b"b", REST)
    assert refusal(longest + b"a\r\nb\r\n0\r\n\r\n") == (
        400,
        f"the line before a chunk must not be longer than {LINE_LIMIT} bytes",
    )


def test_a_size_line_that_does_not_end_is_refused() -> None:
    body = ChunkedBody(NO_LIMITS)
    with pytest.raises(PeerError, match="the line before a chunk must not be longer than 1024 bytes"):
        body.feed(b"1" * (LINE_LIMIT + 3), 0)


def test_extensions_are_bounded_in_all_chunks_together() -> None:
    each = b"1;" + b"a" * 1021 + b"\r\nb\r\n"
    count, left = divmod(EXTENSIONS_LIMIT, 1022)
    fill = b"1;" + b"a" * (left - 1) + b"\r\nb\r\n"
    content = b"b" * (count + 1)
    assert decode_in_every_cut(each * count + fill + b"0\r\n\r\n") == (content, REST)
    assert refusal(each * count + fill + b"0;a\r\n\r\n") == (
        400,
        f"the chunk extensions of a body must not exceed {EXTENSIONS_LIMIT} bytes",
    )


def test_a_body_may_be_as_large_as_the_limit_and_no_larger() -> None:
    limits = Limits(request_body=5)
    assert decode_in_every_cut(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", limits) == (b"abcde", REST)
    too_large = (413, "the body of a request must not be larger than 5 bytes")
    assert refusal(b"3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n", limits) == too_large
    assert refusal(b"6\r\n", limits) == too_large  # before a byte of it


@pytest.mark.parametrize(
    ("trailers", "status"),
    [
        (b"X\r\n\r\n", 400),
        (b" X: y\r\n\r\n", 400),
        (b"X : y\r\n\r\n", 400),
        (b"X: y\n\r\n", 400),
        (b"X: \0\r\n\r\n", 400),
        (b"\n", 400),
        (b"X: y\r\n" * 4 + b"\r\n", 431),
        (b"X: ".ljust(61, b"a") + b"\r\n\r\n", 431),
        (b"X: y\r\n".ljust(61, b"a"), 431),
    ],
)
def test_wrong_trailers_are_refused(trailers: bytes, status: int) -> None:
    assert refusal(b"0\r\n" + trailers, Limits(request_fields=3, request_head=60))[0] == status


def test_trailers_may_be_as_many_and_as_large_as_the_limits() -> None:
    trailers = b"X: y\r\n" * 3
    size = len(trailers) + 2
    assert decode_in_every_cut(b"0\r\n" + trailers + b"\r\n", Limits(request_fields=3)) == (b"", REST)
    assert decode_in_every_cut(b"0\r\n" + trailers + b"\r\n", Limits(request_head=size)) == (b"", REST)
    assert refusal(b"0\r\n" + trailers + b"\r\n", Limits(request_fields=2)) == (
        431,
        "a request must not have more than 2 fields",
    )
    for excess in (1, 2, 3):
        assert refusal(b"0\r\n" + trailers + b"\r\n", Limits(request_head=size - excess))[0] == 431
