"""The other workers, for one of them: how busy they are, and the way to pass them a connection."""

import contextlib
import logging
import socket
import time
from collections.abc import Collection, Sequence

from corehttp.ipc import handover, tls_area
from corehttp.ipc.balance import Load, excess, target
from corehttp.ipc.parcel import Parcel
from corehttp.ipc.scoreboard import RowState, Scoreboard
from corehttp.ipc.sticky_area import StickyArea
from corehttp.protocols.contracts import Connection

logger = logging.getLogger("corehttp.error")

FRESH = 0.05  # seconds for which the others' figures count, once they were read
ALIVE = 3.0  # the most seconds since the last heartbeat of a worker to which connections are passed


class Siblings:
    """The other workers of the same supervisor: their figures on the scoreboard, and the way into their inboxes.

    This worker is the one in `slot`, with this `row` on the scoreboard. Other workers pass connections on to it through
    `inbox`. `limit` is how many connections it may have; 0 for any number. `share_sockets` says whether other workers
    accept on the same sockets. The descriptors and sockets that are given to this object become its own.
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
        self._number = row
        self.row = board.row(row)
        self.slot = slot
        self.inbox = inbox
        self.share_sockets = share_sockets
        self.row.limit = limit
        self._writers: dict[int, socket.socket] = {}  # for each slot, the end of its inbox that takes connections
        self._slots: tuple[int, ...] = ()
        self._loads: list[Load] = []
        self._read_at = 0.0
        self.own_endpoints: frozenset[int] = frozenset()  # those whose clients are to be served by this slot alone
        self._handed_over = 0  # how many connections this worker has put into inboxes
        # Whether each of them is logged. To ask the logger takes 0.25 us of the 14 that it takes to pass one on.
        self._is_logged = False

    def meet(self, slots: Sequence[int], fds: Sequence[int]) -> None:
        """Take over descriptors of the inboxes of these slots, in this order, in place of those known so far."""
        for slot, fd in zip(slots, fds, strict=True):
            before = self._writers.pop(slot, None)
            if before is not None:
                before.close()
            self._writers[slot] = socket.socket(fileno=fd)
        self._slots = tuple(sorted(self._writers))

    def descriptors(self) -> list[int]:
        """Return this worker's descriptors of all inboxes, its own included."""
        return [sock.fileno() for sock in (self.inbox, *self._writers.values())]

    def close(self) -> None:
        """Close this worker's descriptors of all inboxes, its own included."""
        for sock in (self.inbox, *self._writers.values()):
            sock.close()
        self._writers.clear()

    def session_secret(self) -> bytes:
        """Return what all workers encrypt the tickets of TLS sessions with; nothing if the supervisor has none."""
        return tls_area.read_secret(self._board.fd)

    def kept_files(self) -> bytes:
        """Return what `keep_files` of a worker has kept last; nothing if there is nothing."""
        return tls_area.kept_files(self._board.fd)

    def keep_files(self, content: bytes) -> None:
        """Keep copies of the files of TLS for workers that start."""
        with contextlib.suppress(OSError):  # a supervisor of another release has no room for it
            tls_area.keep_files(self._board.fd, content)

    def show_certificates(self, ends: Sequence[float]) -> None:
        """Show the supervisor when the certificates end that this worker serves (seconds since 1970)."""
        with contextlib.suppress(OSError):  # a supervisor of another release has no room for it
            tls_area.write_ends(self._board.fd, self._number, int(self.row.claim), ends)

    def beat(self, now: float) -> None:
        """Record that the event loop ran at `now` (seconds, monotonic)."""
        self.row.beat = now

    def note(self, begun: int, running: int) -> None:
        """Record how many requests this worker has begun so far, and how many of them run and have waited."""
        self.row.requests = begun
        self.row.running = running

    def report_load(self, load: float) -> None:
        """Record what the application says of its load: 0 for idle, 1 for a worker that is to get nothing new."""
        self.row.reported = load

    def account(self, answered: int, cut: int) -> None:
        """Record how many requests this worker has answered and cut since it was told to leave."""
        self.row.answered = answered
        self.row.cut = cut

    def serving(self) -> None:
        """Let other workers pass connections on to this one."""
        self._is_logged = logger.isEnabledFor(logging.DEBUG)
        self.row.beat = time.monotonic()
        self.row.state = RowState.SERVING

    def leaving(self) -> None:
        """Stop other workers from passing connections on to this one."""
        self.row.state = RowState.LEAVING

    def hand_over(self, parcel: Parcel) -> bool:
        """Pass a connection on to the worker with the fewest; return False if no other worker can take it now."""
        slot = target(self._others(), self.slot)
        return slot is not None and self.put(slot, parcel)

    def hand_over_or_leave(self, parcel: Parcel) -> bool:
        """Pass a connection on; without another worker, leave it in this one's inbox, for its successor.

        One that has come in over a port of this worker's own goes to a successor that serves already, since what waits
        in the inbox of a slot without a worker is given to others. Returns False if none of that can be done now.
        """
        if parcel.endpoint in self.own_endpoints:
            return any(load.slot == self.slot for load in self._others()) and self.put(self.slot, parcel)
        slot = target(self._others(), self.slot)
        return self.put(self.slot if slot is None else slot, parcel)

    def even_out(self, connections: Collection[Connection]) -> None:
        """Pass on some of the idle `connections` of this worker, if others have clearly fewer."""
        surplus = self.excess()
        if surplus <= 0:
            return
        for connection in tuple(connections):
            if connection.pass_on(self.hand_over):
                surplus -= 1
                if surplus == 0:
                    return

    def excess(self) -> int:
        """Return how many idle connections this worker should pass on, for all workers to have about as many."""
        return excess(self._others(), int(self.row.connections))

    def loads(self, now: float, patience: float) -> dict[int, Load]:
        """Return how loaded the workers of other slots are now, by slot, without what waits in their inboxes.

        A worker whose event loop has not run in the last `patience` seconds before `now` (seconds, monotonic) is not
        alive. Of two in a slot, of which one replaces the other, it is the one with fewer connections.
        """
        found: dict[int, Load] = {}
        for load in self._board.loads(now, patience, self.row):
            other = found.get(load.slot)
            if other is None or load.connections < other.connections:
                found[load.slot] = load
        known = self._writers.keys() - {self.slot}
        return {slot: load for slot, load in found.items() if slot in known}

    def sticky_area(self) -> StickyArea:
        """Return a view of what all workers have in common to tie clients to workers."""
        return StickyArea(self._board.fd)

    @property
    def slots(self) -> tuple[int, ...]:
        """The slots into whose inboxes this worker can put connections, its own included, in their order."""
        return self._slots

    def takers(self, now: float, patience: float) -> set[int]:
        """Return the slots in which another worker takes connections now, as `Scoreboard.takers` tells."""
        return self._board.takers(now, patience, self.row) & self._writers.keys()

    def waiting(self, slot: int) -> int:
        """Return about how many connections wait in the inbox of a slot, this worker's own included."""
        writer = self._writers.get(slot)
        return 0 if writer is None else handover.waiting(writer)

    def put(self, slot: int, parcel: Parcel) -> bool:
        """Put a connection into the inbox of a slot; return False if it does not take it now.

        Another slot than this worker's takes none whose client has chosen the port of this one alone.
        """
        if slot != self.slot and parcel.endpoint in self.own_endpoints:
            return False
        writer = self._writers.get(slot)
        if writer is None or not handover.put(writer, parcel):
            self._read_at = 0.0
            return False
        self._handed_over += 1
        self.row.set_handed_over(self._handed_over)
        # The connection counts for the worker it goes to, before that worker counts it itself.
        for index, load in enumerate(self._loads):
            if load.slot == slot:
                self._loads[index] = load.plus(1)
                break
        if self._is_logged:
            logger.debug("a connection was handed over to worker %d", slot + 1)
        return True

    def _others(self) -> list[Load]:
        """Return how busy the other workers are that serve, as it was at most FRESH seconds ago."""
        now = time.monotonic()
        if now - self._read_at > FRESH:
            self._read_at = now
            self._loads = [load for load in self._board.loads(now, ALIVE, self.row) if load.slot in self._writers]
        return self._loads
