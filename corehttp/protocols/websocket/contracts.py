"""What a WebSocket's session asks of others: its host, its wire, its source and its owner."""

import asyncio
from typing import Protocol

from corehttp.asgi import ASGIApp
from corehttp.protocols.contracts import Named
from corehttp.protocols.fairness import Fairness


class SessionHost(Protocol):
    """Whose application a session runs, and who is told what went wrong in it: the worker's context."""

    app: ASGIApp
    loop: asyncio.AbstractEventLoop
    fairness: Fairness

    def app_failed(self, request: Named, fault: BaseException | str) -> None:
        """Report a fault of the application: an exception, or what it did wrong."""
        ...


class Wire(Protocol):
    """Where a session sends what its application says. No call waits but `writable`."""

    congested: bool  # whether the client takes less than is written: wait for `writable`

    def accept(self, subprotocol: str | None, headers: list[tuple[bytes, bytes]]) -> None:
        """Accept the handshake; raises AppError before a byte is written."""
        ...

    def deny(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes, more: bool) -> None:
        """Answer the handshake with an HTTP response that refuses; raises AppError before a byte is written."""
        ...

    def deny_further(self, body: bytes, more: bool) -> None:
        """Send a further piece of that response's body; raises AppError if it breaks the declared length."""
        ...

    def write_message(self, opcode: int, payload: bytes) -> None:
        """Send a whole message; `opcode` is TEXT, with a payload in UTF-8, or BINARY."""
        ...

    def close(self, code: int, reason: str) -> None:
        """Send a close frame; raises AppError for a code that no close frame may carry."""
        ...

    def abort(self) -> None:
        """Cut the connection, so that the client sees that what it has got is not whole."""
        ...

    async def writable(self) -> None:
        """Wait until the client has taken enough of what was written."""
        ...


class Source(Protocol):
    """Where the messages of a session come from: what reads the client's bytes."""

    paused: bool  # whether reading is paused: then `consumed` is to be called

    def consumed(self) -> None:
        """The application has taken a message while reading was paused."""
        ...


class SessionOwner(Protocol):
    """Who is told what has become of a session: the connection, which keeps the times."""

    def opened(self) -> None:
        """The handshake is accepted: the stage is OPEN."""
        ...

    def denied(self) -> None:
        """The handshake is refused, and the response that says so is whole: the stage is CLOSING."""
        ...

    def closing(self, code: int) -> None:
        """The application or the worker has sent a close frame with this code: the stage is CLOSING."""
        ...

    def finished(self) -> None:
        """The application has returned."""
        ...
