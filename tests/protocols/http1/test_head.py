"""A request's head judged line by line: its limits to the byte, and the first fault by position in every cut."""

from itertools import product

import pytest

from corehttp.errors import PeerError
from corehttp.protocols.http1.head import HeadScan, diagnose, other_version, split_head, split_request_line
from corehttp.protocols.limits import Limits
from tests.kit.fakes import every_cut

LINE = b"GET / HTTP/1.1\r\n"
HOST = b"Host: a\r\n"
END = b"\r\n"
GOOD = LINE + HOST + END


def refusal(head: bytes, limits: Limits) -> tuple[int, str] | None:
    """What a scan of the whole head says."""
    return refusal_in_pieces([head], limits)


def refusal_in_pieces(pieces: list[bytes], limits: Limits) -> tuple[int, str] | None:
    scan = HeadScan(limits)
    head = bytearray()
    for piece in pieces:
        head += piece
        try:
            scan.scan(head)
        except PeerError as error:
            return error.status, str(error)
    return None


def refusal_in_every_cut(head: bytes, limits: Limits) -> tuple[int, str] | None:
    """What a scan says, and that it says so however the head is cut."""
    whole = refusal(head, limits)
    for pieces in every_cut(head):
        assert refusal_in_pieces(pieces, limits) == whole, f"another refusal for the pieces {pieces}"
    return whole


def status_in_every_cut(head: bytes, limits: Limits) -> int | None:
    refused = refusal_in_every_cut(head, limits)
    return refused and refused[0]


@pytest.mark.parametrize(
    "head",
    [
        GOOD,
        b"GET / HTTP/1.0\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\n" + HOST + END,
        b"GET http://a/b?c HTTP/1.1\r\n" + HOST + END,
        LINE + b"Host:a\r\nX-Empty:\r\nX: \t spaced \t\r\nX-Bytes: \x80\xff\r\n!#$%&'*+-.^_`|~9: token\r\n" + END,
    ],
)
def test_a_good_head_is_let_through_in_every_cut(head: bytes) -> None:
    assert refusal_in_every_cut(head, Limits()) is None


@pytest.mark.parametrize(
    ("line", "status", "text"),
    [
        (b"GET / HTTP/1.1\n", 400, "with single spaces"),
        (b"GET  / HTTP/1.1\r\n", 400, "with single spaces"),
        (b"GET / HTTP/1.1 \r\n", 400, "with single spaces"),
        (b" GET / HTTP/1.1\r\n", 400, "with single spaces"),
        (b"GET /\r\n", 400, "with single spaces"),
        (b"GET / HTTP/11\r\n", 400, "with single spaces"),
        (b"GET / http/1.1\r\n", 400, "with single spaces"),
        (b"G@T / HTTP/1.1\r\n", 400, "with single spaces"),
        (b"\r\n", 400, "with single spaces"),
        (b"GET /\x01 HTTP/1.1\r\n", 400, "visible ASCII"),
        (b"GET /\xe9 HTTP/1.1\r\n", 400, "visible ASCII"),
        (b"GET\t/ HTTP/1.1\r\n", 400, "visible ASCII"),
        (b"GET /\r HTTP/1.1\r\n", 400, "visible ASCII"),
        (b"GET / HTTP/1.1\r\r\n", 400, "visible ASCII"),
        (b"GET /#a HTTP/1.1\r\n", 400, "without a fragment"),
        (b"GET a HTTP/1.1\r\n", 400, "target is not valid"),
        (b"GET * HTTP/1.1\r\n", 400, "for OPTIONS only"),
        (b"GET / HTTP/2.0\r\n", 505, "only HTTP/1.0 and HTTP/1.1"),
        (b"GET / HTTP/1.2\r\n", 505, "only HTTP/1.0 and HTTP/1.1"),
        (b"BREW / HTTP/1.1\r\n", 501, "the method BREW is not served"),
        (b"BREW / HTTP/3.0\r\n", 505, "only HTTP/1.0 and HTTP/1.1"),
    ],
)
def test_a_wrong_request_line_is_refused_as_soon_as_it_is_whole(line: bytes, status: int, text: str) -> None:
    for rest in (b"", HOST + END, b"no field\r\n" + END):
        refused = refusal_in_every_cut(line + rest, Limits())
        assert refused is not None
        assert refused[0] == status
        assert text in refused[1]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"X\r\n", "a field must be NAME: VALUE"),
        (b": b\r\n", "a field must be NAME: VALUE"),
        (b"X : b\r\n", "no space before the colon"),
        (b"X\xe9: b\r\n", "with a token for a name"),
        (b" X: b\r\n", "must not be folded"),
        (b"\tX: b\r\n", "must not be folded"),
        (b"X: b\n", "must end in CR LF"),
        (b"\n", "must end in CR LF"),
        (b"X: \0\r\n", "must not contain control characters"),
        (b"X: a\rb\r\n", "must not contain control characters"),
        (b"X: \x7f\r\n", "must not contain control characters"),
    ],
)
def test_a_wrong_field_is_refused_as_soon_as_its_line_is_whole(line: bytes, text: str) -> None:
    for head in (LINE + line, LINE + HOST + line + END):
        refused = refusal_in_every_cut(head, Limits())
        assert refused is not None
        assert refused[0] == 400
        assert text in refused[1]


