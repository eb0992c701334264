"""Keep the workers of a service equally loaded: pass connections on when they are accepted, and idle ones soon after.

The kernel gives a new connection to a worker by chance, or to the one that is the first to wake up. A worker that has
more connections than another one passes a new one on, unread. As several workers do so at the same time, each looks
again a few times after that, and passes on idle connections until no worker has two more than another.
"""

import socket
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from heapq import heapify, heapreplace
from itertools import islice
from typing import NamedTuple

from corehttp.ipc.balance import Load, transfers
from corehttp.ipc.parcel import Parcel
from corehttp.ipc.scoreboard import ROWS
from corehttp.moments import NEVER
from corehttp.protocols.context import WorkerContext
from corehttp.protocols.contracts import Connection
from corehttp.sockets.accept_queue import Accepted
from corehttp.worker.periodic import Periodic
from corehttp.worker.siblings import Siblings
from corehttp.worker.timers import MakeTimer

FRESH = 0.002  # seconds for which the loads of others count when a connection is accepted
PATIENCE = 0.5  # seconds for which the event loop of a worker may not run before it is passed nothing
LOOK = 0.02  # seconds between two looks at the loads after connections have come
LOOKS = 15  # how many looks follow the last connection that has come
# Seconds between two looks while connections come and go: each look wakes the worker up. Every 20 ms that took 5 % more
# CPU for the requests of clients that connect for every request (`benchmarks.spreading`).
SELDOM = 0.25
RECENT = 5  # how many looks tell how many connections stay while others come and go
TRIED = 256  # the most connections that one look tries to pass on, since most of them may be in use
# A connection that ends sooner than this (seconds) is not worth passing on: while its client waits for another process
# to wake up, it could have been answered. Clients that connect for every request got a third of the answers on a busy
# machine with 2 cores before this was so (`benchmarks.spreading`).
LASTING = 0.25
# What passing connections on may cost at most, whatever clients do. Each takes 13 to 17 us of CPU in both workers
# together (`benchmarks.spreading`).
RATE = 100.0  # connections a second, on average
BURST = 1000.0  # connections at once


class Arrivals:
    """Counts the connections that come and stay, to tell how long they last."""

    def __init__(self) -> None:
        self._since = -NEVER  # when the count of the present second began (seconds, monotonic)
        self._now = 0  # connections in the present second
        self._before = 0  # connections in the second before

    def count(self, now: float) -> None:
        """Count a connection that comes at `now` (seconds, monotonic)."""
        if now - self._since >= 1:
            self._begin_second(now)
        self._now += 1

    def last(self, now: float, open_now: int) -> bool:
        """Whether connections last at least LASTING seconds on average, of which `open_now` are open.

        On average as many are open as come in the time that one lasts (Little's law).
        """
        if now - self._since >= 1:
            self._begin_second(now)
        in_a_second = self._now + self._before * (1 - (now - self._since))
        return open_now >= in_a_second * LASTING

    def _begin_second(self, now: float) -> None:
        """Begin to count anew, since the present second is over."""
        self._before = self._now if now - self._since < 2 else 0
        self._since, self._now = now, 0


