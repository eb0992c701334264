"""The contracts between the session of a WebSocket and what it relies on: its host, wire, source and owner."""

import asyncio
from typing import Protocol

from corehttp.asgi import ASGIApp
from corehttp.protocols.contracts import ApplicationCall
from corehttp.protocols.fairness import Fairness


class SessionHost(Protocol):
    """What has the application that a session runs, and is told what goes wrong in it: the worker's context."""

    app: ASGIApp
    loop: asyncio.AbstractEventLoop
    fairness: Fairness

    def app_failed(self, request: ApplicationCall, fault: BaseException | str) -> None:
        """Log a fault of the application: an exception, or a sentence that says what it did wrong."""


class Wire(Protocol):
    """Where a session sends what its application says. No call waits but `writable`."""

    congested: bool  # whether the client takes less than is written, so that a sender is to wait in `writable`

    def accept(self, subprotocol: str | None, headers: list[tuple[bytes, bytes]]) -> None:
        """Accept the handshake; raises AppError before a byte is written."""

    def deny(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes, more: bool) -> None:
        """Refuse the handshake with an HTTP response; `deny_further` follows if `more`.

        Raises AppError before a byte is written.
        """

    def deny_further(self, body: bytes, more: bool) -> None:
        """Send a further piece of the body of `deny`, the last one unless `more`.

        Raises AppError if the body breaks its declared length.
        """

    def write_message(self, opcode: int, payload: bytes) -> None:
        """Send a whole message; `opcode` is TEXT, with a payload in UTF-8, or BINARY."""

    def close(self, code: int, reason: str) -> None:
        """Send a close frame; raises AppError for a code that no close frame may carry."""

    def abort(self) -> None:
        """Cut the connection, so that the client sees that what it has got is not whole."""

    async def writable(self) -> None:
        """Wait until the client has taken enough of what was written."""


class Source(Protocol):
    """Where the messages of a session come from: what reads the client's bytes."""

    paused: bool  # whether reading is paused, so that `consumed` is to be called for each message

    def consumed(self) -> None:
        """Note that the application has taken a message while reading was paused."""


class SessionOwner(Protocol):
    """What is told of each change of a session's stage: the connection, which keeps the times."""

    def opened(self) -> None:
        """Note that the handshake is accepted; the stage is OPEN."""

    def denied(self) -> None:
        """Note that the handshake is refused, by a response that is written whole; the stage is CLOSING."""

    def closing(self, code: int) -> None:
        """Note that the application or the worker has sent a close frame with this code; the stage is CLOSING."""

    def finished(self) -> None:
        """Note that the application has returned."""
