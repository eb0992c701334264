"""How a response's body is written so that the client sees its end (RFC 9112, 6). Pure."""

from enum import Enum

from corehttp.errors import AppError
from corehttp.protocols.http1 import wire

BODILESS = frozenset({204, 304})


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
            case Framing.SIZED:
                self._count(len(body), more)
                return body
            case Framing.CHUNKED:
                return (wire.chunk(body) if body else b"") + (b"" if more else wire.LAST_CHUNK)
            case Framing.UNTIL_CLOSE:
                return body
            case Framing.NONE:
                return self._without_body(len(body))

    def around(self, size: int, more: bool) -> tuple[bytes, bytes]:
        """What goes out before and after a piece of `size` bytes that is not here; raises as `encode` does."""
        match self.framing:
            case Framing.SIZED:
                self._count(size, more)
                return b"", b""
            case Framing.CHUNKED:
                before, after = (b"%x\r\n" % size, b"\r\n") if size else (b"", b"")
                return before, after + (b"" if more else wire.LAST_CHUNK)
            case Framing.UNTIL_CLOSE:
                return b"", b""
            case Framing.NONE:
                return self._without_body(size), b""

    def end(self, trailers: bytes) -> bytes:
        """The end of the body, with the trailer fields where they have a place (RFC 9112, 7.1.2)."""
        match self.framing:
            case Framing.CHUNKED:
                return b"0\r\n%b\r\n" % trailers
            case Framing.SIZED:
                self._count(0, False)
                return b""
            case Framing.UNTIL_CLOSE | Framing.NONE:
                return b""

    def _count(self, size: int, more: bool) -> None:
        remaining = self._remaining - size
        if remaining < 0:
            raise AppError(f"the response's body is longer than its Content-Length, by {-remaining} bytes")
        if remaining and not more:
            raise AppError(f"the response's body is shorter than its Content-Length, by {remaining} bytes")
        self._remaining = remaining

    def _without_body(self, size: int) -> bytes:
        if size and self._status in BODILESS:
            raise AppError(f"a response with status {self._status} has no body")
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
