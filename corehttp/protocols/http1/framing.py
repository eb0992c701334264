"""How a response's body is written so that the client sees its end (RFC 9112, 6). Pure."""

from enum import Enum

from corehttp.protocols.http1 import wire
from corehttp.protocols.response_fields import body_left, check_bodiless


class Framing(Enum):
    """What tells the client where a response's body ends (RFC 9112, 6.3)."""

    SIZED = "sized"
    CHUNKED = "chunked"
    UNTIL_CLOSE = "until close"
    NONE = "none"  # HEAD, 204, 304


class OutgoingBody:
    """The body of one response: turns its pieces into bytes for the wire, and holds it to its declared length."""

    __slots__ = ("_remaining", "_status", "framing")

    def __init__(self, framing: Framing, status: int, length: int) -> None:
        self.framing = framing
        self._status = status
        self._remaining = length

    def encode(self, body: bytes, more: bool) -> bytes:
        """A piece as it goes out; raises AppError if it breaks what the response's head said."""
        match self.framing:
            case Framing.CHUNKED:
                data = wire.chunk(body) if body else b""
                return data if more else data + wire.LAST_CHUNK
            case Framing.SIZED:
                self._remaining = body_left(self._remaining, len(body), more)
                return body
            case Framing.UNTIL_CLOSE:
                return body
            case Framing.NONE:
                check_bodiless(self._status, len(body))
                return b""

    def around(self, size: int, more: bool) -> tuple[bytes, bytes]:
        """What goes out before and after a piece of `size` bytes that is not here; raises as `encode` does."""
        match self.framing:
            case Framing.SIZED:
                self._remaining = body_left(self._remaining, size, more)
                return b"", b""
            case Framing.CHUNKED:
                before, after = (b"%x\r\n" % size, b"\r\n") if size else (b"", b"")
                return before, after + (b"" if more else wire.LAST_CHUNK)
            case Framing.UNTIL_CLOSE:
                return b"", b""
            case Framing.NONE:
                check_bodiless(self._status, size)
                return b"", b""

    def end(self, trailers: bytes) -> bytes:
        """The end of the body, with the trailer fields where they have a place (RFC 9112, 7.1.2)."""
        match self.framing:
            case Framing.CHUNKED:
                return b"0\r\n%b\r\n" % trailers
            case Framing.SIZED:
                self._remaining = body_left(self._remaining, 0, False)
                return b""
            case Framing.UNTIL_CLOSE | Framing.NONE:
                return b""


def frame(bodiless: bool, status: int, version: str, length: int) -> tuple[OutgoingBody, bytes]:
    """Decide how a response's body ends, and the field that says so if the application has sent none.

    `length` is the Content-Length that the application has declared, or -1.
    """
    if bodiless:
        return OutgoingBody(Framing.NONE, status, 0), b""
    if length >= 0:
        return OutgoingBody(Framing.SIZED, status, length), b""
    if version == "1.1":
        return OutgoingBody(Framing.CHUNKED, status, 0), wire.CHUNKED
    return OutgoingBody(Framing.UNTIL_CLOSE, status, 0), b""
