"""Bytes that another process has read from a connection before it handed the connection over."""

import asyncio
from typing import cast

from corehttp.protocols.tally import Tally


class HeldBytes(asyncio.Protocol):
    """Stands in for a connection's protocol until the transport reads, then gives it the bytes first of all.

    The protocol is told of the connection no earlier: uvloop begins to read when `connection_made` returns, even if
    the protocol has paused reading in it, as it may with the first bytes.
    """

    def __init__(self, protocol: asyncio.Protocol, held: bytes, tally: Tally | None = None) -> None:
        """`tally` is that of the connection; what the other process has read was counted there."""
        self._protocol = protocol
        self._held = held
        self._tally = tally

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin in the next turn of the event loop, or before what the transport reads."""
        self._transport = cast(asyncio.Transport, transport)
        asyncio.get_running_loop().call_soon(self._begin)

    def data_received(self, data: bytes) -> None:
        """Begin, with what was read here behind the bytes: the protocol may pass the connection on with all of them."""
        self._begin(data)

    def eof_received(self) -> bool | None:
        """Begin, and tell the protocol that the client has ended its side."""
        return self._begin().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Begin, and tell the protocol that the connection is lost."""
        self._begin().connection_lost(exc)

    def _begin(self, data: bytes = b"") -> asyncio.Protocol:
        """Give the transport and the bytes to the connection's protocol; returns the protocol that reads from now on.

        The connection's protocol may have had another one take its place. A second call does nothing.
        """
        transport = self._transport
        if transport.get_protocol() is self:
            transport.set_protocol(self._protocol)
            self._protocol.connection_made(transport)
            if self._tally is not None:
                self._tally.received -= len(self._held)
            self._protocol.data_received(self._held + data)
        return cast(asyncio.Protocol, transport.get_protocol())
