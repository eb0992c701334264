"""Small pieces of a response's body, held back for a moment, so that not each of them costs a system call."""

import asyncio
from collections.abc import Callable
from time import monotonic

from corehttp.protocols.turn_end import TurnEnd

# Bytes of a body from which on to join them with what is around them costs more than to have the kernel gather them.
SMALL = 16384
LATEST = 0.001  # seconds after which a piece is not held back, even if the turn of the event loop goes on


class SmallPieces:
    """Writes the small pieces of the bodies of one connection.

    The first piece in a turn of the event loop is written at once, so that an application which waits between two
    pieces has no delay. Those that follow in the same turn are written together when it ends, or LATEST after the last
    write with the next piece: 1,000 pieces of 100 bytes take about half the CPU time (`benchmarks.peers`, stream). How
    much is held back is bounded by what a connection may send before others have a turn (`FairShare`).
    """

    __slots__ = ("_held", "_now", "_since", "_transport", "_turn_end")

    def __init__(self, transport: asyncio.Transport, turn_end: TurnEnd, now: Callable[[], float] = monotonic) -> None:
        self._transport = transport
        self._turn_end = turn_end
        self._now = now  # seconds, monotonic
        self._held: list[bytes] | None = None  # what is held back; None if nothing was written in this turn
        self._since = 0.0  # when something was written last (by `_now`), while `_held` is not None

    def write(self, data: bytes, may_wait: bool) -> None:
        """Write `data` now, behind all that is held back; or hold it back, if it `may_wait`."""
        held = self._held
        if held is None:
            if may_wait:
                self._held = []
                self._since = self._now()
                self._turn_end.add(self._end_turn)
            self._transport.write(data)
            return
        held.append(data)
        if may_wait:
            now = self._now()
            if now - self._since < LATEST:
                return
            self._since = now
        self.flush()

    def flush(self) -> None:
        """Write what is held back."""
        held = self._held
        if held:
            data = b"".join(held)
            held.clear()
            self._transport.write(data)

    def _end_turn(self) -> None:
        if not self._transport.is_closing():  # it was not lost meanwhile
            self.flush()
        self._held = None
