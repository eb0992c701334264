"""The other workers, as one of them sees them: how busy they are, and the way to pass them a connection."""

import logging
import socket
import time
from collections.abc import Collection, Sequence

from corehttp.ipc import handover
from corehttp.ipc.balance import Load, excess, target
from corehttp.ipc.parcel import Parcel
from corehttp.ipc.scoreboard import Scoreboard, State
from corehttp.protocols.contracts import Connection

logger = logging.getLogger("corehttp.error")

FRESH = 0.05  # seconds that what was read of the others' figures counts
ALIVE = 3.0  # seconds since the last heartbeat of a worker that can be given something


class Siblings:
    """The other workers of the same supervisor: their figures on the scoreboard, and the way into their inboxes.

    `inbox` is where connections come in that others pass on to this worker, the one in `slot` with this `row` on the
    scoreboard. The descriptors and sockets given to this object are its own from then on.
    """

    def __init__(
        self,
        board: Scoreboard,
        row: int,
        slot: int,
        inbox: socket.socket,
        *,
        limit: int = 0,
        share_sockets: bool = False,
    ) -> None:
        self._board = board
        self.row = board.row(row)
        self._slot = slot
        self.inbox = inbox
        self.share_sockets = share_sockets  # whether others accept on the same sockets
        self.row.limit = limit
        self._writers: dict[int, socket.socket] = {}  # by slot
        self._loads: list[Load] = []
        self._read_at = 0.0

    def meet(self, slots: Sequence[int], fds: Sequence[int]) -> None:
        """Take over descriptors of the inboxes of these slots, in order; they replace those known before."""
        for slot, fd in zip(slots, fds, strict=True):
            before = self._writers.pop(slot, None)
            if before is not None:
                before.close()
            self._writers[slot] = socket.socket(fileno=fd)

    def descriptors(self) -> list[int]:
        """The descriptors of all inboxes."""
        return [sock.fileno() for sock in (self.inbox, *self._writers.values())]

    def close(self) -> None:
        """Close this worker's descriptors of all inboxes, its own included."""
        for sock in (self.inbox, *self._writers.values()):
            sock.close()
        self._writers.clear()

    def beat(self, now: float) -> None:
        """Record that the event loop ran at `now` (seconds, monotonic)."""
        self.row.beat = now

    def note(self, requests: int) -> None:
        """Record how many requests this worker has begun."""
        self.row.requests = requests

    def account(self, answered: int, cut: int) -> None:
        """Record how many requests this worker has answered and cut since it was told to leave."""
        self.row.answered = answered
        self.row.cut = cut

    def serving(self) -> None:
        """Let other workers pass connections on to this one."""
        self.row.beat = time.monotonic()
        self.row.state = State.SERVING

    def leaving(self) -> None:
        """Have other workers pass no more connections on to this one."""
        self.row.state = State.LEAVING

    def hand_over(self, parcel: Parcel) -> bool:
        """Give a connection to the worker with the fewest; returns False if none can take it now."""
        slot = target(self._others(), self._slot)
        return slot is not None and self._put(slot, parcel)

    def hand_over_or_leave(self, parcel: Parcel) -> bool:
        """As `hand_over`, but without another worker the connection is left in this one's inbox, for its successor."""
        slot = target(self._others(), self._slot)
        return self._put(self._slot if slot is None else slot, parcel)

    def even_out(self, connections: Collection[Connection]) -> None:
        """Pass on some of the idle `connections` of this worker, if others have clearly fewer."""
        surplus = self.excess()
        for connection in tuple(connections) if surplus > 0 else ():
            if connection.pass_on(self.hand_over):
                surplus -= 1
            if surplus <= 0:
                return

    def excess(self) -> int:
        """How many idle connections this worker should pass on, for all workers to have about as many."""
        return excess(self._others(), int(self.row.connections))

    def _put(self, slot: int, parcel: Parcel) -> bool:
        writer = self._writers.get(slot)
        if writer is None or not handover.put(writer, parcel):
            self._read_at = 0.0
            return False
        self.row.handed_over += 1
        # The connection counts for the worker it goes to, before that worker counts it itself.
        for index, load in enumerate(self._loads):
            if load.slot == slot:
                self._loads[index] = Load(slot, load.connections + 1, load.limit, load.alive)
                break
        logger.debug("a connection was handed over to worker %d", slot + 1)
        return True

    def _others(self) -> list[Load]:
        now = time.monotonic()
        if now - self._read_at > FRESH:
            self._read_at = now
            self._loads = [
                Load(row.slot, int(row.connections), int(row.limit), abs(now - row.beat) < ALIVE)
                for row in self._board.rows()
                if row.start != self.row.start and row.state == State.SERVING and row.slot in self._writers
            ]
        return self._loads
