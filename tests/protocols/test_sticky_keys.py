"""Where a request has its key, and which rules there are."""

from urllib.parse import quote_from_bytes, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corehttp.asgi import Headers, Scope
from corehttp.protocols.sticky_keys import Rule, key_reader, parse_rule


def scope(headers: Headers | None = None, query: bytes = b"", client: tuple[str, int] | None = None) -> Scope:
    return {"headers": headers or [], "query_string": query, "client": client}


def key(rule: str, request: Scope) -> bytes | None:
    return key_reader(parse_rule(rule), "corehttp")(request)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("ip", Rule("ip")),
        ("COOKIE", Rule("cookie")),
        ("cookie:Sid", Rule("cookie", "Sid")),
        ("header:Mcp-Session-Id", Rule("header", "mcp-session-id")),
        ("query:sid", Rule("query", "sid")),
    ],
)
def test_rules_are_read(text: str, rule: Rule) -> None:
    assert parse_rule(text) == rule
    assert parse_rule(str(rule)) == rule


@pytest.mark.parametrize(
    "text",
    [
        "",
        "session",
        "ip:1",
        "cookie:",
        "header:",
        "header",
        "query:",
        "query:a&b",
        "query:a b",
        "header:a b",
        "cookie:a=b",
    ],
)
def test_other_text_is_no_rule(text: str) -> None:
    with pytest.raises(ValueError, match="is no rule"):
        parse_rule(text)


def test_the_address_of_the_client_is_a_key_without_its_port() -> None:
    assert key("ip", scope(client=("192.0.2.1", 50000))) == b"192.0.2.1"
    assert key("ip", scope(client=None)) is None


def test_the_first_field_with_a_value_counts() -> None:
    headers = [(b"host", b"a"), (b"x-key", b""), (b"x-key", b"one"), (b"x-key", b"two")]
    assert key("header:X-Key", scope(headers)) == b"one"
    assert key("header:x-other", scope(headers)) is None


@pytest.mark.parametrize(
    ("cookies", "value"),
    [
        ([b"sid=abc"], b"abc"),
        ([b"a=1; sid=abc; b=2"], b"abc"),
        ([b"a=1;sid=abc"], b"abc"),
        ([b"a=1", b"sid=x=y"], b"x=y"),
        ([b'sid="abc"'], b"abc"),
        ([b"sid=; sid=abc"], b"abc"),
        ([b"xsid=1; sidx=2; a=sid"], None),
        ([b"sid"], None),
        ([], None),
    ],
)
def test_the_first_cookie_with_a_value_counts(cookies: list[bytes], value: bytes | None) -> None:
    assert key("cookie:sid", scope([(b"cookie", cookie) for cookie in cookies])) == value


@pytest.mark.parametrize(
    ("query", "value"),
    [
        (b"sid=abc", b"abc"),
        (b"EIO=4&transport=polling&sid=abc&t=1", b"abc"),
        (b"sid=a%20b+c", b"a b c"),
        (b"sid=&sid=abc", b"abc"),
        (b"xsid=1&sidx=2&a=sid", None),
        (b"sid", None),
        (b"", None),
    ],
)
def test_the_first_part_of_the_query_with_a_value_counts(query: bytes, value: bytes | None) -> None:
    assert key("query:sid", scope(query=query)) == value


@given(st.binary(min_size=1), st.binary())
def test_a_value_in_a_query_is_found_however_it_is_encoded(value: bytes, other: bytes) -> None:
    for encode in (quote_from_bytes, quote_plus):
        query = f"a={encode(other)}&sid={encode(value)}&b={encode(other)}".encode()
        assert key("query:sid", scope(query=query)) == value