def test_what_is_not_a_whole_line_may_still_become_a_good_one() -> None:
    for head in (b"", b"G", b"GET", b"GET / HTTP/1", b"GET / HTTP/1.1\r", LINE + b"no colon yet", LINE + b"X: \0"):
        assert refusal_in_every_cut(head, Limits()) is None


def test_what_is_not_visible_is_refused_before_the_line_ends() -> None:
    assert status_in_every_cut(b"\x16\x03\x01", Limits()) == 400  # the first bytes of a TLS connection
    assert status_in_every_cut(b"GET /\r\r", Limits()) == 400


# Limits, to the byte.


@pytest.mark.parametrize("limit", [15, 64, 100])
def test_a_request_line_may_be_as_long_as_the_limit_and_no_longer(limit: int) -> None:
    limits = Limits(request_line=limit)
    longest = b"GET /".ljust(limit - len(b" HTTP/1.1"), b"a") + b" HTTP/1.1"
    assert len(longest) == limit
    assert status_in_every_cut(longest + END + HOST + END, limits) is None
    longer = longest.replace(b"/", b"/a")
    assert refusal_in_every_cut(longer + END + HOST + END, limits) == (
        414,
        f"the request line must not be longer than {limit} bytes",
    )


def test_a_request_line_that_is_too_long_is_refused_before_it_ends() -> None:
    assert status_in_every_cut(b"GET /" + b"a" * 59, Limits(request_line=64)) is None
    assert status_in_every_cut(b"GET /" + b"a" * 60, Limits(request_line=64)) == 414


def test_a_head_may_be_as_large_as_the_limit_and_no_larger() -> None:
    for last in (b"X: y\r\n", HOST * 3, b""):
        head = LINE + HOST + last + END
        assert status_in_every_cut(head, Limits(request_head=len(head))) is None
        for excess in (1, 2, 3):
            limit = len(head) - excess
            text = f"the fields of a request must not be larger than {limit} bytes"
            assert refusal_in_every_cut(head, Limits(request_head=limit)) == (431, text)


def test_a_head_that_is_too_large_is_refused_before_its_line_ends() -> None:
    limits = Limits(request_head=100)
    start = LINE + HOST + b"X: "
    assert status_in_every_cut(start.ljust(100, b"a"), limits) is None
    assert status_in_every_cut(start.ljust(101, b"a"), limits) == 431


def test_a_head_may_have_as_many_fields_as_the_limit_and_no_more() -> None:
    limits = Limits(request_fields=3)
    assert status_in_every_cut(LINE + HOST * 3 + END, limits) is None
    assert refusal_in_every_cut(LINE + HOST * 4 + END, limits) == (431, "a request must not have more than 3 fields")
    assert status_in_every_cut(LINE + HOST * 4, limits) == 431
    assert status_in_every_cut(LINE + HOST * 3 + HOST[:-1], limits) is None


