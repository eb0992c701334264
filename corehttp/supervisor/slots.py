"""The slots: what outlives a worker, that is its listening sockets and its inbox. Implements `world.SlotSockets`."""

import socket
from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Self, TypeVar

from corehttp.errors import StartupError
from corehttp.ipc import handover
from corehttp.ipc.handover import InboxQueue
from corehttp.records import mutable_record
from corehttp.shortage import shortage
from corehttp.sockets import accept_queue, listening, steering, unix_path
from corehttp.sockets.accept_queue import AcceptQueue
from corehttp.sockets.endpoint import Endpoint, ListeningSocket
from corehttp.supervisor.inheritance import Inheritance
from corehttp.supervisor.port_groups import PortGroups

if TYPE_CHECKING:
    from corehttp.sockets.address_choice import AddressRule

S = TypeVar("S", bound=socket.socket)


@mutable_record
class Slot:
    """The sockets of one slot. The worker that occupies it listens on them, and is passed connections by others."""

    sockets: list[ListeningSocket]  # the listening sockets; empty if the slot is closed
    reader: socket.socket  # the end of the inbox from which its worker takes connections
    writer: socket.socket  # the end of the inbox into which others put connections


class Slots:
    """All slots of a service that listens on `endpoints`, by their numbers.

    With `parting`, each slot has sockets of its own on shared ports (SO_REUSEPORT) where an endpoint can be parted. Of
    other endpoints all slots have the same sockets, unless each has a port of its own. A socket of an inherited
    endpoint also belongs to the program that started this one (systemd, for example). It is never made to refuse, and
    never shut down, so that clients who come after the end of this service wait there for the next one.

    `orders` has for each endpoint the slots that listen already, in the order in which they began to.
    """

    def __init__(
        self,
        slots: list[Slot],
        endpoints: Sequence[Endpoint],
        *,
        parting: bool,
        orders: Iterable[Iterable[int]] = (),
    ) -> None:
        self._slots = slots
        self._endpoints = dict(enumerate(endpoints))  # by their numbers, which an endpoint keeps while it is there
        self._served = tuple(self._endpoints)  # the numbers in the order of the options
        self._parting = parting
        self._lent = False
        self._groups = PortGroups(orders)

    @classmethod
    def of(cls, sockets: list[list[ListeningSocket]], endpoints: Sequence[Endpoint], *, parting: bool) -> Self:
        """Make slots of the sockets that `listening.bind` has returned.

        Raises StartupError; then the sockets are closed, and the paths of unix sockets are removed.
        """
        try:
            slots = [Slot(list(own), *handover.pair()) for own in sockets]
        except OSError as error:
            listening.release(sockets)
            raise StartupError(f"{len(sockets)} workers cannot be had: {shortage(error)}") from error
        return cls(slots, endpoints, parting=parting)

    @classmethod
    def adopt(cls, left: Inheritance, endpoints: Sequence[Endpoint]) -> Self:
        """Take over the slots of another supervisor that serves the same endpoints."""
        made: dict[int, ListeningSocket] = {}

        def sock(fd: int, endpoint: int) -> ListeningSocket:
            if fd not in made:
                made[fd] = _own(ListeningSocket(fileno=fd, endpoint=endpoint))
            return made[fd]

        slots = [
            Slot(
                [sock(fd, endpoint) for fd, endpoint in zip(own, left.endpoints or repeat(0), strict=False)],
                _own(socket.socket(fileno=reader)),
                _own(socket.socket(fileno=writer)),
            )
            for own, reader, writer in left.slots
        ]
        for listener in slots[0].sockets:
            unix_path.take_over(listener)
        return cls(slots, endpoints, parting=left.parting, orders=left.orders or [left.order] * len(endpoints))

    def bequeath(self, ready: int, address: tuple[object, ...]) -> Inheritance:
        """Return what another supervisor needs to adopt all open slots, which are numbered anew there.

        `ready` is the descriptor over which it reports that it has. Its process must inherit all descriptors by their
        numbers. `address` is what the options say of the address.
        """
        numbers = [number for number, slot in enumerate(self._slots) if slot.sockets]
        places = [
            (tuple(sock.fileno() for sock in slot.sockets), slot.reader.fileno(), slot.writer.fileno())
            for slot in map(self._slots.__getitem__, numbers)
        ]
        # A new supervisor numbers the endpoints by its options.
        of_endpoints = tuple(map(self._served.index, self.endpoints(numbers[0]))) if numbers else ()
        orders = [tuple(map(numbers.index, self._groups.order(number))) for number in self._served]
        return Inheritance(
            tuple(places),
            self._parting,
            any(endpoint.is_anothers for endpoint in self._endpoints.values()),
            orders[0],
            ready,
            address,
            of_endpoints if any(of_endpoints) else (),
            tuple(orders) if len(set(orders)) > 1 else (),
        )

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def urls(self) -> str:
        """Where clients find the service, for a log line."""
        return ", ".join(url for url, _ in self.listeners())

    @property
    def shared(self) -> bool:
        """Whether all slots have the same listening sockets."""
        return not (self._parting and any(endpoint.is_partable for endpoint in self._endpoints.values()))

    def lend(self, lent: bool) -> None:
        """Record whether another supervisor has the sockets too. While it has, they are closed but never shut down."""
        self._lent = lent

    def _is_parted(self, sock: ListeningSocket) -> bool:
        """Whether each slot has a socket of its own in place of this one."""
        return self._parting and self._endpoints[sock.endpoint].is_partable

    def _is_anothers(self, sock: ListeningSocket) -> bool:
        """Whether another program has this socket too, and may go on to listen on it."""
        return self._lent or self._endpoints[sock.endpoint].is_anothers

    def let_in(self) -> None:
        """Remove what a former owner of the sockets may have attached to them to keep clients out."""
        for slot in self._slots:
            for sock in slot.sockets:
                steering.let_in(sock)

    def fds(self, slot: int) -> list[int]:
        """The descriptors of the listening sockets of a slot."""
        return [sock.fileno() for sock in self._slots[slot].sockets]

    def endpoints(self, slot: int) -> tuple[int, ...]:
        """For each listening socket of a slot the number of its endpoint, in the order of `fds`."""
        return tuple(sock.endpoint for sock in self._slots[slot].sockets)

    def descriptors(self) -> list[int]:
        """The descriptors of the listening sockets and the inboxes of all slots."""
        return [sock.fileno() for slot in self._slots for sock in (*slot.sockets, slot.reader, slot.writer)]

    def inbox(self, slot: int) -> int:
        """The descriptor from which the worker of a slot takes connections that others pass to it."""
        return self._slots[slot].reader.fileno()

    def is_cut_off(self, slot: int) -> bool:
        """Whether the inbox of a slot was shut down, so that its worker is passed nothing any more."""
        return handover.is_shut(self._slots[slot].reader)

    def renew_inbox(self, slot: int) -> None:
        """Give a slot a new inbox. What is in the old one is lost. Raises OSError."""
        own = self._slots[slot]
        before = own.reader, own.writer
        own.reader, own.writer = handover.pair()
        for end in before:
            end.close()

    def inboxes(self) -> dict[int, int]:
        """For each open slot the descriptor through which its worker is passed connections."""
        return {number: slot.writer.fileno() for number, slot in enumerate(self._slots) if slot.sockets}

    def listeners(self) -> list[tuple[str, int]]:
        """Where clients find the service, each with how many connections wait there, as far as the kernel tells."""
        rows = [slot.sockets for slot in self._slots if slot.sockets]
        waiting: dict[str, int] = {}
        for column in zip(*rows, strict=True):
            for sock in dict.fromkeys(column):
                url = self._url(sock)
                waiting[url] = waiting.get(url, 0) + accept_queue.count_waiting(sock)
        return list(waiting.items())

    def writers(self) -> dict[int, socket.socket]:
        """For each open slot the end of its inbox into which connections are put."""
        return {number: slot.writer for number, slot in enumerate(self._slots) if slot.sockets}

    def queues(self, slot: int) -> list[AcceptQueue | InboxQueue]:
        """Return the queues of connections that no worker of another slot takes in."""
        own = self._slots[slot]
        return [*map(AcceptQueue, filter(self._is_parted, own.sockets)), InboxQueue(own.reader)]

    def waiting(self, slot: int) -> int:
        """How many connections wait to be accepted on the sockets of a slot, as far as the kernel tells."""
        return sum(map(accept_queue.count_waiting, self._slots[slot].sockets))

    def listen(self, slot: int, backlog: int) -> None:
        """Let clients connect to the sockets of a slot. Raises StartupError."""
        begun = False
        for sock in self._slots[slot].sockets:
            listening.listen(sock, backlog)
            begun |= self._groups.begin(slot, sock.endpoint)
        if begun and self._groups.is_steered:
            self.steer(self._groups.away)

    def open(self, slot: int) -> None:
        """Bind sockets for a slot that is new or was closed. Raises StartupError."""
        first = next(other.sockets for other in self._slots if other.sockets)
        own = listening.bind_slot(slot, first, self._endpoints, parting=self._parting)
        if slot == len(self._slots):
            try:
                self._slots.append(Slot(own, *handover.pair()))
            except OSError as error:
                for sock in set(own) - set(first):
                    sock.close()
                raise StartupError(shortage(error)) from error
        else:
            self._slots[slot].sockets = own

    def steer(self, away: frozenset[int]) -> bool:
        """Keep new connections from the sockets of these slots. Returns whether the kernel does so."""
        self._groups.away = away
        if self.shared or self._lent:
            return not away
        # A program belongs to the sockets that listen on a port: each group of them is reached through its first one.
        groups = [(number, order[0]) for number in self._endpoints if (order := self._groups.order(number))]
        firsts = [sock for number, slot in groups for sock in self._slots[slot].sockets if sock.endpoint == number]
        done = [self._groups.steer(sock) for sock in filter(self._is_parted, firsts)]
        return all(done)

    def tie(self, rule: "AddressRule | None") -> None:
        """Have the kernel give new connections to the slots that their clients' addresses prefer, as a rule says.

        None: it is to choose as it likes, among those that new connections are not kept from.
        """
        if rule != self._groups.rule:
            self._groups.rule = rule
            self.steer(self._groups.away)

    def refuse_new(self) -> None:
        """Let no new connection into the accept queues. Connections that wait in them can still be accepted."""
        for slot in self._slots:
            for sock in slot.sockets:
                if not self._is_anothers(sock):
                    steering.refuse_new(sock)

    def close(self, slot: int) -> None:
        """Close the sockets of a slot for good, and forward what is in its inbox to another slot.

        While another supervisor has the inbox, too, what is in it is left to the worker in the slot there. A socket
        that other slots have too is closed with the last one. Clients that wait on a socket that is closed are
        refused with 503 rather than reset, unless another program has the socket, too.
        """
        closing = self._slots[slot]
        sockets, closing.sockets = closing.sockets, []
        others = [other for other in self._slots if other.sockets]
        if others and not self._lent:
            handover.forward(closing.reader, others[0].writer)
        for sock in sockets:
            if not any(sock in other.sockets for other in others):
                self._shut(sock)
        self._groups.end(slot)
        if self._groups.is_steered:
            self.steer(self._groups.away)  # since positions have changed

    def _shut(self, sock: ListeningSocket) -> None:
        """Close a socket for good, in all processes that have it unless another program has it too."""
        if self._is_anothers(sock):
            sock.close()
        else:
            accept_queue.refuse_waiting(sock)
            listening.shut(sock)

    @property
    def served(self) -> dict[int, Endpoint]:
        """All endpoints that the slots have sockets of, by their numbers."""
        return dict(self._endpoints)

    def add_endpoint(self, endpoint: Endpoint) -> int:
        """Bind the sockets of another endpoint for all open slots, and return its number. Raises StartupError.

        Nothing listens there before the next `listen` of each slot.
        """
        number = max(self._endpoints) + 1
        opened = [slot for slot in range(len(self._slots)) if self._slots[slot].sockets]
        bound = listening.bind([endpoint], len(opened), reuseport=self._parting, first=number, own=opened)
        for slot, own in zip(opened, bound, strict=True):
            self._slots[slot].sockets += own
        self._endpoints[number] = endpoint
        return number

    def arrange(self, numbers: Sequence[int]) -> None:
        """Record that the options name the endpoints with these numbers, in this order, and no others."""
        self._served = tuple(numbers)

    def describe(self, said: Mapping[int, Endpoint]) -> None:
        """Record what the options say of endpoints, by their numbers, that keep their sockets."""
        self._endpoints.update(said)

    def refuse_endpoint(self, number: int) -> None:
        """Let no new connection into the accept queues of an endpoint. Those in them can still be accepted.

        A socket with an abstract name is left as it is: workers that go on to serve would wake up for it all the time.
        """
        for sock in self._of_endpoint(number):
            if not unix_path.is_abstract(sock):
                steering.refuse_new(sock)

    def close_endpoint(self, number: int) -> None:
        """Close the sockets of an endpoint for good; workers that have them stop listening there."""
        for sock in self._of_endpoint(number):
            self._shut(sock)
        for slot in self._slots:
            slot.sockets = [sock for sock in slot.sockets if sock.endpoint != number]
        del self._endpoints[number]
        self._groups.remove(number)

    def _url(self, sock: ListeningSocket) -> str:
        return listening.url(sock, self._endpoints[sock.endpoint].scheme)

    def _of_endpoint(self, number: int) -> list[ListeningSocket]:
        """Return the sockets of an endpoint, each of them once."""
        sockets = [sock for slot in self._slots for sock in slot.sockets if sock.endpoint == number]
        return list(dict.fromkeys(sockets))

    def close_all(self) -> None:
        """Close all sockets and inboxes, and remove the path of a unix socket."""
        self.refuse_new()
        for number, slot in enumerate(self._slots):
            self.close(number)
            slot.reader.close()
            slot.writer.close()


def _own(sock: S) -> S:
    """Make an inherited socket non-blocking, and keep it from children of this process. Returns it."""
    sock.set_inheritable(False)
    sock.setblocking(False)
    return sock
