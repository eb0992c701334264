"""Bytes that another process has read from a connection before it handed the connection over."""

import asyncio
from typing import cast


class HeldBytes(asyncio.Protocol):
    """Stands in for a connection's protocol until the transport is there, and then gives it the bytes first of all.

    The transport reads nothing before `connection_made` has returned, so that the bytes cannot be overtaken.
    """

    def __init__(self, protocol: asyncio.Protocol, held: bytes) -> None:
        self._protocol = protocol
        self._held = held

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).set_protocol(self._protocol)
        self._protocol.connection_made(transport)
        self._protocol.data_received(self._held)
