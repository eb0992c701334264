"""What a strict client reads from a connection: replies in the order of its requests (RFC 9112, 6.3)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_HEAD = re.compile(rb"HTTP/1\.1 ([1-9][0-9]{2}) [ -~]*\r\n((?:%b: [\t -~\x80-\xff]*\r\n)*)\r\n" % _TOKEN)
_CHUNK = re.compile(rb"0*([0-9a-fA-F]{1,15})\r\n")
_TRAILERS = re.compile(rb"(?:%b: [\t -~\x80-\xff]*\r\n)*\r\n" % _TOKEN)


@dataclass(frozen=True)
class Reply:
    """A final response."""

    status: int
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes
    whole: bool  # its body has come to its end

    @property
    def ends(self) -> bool:
        """Whether it says that the connection ends after it."""
        return (b"connection", b"close") in self.fields

    @property
    def until_close(self) -> bool:
        """Whether its body ends where the connection does."""
        return (
            self.status not in (204, 304) and not {b"content-length", b"transfer-encoding"} & dict(self.fields).keys()
        )


def read_replies(received: bytes, methods: Sequence[str]) -> list[Reply]:
    """The replies to requests with these methods; those beyond are read as replies to GET.

    Raises AssertionError where a client would be at a loss.
    """
    replies: list[Reply] = []
    at = 0
    while at < len(received):
        head = _HEAD.match(received, at)
        assert head is not None, f"no reply begins at {at}: {received[at : at + 80]!r}"
        at = head.end()
        status = int(head[1])
        if status < 200:
            assert status in (100, 103), status
            continue
        fields = tuple((name.lower(), value) for name, _, value in _split(head[2]))
        bodiless = status in (204, 304) or (len(replies) < len(methods) and methods[len(replies)] == "HEAD")
        body, at, whole = (b"", at, True) if bodiless else _read_body(received, at, fields)
        replies.append(Reply(status, fields, body, whole))
    return replies


def _split(lines: bytes) -> list[tuple[bytes, bytes, bytes]]:
    return [line.partition(b": ") for line in lines.split(b"\r\n")[:-1]]


def _read_body(received: bytes, at: int, fields: tuple[tuple[bytes, bytes], ...]) -> tuple[bytes, int, bool]:
    framing = [value for name, value in fields if name in (b"content-length", b"transfer-encoding")]
    assert len(framing) <= 1, fields
    if framing == [b"chunked"]:
        return _read_chunks(received, at)
    if framing:
        assert framing[0].isdigit(), fields
        end = at + int(framing[0])
        return received[at:end], min(end, len(received)), end <= len(received)
    assert (b"connection", b"close") in fields, "a body without an end"
    return received[at:], len(received), True


def _read_chunks(received: bytes, at: int) -> tuple[bytes, int, bool]:
    body = b""
    while at < len(received):
        size = _CHUNK.match(received, at)
        if size is None:
            assert b"\r\n" not in received[at:], f"no chunk begins at {at}: {received[at : at + 80]!r}"
            break
        at = size.end()
        length = int(size[1], 16)
        if length == 0:
            end = _TRAILERS.match(received, at)
            assert end is not None, f"no end of a chunked body at {at}: {received[at : at + 80]!r}"
            return body, end.end(), True
        body += received[at : at + length]
        at += length
        if at < len(received):
            assert received.startswith(b"\r\n", at), f"a chunk does not end at {at}"
            at += 2
    return body, len(received), False