class Budget:
    """How many connections a worker may still pass on: `rate` a second on average, and `burst` of them at once."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._left = burst
        self._counted_at = -NEVER

    def left(self, now: float) -> int:
        """Return how many connections may be passed on at `now` (seconds, monotonic)."""
        self._left = left = min(self._burst, self._left + (now - self._counted_at) * self._rate)
        self._counted_at = now
        return int(left)

    def spend(self, count: int) -> None:
        """Record that so many connections were passed on."""
        self._left -= count


class Place(NamedTuple):
    """A worker that is able to take a connection. The lesser of two places is the better one."""

    connections: int
    running: int
    reported: float
    distance: int  # how many slots it is away: several workers that ask at the same time do not all choose the same
    slot: int
    counted: bool = False  # whether `connections` has those that wait in its inbox


# What Place(…) does, without its Python frame: 0.1 us instead of 0.2 for each connection that is passed on (timeit).
_make_place = partial(tuple.__new__, Place)


def places(loads: Iterable[Load], own_slot: int) -> list[Place]:
    """Return the places of the workers that are able to take a connection, as a heap."""
    found = [
        Place(load.connections, load.running, load.reported, (load.slot - own_slot) % ROWS, load.slot)
        for load in loads
        if load.able
    ]
    heapify(found)
    return found


class Spreading:
    """Passes connections of one worker on to its `siblings` while these have fewer.

    A sibling whose event loop has not run for `patience` seconds gets none. With `only_local` the addresses of clients
    say which connections belong to which workers: new ones are passed on only if they come over a unix socket. To be
    used in the thread of the event loop, until `close`.
    """

    def __init__(
        self,
        siblings: Siblings,
        context: WorkerContext,
        patience: float,
        make_timer: MakeTimer,
        now: Callable[[], float] = time.monotonic,
        *,
        only_local: bool = False,
    ) -> None:
        self._siblings = siblings
        self._context = context
        self._patience = patience
        self._only_local = only_local
        self._now = now
        self._budget = Budget(RATE, BURST)
        self._arrivals = Arrivals()
        # The others that are able to take a connection, the least loaded first (a heap), as they were at `_read_at`.
        self._places: list[Place] = []
        self._read_at = -NEVER
        self._timer = make_timer(Periodic("the evening out of new connections", self._look))
        self._seen: deque[int] = deque(maxlen=RECENT)  # how many connections were open at the last looks
        self._looks = 0  # how many looks are still to come; the timer is set while there are some
        self._arriving = 0  # how many connections were taken in and are not open yet

    def divert(self, connection: Accepted, own: int) -> bool:
        """Pass on a connection that was just accepted if another worker has fewer than the `own` ones of this worker.

        Returns whether another worker has it; it is closed here then.
        """
        now, context = self._now(), self._context
        # Without a connection of its own no other worker has fewer; and all leave where one is draining.
        stays = not own or context.draining or (self._only_local and connection.family != socket.AF_UNIX)
        if stays or not self._arrivals.last(now, own) or not self._budget.left(now):
            slot = None
        else:
            slot = self._emptier(own, now)
        if slot is None:
            self._arrivals.count(now)
            return False
        if not self._siblings.put(slot, Parcel(connection.fileno(), now + context.keep_alive, connection.endpoint)):
            self._read_at = -NEVER
            self._arrivals.count(now)
            return False
        connection.close()
        self._budget.spend(1)
        if context.tally is not None:
            context.tally.accepted += 1
        return True

    def arriving(self, count: int) -> None:
        """Show others that `count` connections were taken in and are not open yet, and look at the loads for a while.

        To be called when that number has changed.
        """
        self._siblings.row.arriving = self._arriving = count
        if self._only_local:
            return  # idle ones stay, too, as the next request would bring them back
        if not self._looks:
            self._timer.set(LOOK)
        self._looks = LOOKS

    def even_out(self) -> None:
        """Pass on idle connections of this worker, as far as others have at least two less."""
        context, siblings = self._context, self._siblings
        if context.draining or context.hand_over is not None or context.affinity is not None:
            return
        now, own = self._now(), len(context.connections) + self._arriving
        self._seen.append(own)
        if not self._arrivals.last(now, own):
            # Many come and go at the moment. The fewest of the last looks are those that stay.
            own = min(self._seen) if len(self._seen) == RECENT else 0
        left = self._budget.left(now) if own > 1 else 0
        if not left:
            return
        loads = siblings.loads(now, self._patience)
        if min((load.connections for load in loads.values()), default=own) > own - 2:
            return
        known = [load.plus(siblings.waiting(slot)) for slot, load in loads.items()]
        own += siblings.waiting(siblings.slot)
        candidates = islice(tuple(context.connections), TRIED)
        for slot, count in transfers(known, siblings.slot, own):
            passed = self._pass_on(candidates, slot, min(count, left))
            self._budget.spend(passed)
            left -= passed

    def close(self) -> None:
        """Stop looking at the loads."""
        self._looks = 0
        self._timer.close()

    def _look(self) -> None:
        """Even out, and set the timer for the next look if there is to be one."""
        self._looks -= 1
        try:
            self.even_out()
        finally:
            if self._looks > 0:
                lasting = self._arrivals.last(self._now(), len(self._context.connections))
                self._timer.set(LOOK if lasting else SELDOM)

    def _emptier(self, own: int, now: float) -> int | None:
        """Count a connection for the worker that has the fewest, if it has fewer than `own`, and return its slot.

        What waits in an inbox takes a system call to know, and is asked for only where a connection is to be put there.
        """
        if now - self._read_at > FRESH:
            self._read_at = now
            self._places = places(self._siblings.loads(now, self._patience).values(), self._siblings.slot)
        heap = self._places
        while heap and heap[0].connections < own:
            least = heap[0]
            connections, running, reported, distance, slot, counted = least
            if counted:
                heapreplace(heap, _make_place((connections + 1, running, reported, distance, slot, True)))
                return slot
            connections += self._siblings.waiting(slot)
            heapreplace(heap, _make_place((connections, running, reported, distance, slot, True)))
        return None

    def _pass_on(self, candidates: Iterable[Connection], slot: int, wanted: int) -> int:
        """Pass up to `wanted` of the `candidates` that are idle on to a slot; return how many were passed on."""
        passed = 0
        if wanted > 0:
            for connection in candidates:
                passed += connection.pass_on(lambda parcel: self._siblings.put(slot, parcel))
                if passed == wanted:
                    break
        return passed
