"""A response's head as pairs, before it becomes the bytes of any protocol: checked, and what it says to the server.

Pure. HTTP/1.1 renders while it checks (`http1.wire`), by the same rules; other protocols call `response_fields`.
"""

from collections.abc import Iterable

from corehttp.asgi import Unchecked
from corehttp.errors import AppError
from corehttp.protocols.fields import CONNECTION_FIELDS, check_field

# What a response's fields said, as a bit mask, which costs less per response than an object.
CLOSES = 1  # the application asks for `Connection: close`
OWN_DATE = 2  # the application has set Date
OWN_SERVER = 4  # the application has set Server

BODILESS = frozenset({204, 304})  # statuses of responses that have no body (RFC 9110, 15.3.5 and 15.4.5)

# Fields that mean something to the server itself; all others are passed on as they are.
SPECIAL = CONNECTION_FIELDS | {b"date", b"server"}


def checked_status(status: object) -> int:
    """The status of a final response; raises AppError unless it is an int from 200 to 999 (RFC 9110, 15)."""
    if not isinstance(status, int):
        raise AppError(f"the response's status must be an int, not {status!r}")
    if not 200 <= status <= 999:
        raise AppError(f"the response's status must be from 200 to 999 (1xx are not final), not {status}")
    return status


def special_field(kind: bytes, value: bytes, length: int, flags: int) -> tuple[int, int, bool]:
    """What one of the SPECIAL fields changes, by its name `kind` in lower case: the declared length, and the flags.

    `length` is what was declared so far, -1 for none. Answers both, and whether the field is passed on: those that say
    how the body is framed, or whether the connection goes on, are the server's. Raises AppError for a length that is
    not one, or another than before.
    """
    match kind:
        case b"content-length":
            if not value.isdigit():
                raise AppError(f"the response's Content-Length must be digits, not {value!r}")
            if length not in (-1, int(value)):
                raise AppError(f"the response declares its Content-Length twice: {length} and {value!r}")
            return int(value), flags, length < 0
        case b"connection":
            return length, flags | (CLOSES if b"close" in value.lower() else 0), False
        case b"date":
            return length, flags | OWN_DATE, True
        case b"server":
            return length, flags | OWN_SERVER, True
        case _:
            return length, flags, False


def pairs(headers: Unchecked) -> list[tuple[bytes, bytes]]:
    """Return the header fields of a message as a list of pairs of bytes; raises AppError unless they are pairs.

    An application may give any iterable of pairs, with names and values of any type that `plain_bytes` knows. They are
    checked where they are rendered.
    """
    try:
        return [
            (name, value) if type(name) is bytes and type(value) is bytes else (plain_bytes(name), plain_bytes(value))
            for name, value in headers
        ]
    except (TypeError, ValueError) as error:
        raise AppError(f"headers must be pairs of bytes: {error}") from error


def plain_bytes(part: Unchecked) -> Unchecked:
    """Return a bytearray, a memoryview or an object of a subclass of bytes as bytes, and anything else as it is."""
    return bytes(part) if isinstance(part, bytes | bytearray | memoryview) else part


def body_left(length: int, size: int, more: bool) -> int:
    """Return how many of the `length` bytes that are declared or left of a body come after a piece of `size` bytes.

    Raises AppError if the piece is longer than that, or if it is the last one (not `more`) and shorter.
    """
    left = length - size
    if left < 0:
        raise AppError(f"the response's body is longer than its Content-Length, by {-left} bytes")
    if left and not more:
        raise AppError(f"the response's body is shorter than its Content-Length, by {left} bytes")
    return left


def check_bodiless(status: int, size: int) -> None:
    """Raise AppError if a body of `size` bytes is not empty, though a response with `status` has none."""
    if size and status in BODILESS:
        raise AppError(f"a response with status {status} has no body")


def response_fields(headers: Iterable[tuple[bytes, bytes]]) -> tuple[list[tuple[bytes, bytes]], int, int]:
    """The fields of a response that are passed on, with names in lower case; the declared length or -1, and the flags.

    Raises AppError naming the field that is wrong.
    """
    passed = []
    length, flags = -1, 0
    try:
        for name, value in pairs(headers):
            check_field(name, value)
            kind, passes = name.lower(), True
            if kind in SPECIAL:
                length, flags, passes = special_field(kind, value, length, flags)
            if passes:
                passed.append((kind, value))
    except (TypeError, ValueError) as error:
        raise AppError(f"the response's headers must be pairs of bytes: {error}") from error
    return passed, length, flags