SMALL = Limits(request_line=30, request_fields=2, request_head=60)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /\x01" + b"a" * 30, 400),
        (b"GET /" + b"a" * 25 + b"\x01", 400),  # the very byte that is too much
        (b"GET /" + b"a" * 26 + b"\x01", 414),
        (b"GET /" + b"a" * 26 + b"\r\n", 414),
        (b"BREW / HTTP/1.1\r\nX\r\n", 501),
        (b"BREW /" + b"a" * 30 + b" HTTP/1.1\r\n", 414),
        (b"GET / HTTP/9.9\r\n" + b"X\r\n", 505),
        (LINE + b"X\r\n" + HOST * 3, 400),
        (LINE + HOST * 3 + b"X\r\n", 431),
        (LINE + HOST * 2 + b"X\r\n", 431),  # one too many, whatever it is
        (LINE + HOST + b"X\r\n" + b"a" * 60, 400),
        (LINE + HOST + b"X: " + b"a" * 60 + b"\0\r\n", 431),
        (LINE + b"X: \0" + b"a" * 60 + b"\r\n", 431),
        (LINE + b"X: \0" + b"a" * 20 + b"\r\n" + b"a" * 60, 400),
    ],
)
def test_the_first_fault_by_position_decides_in_every_cut(head: bytes, status: int) -> None:
    assert status_in_every_cut(head, SMALL) == status


def test_limits_in_any_relation_give_one_answer_in_every_cut() -> None:
    heads = [b"GET /".ljust(size, b"a") + end for size in range(17, 34) for end in (b"\x01\r\n", b"\rX", b"\r\n")]
    heads += [LINE + HOST + b"X: abc\r\n" + END, LINE + b"a" * 20 + b"\r\n", b"GET /" + b"a" * 60]
    for line, head in product((20, 29, 30, 31, 40), (29, 30, 31, 32, 33, 45)):
        limits = Limits(request_line=line, request_head=head)
        for raw in heads:
            refusal_in_every_cut(raw, limits)


# What else is read from a head.


def test_a_request_line_has_three_parts() -> None:
    assert split_request_line(b"GET /a?b HTTP/1.1\r\n") == ("GET", "/a?b", "1.1")
    assert split_request_line(b"X-Y a HTTP/7.3\r\n") == ("X-Y", "a", "7.3")
    for line in (b"GET / HTTP/1.1", b"GET /  HTTP/1.1\r\n", b"GET / HTTP/1.10\r\n", b""):
        with pytest.raises(PeerError) as caught:
            split_request_line(line)
        assert caught.value.status == 400


def test_the_only_other_version_is_1_0() -> None:
    assert other_version(b"HTTP/1.0") == "1.0"
    for text in (b"HTTP/1.2", b"HTTP/0.9", b"http/1.0", b"", b"HTTP/1.0 "):
        with pytest.raises(PeerError) as caught:
            other_version(text)
        assert caught.value.status == 505


def test_a_head_is_split_into_its_fields_in_lower_case_and_without_space_around() -> None:
    head = b"GET /a HTTP/1.0\r\nHOST: a\r\nX-Y:\t b:c \t\r\nEmpty:\r\n\r\n"
    fields = [(b"host", b"a"), (b"x-y", b"b:c"), (b"empty", b"")]
    assert split_head(head) == ("GET", "/a", "1.0", fields)
    assert split_head(b"GET / HTTP/1.1\r\n\r\n") == ("GET", "/", "1.1", [])


@pytest.mark.parametrize(
    ("head", "status", "text"),
    [
        (b"GET / HTTP/1.1\r\nX\r\n\r\n", 400, "a field must be NAME: VALUE"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "needs a Host"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, "the field host is given more than once"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501, "chunked"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: x\r\n\r\n", 417, "100-continue"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 128 + b"\r\n", 431, "more than 128 fields"),
    ],
)
def test_a_diagnosis_names_what_is_wrong_with_a_head(head: bytes, status: int, text: str) -> None:
    fault = diagnose(head, Limits())
    assert fault is not None
    assert fault.status == status
    assert text in str(fault)
    assert fault.__traceback__ is None  # it would hold what was parsed


def test_a_diagnosis_knows_the_limit_of_a_body() -> None:
    head = b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n"
    fault = diagnose(head, Limits(request_body=5))
    assert fault is not None
    assert (fault.status, str(fault)) == (413, "the body of a request must not be larger than 5 bytes")
    assert diagnose(head, Limits(request_body=6)) is None


def test_a_diagnosis_finds_nothing_wrong_with_a_good_head() -> None:
    assert diagnose(GOOD, Limits()) is None
