"""What ties a request to a worker (`--sticky`): its client's address, a cookie, a field, a part of its query. Pure."""

import re
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from corehttp.asgi import Scope
from corehttp.protocols.fields import is_token

KeyOf = Callable[[Scope], bytes | None]  # returns the key of a request; None if it has none

_PART = re.compile(r"[!-%'-<>-~]+").fullmatch  # the name of a query's part: no white space, & or =


class Rule(NamedTuple):
    """One value of `--sticky`: where a request may have a key."""

    source: str  # ip, cookie, header or query
    name: str = ""  # the name of the cookie, field or part; empty for `ip`, and for the cookie that the server sets

    @property
    def is_own_cookie(self) -> bool:
        """Whether the server itself sets the cookie."""
        return self.source == "cookie" and not self.name

    def __str__(self) -> str:
        return f"{self.source}:{self.name}" if self.name else self.source


def parse_rule(text: str) -> Rule:
    """Return the rule of a value of `--sticky`. Raises ValueError for text that is none."""
    source, colon, name = text.partition(":")
    source = source.strip().lower()
    if not colon and source in ("ip", "cookie"):
        return Rule(source)
    fits = _PART(name) is not None if source == "query" else is_token(name.encode())
    if source not in ("cookie", "header", "query") or not fits:
        raise ValueError(f"{text!r} is no rule")
    return Rule(source, name.lower() if source == "header" else name)


def key_reader(rule: Rule, cookie: str, is_own: Callable[[bytes], bool] = bool) -> KeyOf:
    """Return what finds the key of a rule in the scope of a request.

    `cookie` is the name of the server's cookie, and `is_own` says whether the server has made a value of it: any other
    value is ignored.
    """
    name = (rule.name or cookie).encode()
    fits = is_own if rule.is_own_cookie else bool
    match rule.source:
        case "ip":
            return client_address
        case "cookie":
            return lambda scope: cookie_value(scope, name, fits)
        case "header":
            return lambda scope: field_value(scope, name)
        case _:
            return lambda scope: query_value(scope, name)


def client_address(scope: Scope) -> bytes | None:
    """Return the address of the client, without its port; None if there is none, as on a unix socket."""
    client = scope["client"]
    return client[0].encode() if client else None


def field_value(scope: Scope, name: bytes) -> bytes | None:
    """Return the first value of a field that is not empty; None if the request has no such field."""
    for field, value in scope["headers"]:
        if field == name and value:
            found: bytes = value
            return found
    return None


def cookie_value(scope: Scope, name: bytes, fits: Callable[[bytes], bool] = bool) -> bytes | None:
    """Return the first value of a cookie that `fits`, without quotes (RFC 6265, 4.2.1); None if there is none.

    By default any value fits that is not empty. A client sends several cookies of one name if they were set for
    several paths or domains (RFC 6265, 5.4).
    """
    for field, value in scope["headers"]:
        if field == b"cookie" and name in value:
            for pair in value.split(b";"):
                found, _, text = pair.partition(b"=")
                if found.strip() == name and fits(text := text.strip().strip(b'"')):
                    return bytes(text)
    return None


def query_value(scope: Scope, name: bytes) -> bytes | None:
    """Return the first value of a part of the query that is not empty, decoded; None if there is none."""
    query: bytes = scope["query_string"]
    if name not in query:
        return None
    for part in query.split(b"&"):
        found, _, value = part.partition(b"=")
        if found == name and value:
            return unquote_to_bytes(value.replace(b"+", b" "))
    return None
