"""The two contracts inside a connection: what a parser calls, and what an exchange calls."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

Fields = Iterable[tuple[bytes, bytes]]


@dataclass(slots=True)  # not frozen: that makes one three times as dear
class Intent:
    """What a request's head asks of the connection."""

    persistent: bool
    plain: bool  # HTTP/1.1, persistent and not HEAD: nothing in it bears on how the response is framed
    length: int = 0  # of the body in bytes; -1 when chunked
    expects_continue: bool = False


class RequestSink(Protocol):
    """What a parser reports of a head's fields, in order; the request line is for the sink to read.

    The names are httptools', so that it can call a sink directly. A callback may raise `PeerError`, which stops the
    parser.
    """

    def on_header(self, name: bytes, value: bytes) -> None: ...

    def on_headers_complete(self) -> None: ...


class RequestParser(Protocol):
    """Turns the bytes of one whole head after the other into calls of a RequestSink.

    After a head that announces a chunked body, or for which `feed` raises, a new parser has to take over.
    `feed` may be the parser's own C function, which saves a frame per request.
    """

    def feed(self, data: bytes) -> None:
        """Parse a whole head; raises anything, which goes to `check`."""
        ...

    def check(self, error: Exception) -> None:
        """Raises `error`, which `feed` has raised, again unless it is about the head, or about what is to follow it."""
        ...

    def skip(self, data: bytes) -> None:
        """A piece of a body of declared length passes by."""
        ...


class ResponseStream(Protocol):
    """Where an exchange sends its response: one HTTP/1.1 connection's turn, or later one HTTP/2 stream."""

    __slots__ = ()  # so that who inherits from it can have slots of its own

    congested: bool  # the peer takes less than is written: wait for `writable()`

    @property
    def endless(self) -> bool:
        """Whether the response that is being written has declared no length."""
        ...

    def respond(self, status: int, headers: Fields, body: bytes, more: bool) -> None:
        """Send the head and the first piece of the body; raises `AppError` before a byte is written."""
        ...

    def write_body(self, body: bytes, more: bool) -> None:
        """Send a further piece of the body; raises `AppError` if it breaks the declared length."""
        ...

    async def send_file(self, file: int, offset: int, count: int, more: bool) -> None:
        """Send `count` bytes of a file as a further piece of the body; raises as `write_body` does, and OSError."""
        ...

    def write_trailers(self, trailers: Fields) -> None:
        """End the response with trailer fields, where its framing has a place for them; raises `AppError`."""
        ...

    def send_continue(self) -> None:
        """Answer `Expect: 100-continue` (RFC 9110, 10.1.1)."""
        ...

    def send_early_hints(self, links: Iterable[bytes]) -> None:
        """Send Link fields ahead of the response (RFC 8297), if it has not begun; raises `AppError`.

        They are held back where the operator does not want them, or the client cannot take them.
        """
        ...

    def consumed(self) -> None:
        """The application took what there was of the request's body: reading may go on."""
        ...

    async def writable(self) -> None:
        """Wait until the peer has taken enough of what was written."""
        ...

    def abort(self) -> None:
        """Cut the connection, so that the client sees that the response is not whole."""
        ...
