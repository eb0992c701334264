"""What outlives a worker: the listening sockets of its place, and its inbox."""

import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Self, TypeVar

from corehttp.errors import StartupError
from corehttp.ipc import handover
from corehttp.ipc.handover import InboxQueue
from corehttp.shortage import shortage
from corehttp.sockets import accept_queue, listening, steering, unix_path
from corehttp.sockets.accept_queue import AcceptQueue
from corehttp.sockets.endpoint import Endpoint, EndpointKind, ListeningSocket
from corehttp.supervisor.inheritance import Inheritance

S = TypeVar("S", bound=socket.socket)


@dataclass(slots=True)
class Slot:
    """A place for a worker: what its occupant listens on, and through what others pass it connections."""

    sockets: list[ListeningSocket]  # none: it is closed
    reader: socket.socket
    writer: socket.socket


class Slots:
    """All places, by their number.

    With `parting`, each has sockets of its own on shared ports (SO_REUSEPORT) where an endpoint can be parted; all
    have the same sockets of other endpoints. Those of inherited endpoints belong to the program that started this one
    as well (systemd, say): they are never made to refuse or shut down, so that clients who come after the end of this
    service wait there for its successor.
    """

    def __init__(
        self, slots: list[Slot], endpoints: Sequence[Endpoint], *, parting: bool, order: Iterable[int] = ()
    ) -> None:
        self._slots = slots
        self._endpoints = endpoints
        self._parting = parting
        self._lent = False
        self._order = list(order)  # the slots that listen, in the kernel's order

    @classmethod
    def of(cls, sockets: list[list[ListeningSocket]], endpoints: Sequence[Endpoint], *, parting: bool) -> Self:
        """Make slots of the sockets of some endpoints, as `listening.bind` returns them; raises StartupError."""
        try:
            slots = [Slot(list(own), *handover.pair()) for own in sockets]
        except OSError as error:
            raise StartupError(f"{len(sockets)} workers cannot be had: {shortage(error)}") from error
        return cls(slots, endpoints, parting=parting)

    @classmethod
    def adopt(cls, left: Inheritance, endpoints: Sequence[Endpoint]) -> Self:
        """Take over the slots that another supervisor has left, which serves the same endpoints."""
        made: dict[int, ListeningSocket] = {}

        def sock(fd: int, endpoint: int) -> ListeningSocket:
            if fd not in made:
                made[fd] = _own(ListeningSocket(fileno=fd))
                made[fd].endpoint = endpoint
            return made[fd]

        slots = [
            Slot(
                [sock(fd, endpoint) for fd, endpoint in zip(own, left.endpoints or repeat(0), strict=False)],
                _own(socket.socket(fileno=reader)),
                _own(socket.socket(fileno=writer)),
            )
            for own, reader, writer in left.slots
        ]
        for one in slots[0].sockets:
            unix_path.take_over(one)
        return cls(slots, endpoints, parting=left.parting, order=left.order)

    def bequeath(self, ready: int, address: tuple[object, ...]) -> Inheritance:
        """All that another supervisor needs to adopt them; the descriptors are to be inherited by their numbers.

        That one has no closed slots, so it numbers the others anew.
        """
        numbers = [number for number, slot in enumerate(self._slots) if slot.sockets]
        places = [
            (tuple(sock.fileno() for sock in slot.sockets), slot.reader.fileno(), slot.writer.fileno())
            for slot in map(self._slots.__getitem__, numbers)
        ]
        of_endpoints = tuple(sock.endpoint for number in numbers[:1] for sock in self._slots[number].sockets)
        return Inheritance(
            tuple(places),
            self._parting,
            any(endpoint.kind is EndpointKind.INHERITED for endpoint in self._endpoints),
            tuple(map(numbers.index, self._order)),
            ready,
            address,
            of_endpoints if any(of_endpoints) else (),
        )

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def urls(self) -> str:
        """Where clients find the service."""
        return ", ".join(listening.url(sock) for sock in self._slots[0].sockets)

    @property
    def shared(self) -> bool:
        """Whether all slots have the same sockets, of all endpoints."""
        return not (self._parting and any(endpoint.is_partable for endpoint in self._endpoints))

    def share(self, shared: bool) -> None:
        """Whether another supervisor has the sockets too: then we only let go of ours."""
        self._lent = shared

    def _is_parted(self, sock: ListeningSocket) -> bool:
        """Whether each slot has a socket of its own in place of this one."""
        return self._parting and self._endpoints[sock.endpoint].is_partable

    def _is_anothers(self, sock: ListeningSocket) -> bool:
        """Whether another program has this socket, too, and may go on to listen on it."""
        return self._lent or self._endpoints[sock.endpoint].kind is EndpointKind.INHERITED

    def let_in(self) -> None:
        """Take away what a former owner of the sockets may have left on them to keep clients out."""
        for slot in self._slots:
            for sock in slot.sockets:
                steering.let_in(sock)

    def fds(self, slot: int) -> list[int]:
        """The descriptors of the listening sockets of a slot."""
        return [sock.fileno() for sock in self._slots[slot].sockets]

    def descriptors(self) -> list[int]:
        """Those of all listening sockets and inboxes."""
        return [sock.fileno() for slot in self._slots for sock in (*slot.sockets, slot.reader, slot.writer)]

    def inbox(self, slot: int) -> int:
        """The descriptor from which the occupant of a slot takes connections."""
        return self._slots[slot].reader.fileno()

    def is_cut_off(self, slot: int) -> bool:
        """Whether the inbox of a slot was shut down, so that its occupant is passed nothing any more."""
        return handover.is_shut(self._slots[slot].reader)

    def renew_inbox(self, slot: int) -> None:
        """Give a slot a new inbox; what is in the old one is lost. Raises OSError."""
        own = self._slots[slot]
        before = own.reader, own.writer
        own.reader, own.writer = handover.pair()
        for end in before:
            end.close()

    def inboxes(self) -> dict[int, int]:
        """For each slot that is open, the descriptor through which its occupant is passed connections."""
        return {number: slot.writer.fileno() for number, slot in enumerate(self._slots) if slot.sockets}

    def writers(self) -> dict[int, socket.socket]:
        """For each slot that is open, the end of its inbox into which connections are put."""
        return {number: slot.writer for number, slot in enumerate(self._slots) if slot.sockets}

    def queues(self, slot: int) -> list[AcceptQueue | InboxQueue]:
        """Where connections wait that only the occupant of this slot takes in."""
        own = self._slots[slot]
        return [*map(AcceptQueue, filter(self._is_parted, own.sockets)), InboxQueue(own.reader)]

    def waiting(self, slot: int) -> int:
        """How many connections wait to be accepted in a slot, as far as the kernel tells."""
        return sum(map(accept_queue.count_waiting, self._slots[slot].sockets))

    def listen(self, slot: int, backlog: int) -> None:
        """Let clients in; raises StartupError."""
        for sock in self._slots[slot].sockets:
            listening.listen(sock, backlog)
        if slot not in self._order:
            self._order.append(slot)

    def open(self, slot: int) -> None:
        """Open one that is new or was closed; raises StartupError."""
        first = next(other.sockets for other in self._slots if other.sockets)
        parted = iter(listening.bind_beside(filter(self._is_parted, first)))
        own = [next(parted) if self._is_parted(sock) else sock for sock in first]
        if slot == len(self._slots):
            try:
                self._slots.append(Slot(own, *handover.pair()))
            except OSError as error:
                for sock in filter(self._is_parted, own):
                    sock.close()
                raise StartupError(shortage(error)) from error
        else:
            self._slots[slot].sockets = own

    def steer(self, away: frozenset[int]) -> bool:
        """Let new connections reach no sockets of these slots, where that can be had; answers whether it can."""
        if self.shared or self._lent:
            return not away
        chosen = [position for position, slot in enumerate(self._order) if slot not in away]
        everywhere = len(chosen) in (0, len(self._order))
        addresses = next((slot.sockets for slot in self._slots if slot.sockets), [])
        done = [steering.steer(sock, None if everywhere else chosen) for sock in filter(self._is_parted, addresses)]
        return all(done)

    def refuse_new(self) -> None:
        """Let no new connection into the accept queues."""
        for slot in self._slots:
            for sock in slot.sockets:
                if not self._is_anothers(sock):
                    steering.refuse_new(sock)

    def close(self, slot: int) -> None:
        """Let go of a slot's sockets; they end with the last slot that has them. What is in its inbox others get."""
        closing = self._slots[slot]
        sockets, closing.sockets = closing.sockets, []
        others = [other for other in self._slots if other.sockets]
        if others:
            handover.forward(closing.reader, others[0].writer)
        for sock in sockets:
            if any(sock in other.sockets for other in others):
                continue
            if self._is_anothers(sock):
                sock.close()
            else:
                listening.shut(sock)
        if slot in self._order:
            place = self._order.index(slot)
            last = self._order.pop()
            if last != slot:
                self._order[place] = last

    def close_all(self) -> None:
        """Leave nothing behind."""
        self.refuse_new()
        for number, slot in enumerate(self._slots):
            self.close(number)
            slot.reader.close()
            slot.writer.close()


def _own(sock: S) -> S:
    """Keep an inherited socket from this process's children, and from blocking."""
    sock.set_inheritable(False)
    sock.setblocking(False)
    return sock
