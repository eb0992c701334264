"""What goes out over a connection and is not taken by its client: how long that may last, and the end of a connection.

An `Outlet` exists only while something waits for the client, so that an idle connection has none. Its owner makes one

* when the transport says that it holds enough (`pause_writing`), and forgets it when that is over (`resume_writing`);
* when a connection is closed while bytes wait in its transport;
* while the kernel is given a file past the transport.

As long as there is one, the owner asks `is_stalled` every LOOK_AGAIN seconds, and cuts a client that stalls.
"""

import asyncio

from corehttp.protocols.limits import Pace
from corehttp.protocols.peer_socket import untaken

LOOK_AGAIN = 0.9  # seconds between two looks at an outlet; less than a tick of the worker's clock, so one look per tick
# Seconds that a connection is read after its last byte was written (RFC 9112, 9.6; RFC 6455, 7.1.1): to close a socket
# while the client still sends would make the kernel reset it, and the reset may overtake what we have sent.
LINGER = 2.0


class Outlet:
    """The bytes of one transport that its client has not taken. All times are in seconds, by the worker's clock."""

    __slots__ = ("_drained", "_handed", "_pace", "_transport", "_untaken")

    def __init__(self, transport: asyncio.Transport, stall: float, now: float) -> None:
        """Watch `transport` from `now` on; after `stall` seconds without progress its client is too slow."""
        self._transport = transport
        self._drained: asyncio.Future[None] | None = None  # for those that wait in `writable`
        self.watch(stall, now)

    def watch(self, stall: float, now: float) -> None:
        """Give the client all its time again, as something new is sent; nothing has gone past the transport yet."""
        self._pace = Pace(stall, now)
        self._untaken = untaken(self._transport)  # bytes, at the last look
        self._handed = 0  # bytes given to the kernel past the transport, at the last look

    async def writable(self) -> None:
        """Wait until `release` is called; a waiter that is cancelled leaves the others waiting."""
        if self._drained is None:
            self._drained = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._drained)

    def release(self) -> None:
        """Wake all that wait in `writable`: the transport takes more, or the connection is lost."""
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    def is_stalled(self, now: float, handed: int = 0) -> bool:
        """Look at the client: whether it has taken too little for too long.

        `handed` is how many bytes were given to the kernel past the transport since `watch`. If no more waits than was
        added since the last look, all that waited then is taken: a slow file keeps the client waiting, not the other
        way round.
        """
        added = handed - self._handed
        before, self._untaken, self._handed = self._untaken, untaken(self._transport), handed
        if self._untaken <= added:
            self._pace.kept_up(now)
        else:
            self._pace.moved(max(0, before + added - self._untaken), now)
        return self._pace.due <= now


def has_left(transport: asyncio.Transport) -> bool:
    """Whether a connection that has lingered can be cut: the kernel has all that was written.

    What still waits in the transport is sent on; its client has as long for it as for anything else (`Outlet`).
    """
    return not transport.get_write_buffer_size()
