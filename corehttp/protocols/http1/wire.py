"""A response as HTTP/1.1 bytes (RFC 9112): status line, fields, chunks. Pure."""

from collections.abc import Iterable, Iterator
from http import HTTPStatus

from corehttp.errors import AppError
from corehttp.protocols.contracts import Fields
from corehttp.protocols.fields import check_field, check_trailer
from corehttp.protocols.response_fields import BODILESS, SPECIAL, checked_status, pairs, plain_bytes, special_field

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
BEGINNING = b"HTTP/1.1 "  # the first bytes of every response
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
# Whole heads by status and fields, and the declared length of each. A head is kept here when it is asked for twice in a
# row, and has remembered lines and a length alone. To look it up takes a third of response_head() for two fields,
# measured by benchmarks/micro.py. Emptied when full; all take less than 100 KB.
known_heads: dict[tuple[object, ...], tuple[bytes, int]] = {}
_MAX_KNOWN = 64
_MAX_KNOWN_SIZE = 1024  # bytes of a head
_last_fields: list[tuple[bytes, bytes]] = []  # those of the last head that may be remembered
_MAX_REPEATED_LENGTH = 16384  # bytes of the body that follows a head without a copy of its own


class RepeatedHead:
    """A head that was sent twice in a row, with all that stands before the body; nothing of it changes.

    Most responses have the head of the one before. To compare their fields with these, and to send `beginning` and the
    body, takes 8 % less of the instructions of a request than to look the head up in `known_heads` and to join its
    parts (hello, CPython 3.13, counted by callgrind).
    """

    __slots__ = ("beginning", "fields", "length", "lines", "status")

    def __init__(self, status: int, fields: Fields, length: int, lines: bytes, beginning: bytes) -> None:
        self.status = status  # an int; compared by identity, as `lines` are: what is equal and not the same is rare
        self.fields = fields
        self.length = length  # bytes of the body that belongs to the head
        self.lines = lines  # those that every response carries
        self.beginning = beginning


# The last one. It is replaced as a whole, since each of several threads may have a server.
repeated = RepeatedHead(0, [], -1, b"", b"")
_last_head = b""  # the head of `known_heads` that was noted last

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
    if type(headers) is list and type(status) is int:
        try:
            known = known_heads.get((status, *headers))
        except (TypeError, ValueError):
            known = None  # a field is no tuple of bytes
        if known is not None:
            return [known[0]], known[1], 0
    line = _STATUS_LINES.get(status) if type(status) is int else None
    pieces = [line or status_line(status)]
    length = -1
    flags = 0
    usual = True
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
                usual = usual and type(field) is tuple
                continue
            usual = False
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
    except (AppError, TypeError, ValueError, AttributeError) as error:
        plain = _plain(headers)
        if plain is not None:
            return response_head(status, plain)
        if isinstance(error, AppError):
            raise
        raise AppError(f"the response's headers must be pairs of bytes: {error}") from error
    if usual and type(status) is int and type(headers) is list and status not in BODILESS:
        _remember(status, headers, pieces, length)
    return pieces, length, flags


def _plain(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]] | None:
    """Return the fields as pairs of bytes if the application has given other objects that hold bytes, otherwise None.

    None as well for an iterator, which cannot be read again. Asked only for fields that could not be rendered, so that
    those of most applications, which are bytes, are not looked through.
    """
    if isinstance(headers, Iterator):
        return None
    try:
        plain = pairs(headers)
    except AppError:
        return None
    given = [type(part) for field in headers for part in field]
    return None if given == [type(part) for field in plain for part in field] else plain


def _remember(status: int, headers: list[tuple[bytes, bytes]], pieces: list[bytes], length: int) -> None:
    """Remember a head if it has the fields of the last one for which this was called."""
    global _last_fields
    if headers != _last_fields:
        _last_fields = headers
        return
    head = b"".join(pieces)
    if len(head) <= _MAX_KNOWN_SIZE:
        if len(known_heads) >= _MAX_KNOWN:
            known_heads.clear()
        known_heads[(status, *headers)] = head, length


def note(status: int, fields: Fields, pieces: list[bytes], length: int, lines: bytes) -> None:
    """Note that a head was sent, of which `response_head` has made these `pieces`, with `lines` behind them.

    It becomes `repeated` if it is known, and is noted twice in a row.
    """
    global _last_head, repeated
    head = pieces[0]
    if len(pieces) == 1 and length < _MAX_REPEATED_LENGTH:
        if head is _last_head:
            repeated = RepeatedHead(status, list(fields), length, lines, b"%b%b\r\n" % (head, lines))
        _last_head = head


def chunk(body: bytes) -> bytes:
    """`body`, which is not empty, as one chunk (RFC 9112, 7.1)."""
    return b"%x\r\n%b\r\n" % (len(body), body)


def early_hints(links: Iterable[bytes]) -> bytes:
    """A 103 (Early Hints) with Link fields (RFC 8297); raises AppError."""
    try:
        lines = [_field_line(b"link", plain_bytes(link)) for link in links]
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


def refusal(
    status: int,
    reason: str,
    date_and_server: bytes,
    *,
    fields: Iterable[tuple[bytes, bytes]] = (),
    bodiless: bool = False,
) -> bytes:
    """A whole response that refuses a request and closes the connection; `bodiless` to HEAD (RFC 9110, 9.3.2)."""
    body = (reason + "\n").encode()
    usual = b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n" % len(body)
    own = b"".join([_field_line(name, value) for name, value in fields])
    return b"".join(
        (status_line(status), usual, own, date_and_server, CONNECTION_CLOSE, b"\r\n", b"" if bodiless else body)
    )


def _field_line(name: bytes, value: bytes) -> bytes:
    """A field as its line in a head; raises AppError unless it can stand there."""
    check_field(name, value)
    return b"%b: %b\r\n" % (name, value)
