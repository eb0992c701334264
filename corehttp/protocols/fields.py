"""The syntax of fields, and of what stands in them: one home for rules that requests and responses share.

Pure. Nothing here depends on the version of HTTP, or on a request or a response being read or written.
"""

import re
from collections.abc import Iterable

from corehttp.errors import AppError, PeerError

# A token (RFC 9110, 5.6.2), as source of a regular expression for bytes.
TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
# The characters of a field's value (RFC 9110, 5.5): of the control characters only the tab is among them. This is what
# stands inside the brackets of a character class, in a regular expression for bytes.
VALUE_CHARACTERS = rb"\t -~\x80-\xff"
# The most elements that a field which is a list may have. It is more than any client sends, and few enough to take no
# time: to split a value with 60,000 commas takes 35 ms.
LIST_LIMIT = 128
# Fields of a response that say how its body is framed, or whether the connection goes on: the server's own.
CONNECTION_FIELDS = frozenset({b"content-length", b"transfer-encoding", b"keep-alive", b"connection", b"upgrade"})
# Fields that a trailer section must not have (RFC 9110, 6.5.1): those for framing, routing, authentication, request
# control, or what the content is.
NOT_TRAILERS = frozenset(
    b"authorization cache-control connection content-encoding content-length content-range content-type cookie "
    b"expect host keep-alive max-forwards proxy-authenticate proxy-authorization proxy-connection range set-cookie te "
    b"trailer transfer-encoding upgrade www-authenticate".split()
)

_TOKEN = re.compile(TOKEN).fullmatch
# Line breaks and NUL would change what a response means, and clients refuse the other characters (RFC 9110, 5.5).
_UNSAFE = re.compile(rb"[^%b]" % VALUE_CHARACTERS).search
# RFC 3986, 3.2.2 and 3.2.3: a name or IPv4 address, or a bracketed IPv6 address, and an optional port.
_HOST = re.compile(rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=%]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?").fullmatch
# Media types of bodies that have no end of their own: HTML standard, "Server-sent events" and
# "multipart/x-mixed-replace". Others that are streamed for long, such as application/x-ndjson, may have one that the
# client must not miss.
_ENDLESS_TYPES = (b"text/event-stream", b"multipart/x-mixed-replace")


def is_token(text: bytes) -> bool:
    """Whether `text` is a token (RFC 9110, 5.6.2), as methods and field names are."""
    return _TOKEN(text) is not None


def check_field(name: bytes, value: bytes) -> None:
    """Raise AppError unless the pair can be a field of a response (RFC 9110, 5.1 and 5.5)."""
    if type(name) is not bytes or not is_token(name):
        raise AppError(f"a response field's name must be a token (RFC 9110, 5.6.2) in bytes, not {name!r}")
    if type(value) is not bytes or _UNSAFE(value) is not None:
        raise AppError(
            f"the value of the response field {name.decode()!r} must be bytes without control characters, not {value!r}"
        )


def check_trailer(name: bytes, value: bytes) -> None:
    """Raise AppError unless the pair can be a field of a response's trailer section (RFC 9110, 6.5.1)."""
    check_field(name, value)
    if name.lower() in NOT_TRAILERS:
        raise AppError(f"the field {name.decode()!r} must not be a trailer (RFC 9110, 6.5.1)")


def elements(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    """The elements of all fields `name`, which is a list (RFC 9110, 5.6.1); names are lower-case.

    Raises PeerError (400) if there are more than LIST_LIMIT.
    """
    values = b",".join([value for field, value in headers if field == name])
    if values.count(b",") >= LIST_LIMIT:
        raise PeerError(400, f"the field {name.decode()} has more than {LIST_LIMIT} elements")
    return [element.strip(b" \t") for element in values.split(b",")]


def is_host(text: bytes) -> bool:
    """Whether `text` is a host with or without a port, as a Host field has it (RFC 9110, 7.2)."""
    return _HOST(text) is not None


def put_host(headers: list[tuple[bytes, bytes]], host: bytes) -> None:
    """Set the value of the Host field of `headers`, which has one at most, to `host`."""
    field = (b"host", host)
    for index, (name, _) in enumerate(headers):
        if name == b"host":
            headers[index] = field
            return
    headers.append(field)


def is_prefix(path: str) -> bool:
    """Whether a decoded path can be put in front of other paths and leads neither to another host nor upwards."""
    segments = path.split("/")
    if segments[0] or len(segments) < 2 or "" in segments[1:-1]:
        return False
    return path.isprintable() and "\\" not in path and "." not in segments and ".." not in segments


def never_ends(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether the Content-Type of a response says that its body has no end of its own, as a stream of events has."""
    for name, value in headers:
        if name.lower() == b"content-type":
            return value.partition(b";")[0].strip().lower() in _ENDLESS_TYPES
    return False
