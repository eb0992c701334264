"""The two contracts inside a connection: what a parser calls, and what an exchange calls."""

from collections.abc import Iterable
from typing import Protocol

from corehttp.errors import PeerError


class RequestSink(Protocol):
    """What a parser reports, in order. The names are httptools', so that it can call a sink directly.

    A callback may raise `PeerError`; the parser stops there and `feed` raises it.
    """

    @property
    def final(self) -> bool:
        """Whether the request reported last is the connection's last: nothing after it is to be parsed."""
        ...

    @property
    def body_length(self) -> int:
        """Bytes to come of the body of the request whose head was reported last; -1 when chunked."""
        ...

    def on_url(self, piece: bytes) -> None: ...

    def on_header(self, name: bytes, value: bytes) -> None: ...

    def on_headers_complete(self) -> None: ...

    def on_body(self, piece: bytes) -> None: ...

    def on_message_complete(self) -> None: ...


class RequestParser(Protocol):
    """Turns bytes into calls of a RequestSink.

    `feed` may be the parser's own C function, which saves a frame per request; what it raises goes to `recover`,
    after which `feed` has to be looked up afresh.
    """

    def feed(self, data: bytes) -> None:
        """Parse `data`; raises anything."""
        ...

    def recover(self, data: bytes, error: Exception) -> PeerError | None:
        """After `feed(data)` raised `error`: go on, or answer why the request cannot be understood.

        Answered, not raised: a traceback would tie the connection into a cycle.
        """
        ...

    def upgrading(self) -> bool:
        """In `on_message_complete`: the message asks for another protocol, and its body was not reported yet."""
        ...

    def method(self) -> bytes:
        """The request's method; valid from `on_headers_complete` on."""
        ...

    def persists(self) -> bool:
        """For a request without a Connection field: True means that its version is exactly 1.1."""
        ...

    def version(self) -> str:
        """The request's HTTP version, as in "1.1"; valid from `on_headers_complete` on."""
        ...


class ResponseStream(Protocol):
    """Where an exchange sends its response: one HTTP/1.1 connection's turn, or later one HTTP/2 stream."""

    congested: bool  # the peer takes less than is written: wait for `writable()`

    def respond(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes, more: bool) -> None:
        """Send the head and the first piece of the body; raises `AppError` before a byte is written."""
        ...

    def write_body(self, body: bytes, more: bool) -> None:
        """Send a further piece of the body; raises `AppError` if it breaks the declared length."""
        ...

    def send_continue(self) -> None:
        """Answer `Expect: 100-continue` (RFC 9110, 10.1.1)."""
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
