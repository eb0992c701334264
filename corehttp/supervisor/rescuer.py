"""Give connections that wait in slots without a worker to the workers of other slots. Implements `world.Rescuer`."""

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence

from corehttp.ipc import handover
from corehttp.ipc.balance import Load, target
from corehttp.ipc.handed_socket import MOST, HandedSocket
from corehttp.ipc.handover import InboxQueue
from corehttp.ipc.parcel import Parcel
from corehttp.shortage import shortage
from corehttp.sockets.accept_queue import PEER_FAILED, AcceptedSocket, AcceptQueue
from corehttp.supervisor.poller import Poller
from corehttp.supervisor.slots import Slots

logger = logging.getLogger("corehttp.supervisor")

BATCH = 64  # how many connections are given away before the supervisor's loop goes on, which looks for signals


class ConnectionRescuer:
    """Takes connections out of the queues of some slots, and puts them into the inboxes of workers that accept.

    `loads()` are the workers that accept connections; `keep_alive()` is how many seconds a new connection may be idle.
    While no worker has room, connections are left where they wait, and `paused` says that `look_again` is to be called
    after a while.
    """

    def __init__(
        self,
        slots: Slots,
        poller: Poller,
        loads: Callable[[], list[Load]],
        keep_alive: Callable[[], float],
    ) -> None:
        self._slots = slots
        self._loads = loads
        self._keep_alive = keep_alive
        self._poller = poller
        self._queues: dict[int, Sequence[AcceptQueue | InboxQueue]] = {}  # for each slot whose connections are rescued
        # Connections that were taken out of a queue before it turned out that no worker has room, each with its slot.
        self._held: deque[tuple[int, AcceptedSocket, Parcel]] = deque()
        self._given: Counter[int] = Counter()  # for each slot, how many of its connections were given away
        self._complained = False  # whether the shortage that there is at the moment was logged
        self.paused = False  # whether connections wait since no worker has room, or a descriptor is missing

    def rescue(self, wanted: frozenset[int]) -> None:
        """Give away what waits in these slots from now on, and a last time what waits in the slots of before."""
        for slot in sorted(set(self._queues) - wanted):
            self.finish(slot)
        for slot in sorted(wanted - set(self._queues)):
            self._queues[slot] = queues = self._slots.queues(slot)
            if not self.paused:
                self._watch(queues)

    def finish(self, slot: int) -> None:
        """Give away what waits in this slot a last time. Its queues may be closed after that."""
        queues = self._queues.get(slot)
        if queues is None:
            return
        for queue in queues:
            self._give_away(slot, queue, MOST)
        self._ignore(queues)
        del self._queues[slot]
        given = self._given.pop(slot, 0)
        if given:
            noun, verb = ("connection", "was") if given == 1 else ("connections", "were")
            logger.info("%d %s that waited for worker %d %s given to others", given, noun, slot + 1, verb)

    def look_again(self) -> None:
        """Go on after a pause."""
        self.paused = False
        for queues in self._queues.values():
            self._watch(queues)
        self._pass_held()

    def close(self) -> None:
        """Stop for good, and close the connections that no worker has taken."""
        for queues in self._queues.values():
            self._ignore(queues)
        self._queues.clear()
        for _, connection, _ in self._held:
            connection.close()
        self._held.clear()

    def _watch(self, queues: Sequence[AcceptQueue | InboxQueue]) -> None:
        for queue in queues:
            self._poller.watch(queue.fileno(), self._look)

    def _ignore(self, queues: Sequence[AcceptQueue | InboxQueue]) -> None:
        for queue in queues:
            self._poller.forget(queue.fileno())

    def _look(self) -> None:
        """Give away a batch of each queue in which connections wait."""
        for slot, queues in self._queues.items():
            for queue in queues:
                if not self.paused:
                    self._give_away(slot, queue, BATCH)

    def _give_away(self, slot: int, queue: AcceptQueue | InboxQueue, limit: int) -> None:
        """Give up to so many connections of a queue to workers with room; pause where that cannot go on."""
        loads = self._loads()
        while limit > 0 and queue.waits():
            limit -= 1
            if self._with_room(loads, slot) is None:
                self._pause()
                return
            try:
                connection = queue.take()
            except BlockingIOError:
                return
            except EOFError:  # the inbox was shut down, so that it would be readable for good
                self._poller.forget(queue.fileno())
                return
            except OSError as error:
                if isinstance(error, ConnectionError) or error.errno in PEER_FAILED:
                    continue
                self._complain(slot, error)
                self._pause()
                return
            parcel = self._parcel(connection)
            if not self._give(loads, slot, connection, parcel):
                self._held.append((slot, connection, parcel))
                self._pause()
                return

    def _complain(self, slot: int, error: OSError) -> None:
        """Log once why connections cannot be taken out of a queue, until one can again."""
        if not self._complained:
            self._complained = True
            reason = shortage(error)
            logger.error("connections that wait for worker %d cannot be given to others: %s", slot + 1, reason)

    def _parcel(self, connection: AcceptedSocket) -> Parcel:
        """Return what a worker is to be told of a connection; of a handed one, what the slot's worker was to be."""
        if isinstance(connection, HandedSocket) and connection.parcel is not None:
            return connection.parcel
        return Parcel(connection.fileno(), time.monotonic() + self._keep_alive(), connection.endpoint)

    def _with_room(self, loads: list[Load], slot: int) -> int | None:
        """Return the slot of the worker that is to get the next connection; None if none has room."""
        writers = self._slots.writers()
        return target([load for load in loads if load.slot in writers and handover.has_room(writers[load.slot])], slot)

    def _give(self, loads: list[Load], slot: int, connection: AcceptedSocket, parcel: Parcel) -> bool:
        """Put a connection into the inbox of a worker, and close it here. Returns False if no worker has room.

        The connection is counted in `loads`. A worker that does not take it is removed from them.
        """
        while (chosen := self._with_room(loads, slot)) is not None:
            given = handover.put(self._slots.writers()[chosen], parcel)
            index = next(index for index, load in enumerate(loads) if load.slot == chosen)
            if not given:  # the inbox was filled or shut down just now
                del loads[index]
                continue
            loads[index] = Load(chosen, loads[index].connections + 1, loads[index].limit)
            connection.close()
            self._complained = False
            self._given[slot] += 1
            return True
        return False

    def _pass_held(self) -> None:
        """Give the connections that are held to workers with room."""
        while self._held:
            slot, connection, parcel = self._held[0]
            if not self._give(self._loads(), slot, connection, parcel):
                self._pause()
                return
            self._held.popleft()

    def _pause(self) -> None:
        """Leave connections where they wait until `look_again`."""
        self.paused = True
        for queues in self._queues.values():
            self._ignore(queues)
