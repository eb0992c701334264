"""A response as HTTP/1.1 bytes (RFC 9112): status line, fields, chunks. Pure."""

from collections.abc import Iterable
from http import HTTPStatus

from corehttp.errors import AppError
from corehttp.protocols.fields import check_field, check_trailer
from corehttp.protocols.response_fields import SPECIAL, checked_status, special_field

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
BEGINNING = b"HTTP/1.1 "  # of each response
LAST_CHUNK = b"0\r\n\r\n"
CONNECTION_CLOSE = b"connection: close\r\n"
CONNECTION_KEEP_ALIVE = b"connection: keep-alive\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n"

# Most responses repeat the same few fields, so each checked line is kept: 0.4x the time of response_head() for two
# fields, measured by benchmarks/micro.py. Emptied when full, so that values which never repeat cannot fill it.
# Long ones are not kept, since a client may have made them (a redirect's Location): all take less than 1 MB.
_lines: dict[tuple[bytes, bytes], bytes] = {}
_MAX_REMEMBERED = 512
_MAX_REMEMBERED_SIZE = 512  # bytes of a line
_STATUS_LINES = {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode())
    for status in HTTPStatus
    if status >= 200
}


def status_line(status: object) -> bytes:
    """The status line; raises AppError unless `status` is an int from 200 to 999 (RFC 9110, 15)."""
    code = checked_status(status)
    return _STATUS_LINES.get(code) or b"HTTP/1.1 %d \r\n" % code


def response_head(status: int, headers: Iterable[tuple[bytes, bytes]]) -> tuple[list[bytes], int, int]:
    """Render and check a response's head; raises AppError naming the field that is wrong.

    Returns the status line and the fields as pieces to join, the declared Content-Length or -1, and the flags.
    """
    line = _STATUS_LINES.get(status) if type(status) is int else None
    pieces = [line or status_line(status)]
    length = -1
    flags = 0
    try:
        for field in headers:
            line = _lines.get(field) if type(field) is tuple else None
            if line is not None:
                pieces.append(line)
                continue
            name, value = field
            if name == b"content-length" and length < 0 and value.isdigit():
                length = int(value)
                pieces.append(b"content-length: %b\r\n" % value)
                continue
            line = _field_line(name, value)
            kind = name.lower()
            if kind in SPECIAL:
                length, flags, passes = special_field(kind, value, length, flags)
                if not passes:
                    line = b""
            elif len(line) <= _MAX_REMEMBERED_SIZE:
                if len(_lines) >= _MAX_REMEMBERED:
                    _lines.clear()
                _lines[(name, value)] = line
            pieces.append(line)
    except (TypeError, ValueError, AttributeError) as error:
        raise AppError(f"the response's headers must be pairs of bytes: {error}") from error
    return pieces, length, flags


def chunk(body: bytes) -> bytes:
    """`body`, which is not empty, as one chunk (RFC 9112, 7.1)."""
    return b"%x\r\n%b\r\n" % (len(body), body)


def early_hints(links: Iterable[bytes]) -> bytes:
    """A 103 (Early Hints) with Link fields (RFC 8297); raises AppError."""
    try:
        lines = [_field_line(b"link", link) for link in links]
    except TypeError as error:
        raise AppError(f"the field 'links' of 'http.response.early_hint' must be a list of bytes: {error}") from error
    return b"".join((b"HTTP/1.1 103 Early Hints\r\n", *lines, b"\r\n"))


def trailer_lines(trailers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Trailer fields as their lines; raises AppError for one that must not be a trailer (RFC 9110, 6.5.1)."""
    lines = []
    for name, value in trailers:
        check_trailer(name, value)
        lines.append(b"%b: %b\r\n" % (name, value))
    return b"".join(lines)


def refusal(status: int, reason: str, date_and_server: bytes, *, bodiless: bool = False) -> bytes:
    """A whole response that refuses a request and closes the connection; `bodiless` to HEAD (RFC 9110, 9.3.2)."""
    body = (reason + "\n").encode()
    upgrade = b"upgrade: websocket\r\nsec-websocket-version: 13\r\n" if status == 426 else b""  # RFC 6455, 4.4
    fields = b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n" % len(body)
    return b"".join(
        (status_line(status), fields, upgrade, date_and_server, CONNECTION_CLOSE, b"\r\n", b"" if bodiless else body)
    )


def _field_line(name: bytes, value: bytes) -> bytes:
    """A field as its line in a head; raises AppError unless it can stand there."""
    check_field(name, value)
    return b"%b: %b\r\n" % (name, value)
