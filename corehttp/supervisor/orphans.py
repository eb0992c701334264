"""The connections that wait in slots without a worker, and how the workers of other slots get them."""

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence

from corehttp.ipc import handover
from corehttp.ipc.balance import Load, target
from corehttp.ipc.handover import HandedSocket, InboxQueue
from corehttp.ipc.parcel import Parcel
from corehttp.shortage import shortage
from corehttp.sockets.accept_queue import PEER_FAILED, AcceptedSocket, AcceptQueue
from corehttp.supervisor.poller import Poller
from corehttp.supervisor.slots import Slots

logger = logging.getLogger("corehttp.supervisor")

BATCH = 64  # connections given away at one look: signals are heeded in between


class Orphans:
    """Takes what waits in some slots out of the kernel's queues, and puts it into the inboxes of workers that serve.

    `loads` are the workers that take connections in. `keep_alive`: seconds that a new connection may be idle. Where
    nobody has room, connections are left where they wait, and `paused` says that `look_again` is to be called after a
    while.
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
        self._queues: dict[int, Sequence[AcceptQueue | InboxQueue]] = {}  # by slot
        # Connections, each with its slot, that were taken out of a queue and then found no worker with room.
        self._held: deque[tuple[int, AcceptedSocket, Parcel]] = deque()
        self._given: Counter[int] = Counter()  # by slot: how many
        self._complained = False  # about what stands in the way at the moment
        self.paused = False

    def rescue(self, wanted: frozenset[int]) -> None:
        """From now on give away what waits in these slots, and a last time what waits in those of before."""
        for slot in [slot for slot in self._queues if slot not in wanted]:
            self.leave(slot)
        for slot in sorted(wanted - set(self._queues)):
            self._queues[slot] = queues = self._slots.queues(slot)
            if not self.paused:
                self._listen(queues)

    def leave(self, slot: int) -> None:
        """Give away what waits in this slot a last time, if it was looked after; its queues may be closed then."""
        queues = self._queues.get(slot)
        if queues is None:
            return
        for queue in queues:
            self._give_away(slot, queue, handover.MOST)
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
            self._listen(queues)
        self._pass_held()

    def close(self) -> None:
        """Watch nothing any more. Who is still held is lost: nobody serves."""
        for queues in self._queues.values():
            self._ignore(queues)
        self._queues.clear()
        for _, connection, _ in self._held:
            connection.close()
        self._held.clear()

    def _listen(self, queues: Sequence[AcceptQueue | InboxQueue]) -> None:
        for queue in queues:
            self._poller.watch(queue.fileno(), self._look)

    def _ignore(self, queues: Sequence[AcceptQueue | InboxQueue]) -> None:
        for queue in queues:
            self._poller.forget(queue.fileno())

    def _look(self) -> None:
        """Somebody waits."""
        for slot, queues in self._queues.items():
            for queue in queues:
                if not self.paused:
                    self._give_away(slot, queue, BATCH)

    def _give_away(self, slot: int, queue: AcceptQueue | InboxQueue, limit: int) -> None:
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
            except ConnectionError:
                continue
            except EOFError:  # it would be readable for good
                self._poller.forget(queue.fileno())
                return
            except OSError as error:
                if error.errno in PEER_FAILED:
                    continue
                if not self._complained:
                    self._complained = True
                    reason = shortage(error)
                    logger.error("connections that wait for worker %d cannot be given to others: %s", slot + 1, reason)
                self._pause()
                return
            parcel = connection.parcel if isinstance(connection, HandedSocket) else None
            if parcel is None:
                parcel = Parcel(connection.fileno(), time.monotonic() + self._keep_alive())
            if not self._give(loads, slot, connection, parcel):
                self._held.append((slot, connection, parcel))
                self._pause()
                return

    def _with_room(self, loads: list[Load], slot: int) -> int | None:
        """The slot of the worker that gets the next connection."""
        writers = self._slots.writers()
        return target([load for load in loads if load.slot in writers and handover.has_room(writers[load.slot])], slot)

    def _give(self, loads: list[Load], slot: int, connection: AcceptedSocket, parcel: Parcel) -> bool:
        """Put it into the inbox of the worker that gets it, which is counted there from now on; False if none does."""
        while (chosen := self._with_room(loads, slot)) is not None:
            given = handover.put(self._slots.writers()[chosen], parcel)
            index = next(index for index, load in enumerate(loads) if load.slot == chosen)
            if not given:  # suddenly it is full, or it was shut down
                del loads[index]
                continue
            loads[index] = Load(chosen, loads[index].connections + 1, loads[index].limit)
            connection.close()
            self._complained = False
            self._given[slot] += 1
            return True
        return False

    def _pass_held(self) -> None:
        while self._held:
            slot, connection, parcel = self._held[0]
            if not self._give(self._loads(), slot, connection, parcel):
                self._pause()
                return
            self._held.popleft()

    def _pause(self) -> None:
        """Leave the rest where it waits, for a while."""
        self.paused = True
        for queues in self._queues.values():
            self._ignore(queues)
