"""The syntax of fields and of what stands in them, as tables."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corehttp.errors import AppError, PeerError
from corehttp.protocols.fields import (
    LIST_LIMIT,
    NOT_TRAILERS,
    check_field,
    check_trailer,
    elements,
    is_host,
    is_prefix,
    is_token,
    never_ends,
    put_host,
)


@pytest.mark.parametrize("text", [b"a", b"X-1", b"!#$%&'*+-.^_`|~09azAZ"])
def test_a_token_is_made_of_the_characters_of_rfc_9110(text: bytes) -> None:
    assert is_token(text)


@pytest.mark.parametrize("text", [b"", b" ", b"a ", b"a:", b'"a"', b"a/b", b"\xe9", b"a\n", b"(", b"{", b"@", b"\x00"])
def test_anything_else_is_no_token(text: bytes) -> None:
    assert not is_token(text)


@given(st.binary(), st.binary())
def test_a_checked_field_is_one_line(name: bytes, value: bytes) -> None:
    try:
        check_field(name, value)
    except AppError:
        return
    assert name
    assert not set(name + value) & set(b"\r\n\0")


@pytest.mark.parametrize("name", sorted(NOT_TRAILERS))
def test_a_field_that_belongs_into_the_head_is_refused_as_a_trailer_alone(name: bytes) -> None:
    check_field(name, b"1")
    for written in (name, name.title()):
        with pytest.raises(AppError, match=f"the field '{written.decode()}' must not be a trailer"):
            check_trailer(written, b"1")


def test_a_trailer_is_checked_as_any_other_field_is() -> None:
    check_trailer(b"x-sum", b"1")
    with pytest.raises(AppError, match="name must be a token"):
        check_trailer(b"x sum", b"1")


def test_the_elements_of_a_list_are_those_of_all_its_fields() -> None:
    headers = [(b"a", b"1, 2"), (b"b", b"3"), (b"a", b"\t4 ,,5")]
    assert elements(headers, b"a") == [b"1", b"2", b"4", b"", b"5"]
    assert elements(headers, b"c") == [b""]


def test_a_list_with_more_elements_than_anybody_sends_is_refused() -> None:
    assert len(elements([(b"a", b"," * (LIST_LIMIT - 1))], b"a")) == LIST_LIMIT
    with pytest.raises(PeerError, match="has more than"):
        elements([(b"a", b"," * LIST_LIMIT)], b"a")


@pytest.mark.parametrize("text", [b"a", b"a.example:80", b"a:", b"[::1]:8000", b"127.0.0.1"])
def test_a_host_has_a_name_or_an_address_and_perhaps_a_port(text: bytes) -> None:
    assert is_host(text)


@pytest.mark.parametrize("text", [b"", b":80", b"a b", b"a/b", b"a:123456", b"[::1", b"a@b", b"a:b"])
def test_anything_else_is_no_host(text: bytes) -> None:
    assert not is_host(text)


def test_a_host_takes_the_place_of_the_one_that_is_there() -> None:
    headers = [(b"a", b"1"), (b"host", b"b"), (b"c", b"2")]
    put_host(headers, b"d")
    assert headers == [(b"a", b"1"), (b"host", b"d"), (b"c", b"2")]
    headers = [(b"a", b"1")]
    put_host(headers, b"d")
    assert headers == [(b"a", b"1"), (b"host", b"d")]


@pytest.mark.parametrize(("path", "good"), [("/a", True), ("/a/b/", True), ("a", False), ("", False), ("//a", False)])
def test_a_prefix_begins_with_one_slash(path: str, good: bool) -> None:
    assert is_prefix(path) is good


@pytest.mark.parametrize("path", ["/../a", "/a/..", "/./a", "/a\\b", "/a\n", "/a//b"])
def test_a_prefix_leads_nowhere_else(path: str) -> None:
    assert not is_prefix(path)


@pytest.mark.parametrize(
    ("value", "endless"),
    [
        (b"text/event-stream", True),
        (b"Text/Event-Stream; charset=utf-8", True),
        (b"multipart/x-mixed-replace;boundary=a", True),
        (b"text/plain", False),
        (b"application/x-ndjson", False),
    ],
)
def test_a_stream_of_events_or_of_replacements_has_no_end_of_its_own(value: bytes, endless: bool) -> None:
    assert never_ends([(b"a", b"b"), (b"Content-Type", value)]) is endless
    assert not never_ends([(b"a", value)])
