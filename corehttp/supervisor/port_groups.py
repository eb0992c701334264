"""Which sockets of a shared port get new connections: some of them, or the one that a client's address prefers."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from corehttp.sockets import steering
from corehttp.sockets.endpoint import ListeningSocket

if TYPE_CHECKING:
    from corehttp.sockets.address_choice import AddressRule


class PortGroups:
    """For each endpoint the slots that listen there, in the order of their sockets among those that share a port.

    `orders` are those of the first endpoints, by their numbers; `steering.steer` says what the order is.
    """

    def __init__(self, orders: Iterable[Iterable[int]] = ()) -> None:
        self._orders = {number: list(order) for number, order in enumerate(orders)}
        self.away: frozenset[int] = frozenset()  # the slots that new connections are kept from
        self.rule: AddressRule | None = None  # where the address of a client decides; None: nowhere

    @property
    def is_steered(self) -> bool:
        """Whether anybody but the kernel itself says who gets new connections."""
        return bool(self.away) or self.rule is not None

    def order(self, endpoint: int) -> Sequence[int]:
        """Return the slots that listen at an endpoint, in their order."""
        return self._orders.get(endpoint, ())

    def begin(self, slot: int, endpoint: int) -> bool:
        """Record that a slot listens at an endpoint; answers whether it has just begun to."""
        order = self._orders.setdefault(endpoint, [])
        if slot in order:
            return False
        order.append(slot)
        return True

    def end(self, slot: int) -> None:
        """Record that a slot listens nowhere any more."""
        for order in self._orders.values():
            if slot in order:
                position = order.index(slot)
                last = order.pop()
                if last != slot:
                    order[position] = last  # the kernel does the same

    def remove(self, endpoint: int) -> None:
        """Forget an endpoint, at which nobody listens any more."""
        self._orders.pop(endpoint, None)

    def steer(self, sock: ListeningSocket) -> bool:
        """Have the kernel choose among the sockets that share the port of `sock`, which listens.

        Returns whether it keeps new connections from the slots that are `away`. Where it takes no program that chooses
        by address, all others get them by chance; the workers pass on what another one is to serve.
        """
        order = self.order(sock.endpoint)
        chosen = [position for position, slot in enumerate(order) if slot not in self.away] or list(range(len(order)))
        steps = self._by_address(sock.endpoint, order, chosen)
        if steps is not None and steering.choose(sock, steps):
            return True
        return steering.steer(sock, None if len(chosen) == len(order) else chosen)

    def _by_address(
        self, endpoint: int, order: Sequence[int], chosen: Sequence[int]
    ) -> list[tuple[int, int, int, int]] | None:
        """Return the steps of a program that chooses by address among some positions, None if there is to be none."""
        rule = self.rule
        if rule is None or endpoint not in rule.endpoints or len(order) < 2:
            return None
        from corehttp.sockets.address_choice import program  # here, since few services need it

        return program(rule, [(order[position], position) for position in chosen])
