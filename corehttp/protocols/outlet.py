"""Watches what goes out over a connection and is not taken by its client, and says how long that may last.

An `Outlet` exists only while something waits for the client, so that an idle connection has none. Its owner makes one

* when the transport calls `pause_writing`, and forgets it when the transport calls `resume_writing`;
* when a connection is closed while bytes wait in its transport;
* while the kernel is given a file past the transport.

While there is one, the owner asks `is_stalled` every LOOK_AGAIN seconds, and cuts a client that stalls.
"""

import asyncio

from corehttp.protocols.limits import Pace
from corehttp.protocols.peer_socket import unsent, untaken

LOOK_AGAIN = 0.9  # seconds between two looks at an outlet; less than a tick of the worker's clock, so one at each tick
# Seconds that a connection is read after its last byte was written (RFC 9112, 9.6; RFC 6455, 7.1.1): to close a socket
# while the client still sends would make the kernel reset it, and the reset may overtake what was sent.
LINGER = 2.0
# Bytes that wait in the transport beside a piece of a body. A quarter of what asyncio and uvloop take: the kernel holds
# megabytes. 100 clients that read nothing cost a worker 9 MB instead of 15.
HIGH_WATER = 16384


class Outlet:
    """The bytes of one transport that its client has not taken; all times are in seconds, by the worker's clock."""

    __slots__ = ("_drained", "_handed", "_pace", "_transport", "_untaken")

    def __init__(self, transport: asyncio.Transport, stall: float, now: float) -> None:
        """Watch `transport` from `now` on; after `stall` seconds without progress its client is too slow."""
        self._transport = transport
        self._drained: asyncio.Future[None] | None = None  # what is awaited in `writable`; None if nobody waits
        self.watch(stall, now)

    def watch(self, stall: float, now: float) -> None:
        """Give the client all of `stall` again from `now` on; nothing has gone past the transport yet."""
        self._pace = Pace(stall, now)
        self._untaken = untaken(self._transport)  # bytes, at the last look
        self._handed = 0  # bytes given to the kernel past the transport, at the last look

    async def writable(self) -> None:
        """Wait until `release` is called; a wait that is cancelled does not end those of others."""
        if self._drained is None:
            self._drained = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._drained)

    def release(self) -> None:
        """End all waits in `writable`, since the transport takes more or the connection is lost."""
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    def is_stalled(self, now: float, handed: int = 0) -> bool:
        """Whether the client has taken too little for too long; to be asked every LOOK_AGAIN seconds.

        `handed` is how many bytes were given to the kernel past the transport since `watch`. If no more waits than was
        added since the last look, all that waited then is taken, and the client gets all its time again: it may wait
        for a slow file.
        """
        added = max(0, handed - self._handed)  # once a file is over, nothing goes past the transport any more
        before, self._untaken, self._handed = self._untaken, untaken(self._transport), handed
        if self._untaken <= added:
            self._pace.kept_up(now)
        else:
            self._pace.moved(max(0, before + added - self._untaken), now)
        return self._pace.due <= now


def has_left(transport: asyncio.Transport) -> bool:
    """Whether a connection that has lingered can be cut, since the kernel has all that was written.

    For what still waits in the transport the client has as long as for anything else (`Outlet`).
    """
    return not unsent(transport)
