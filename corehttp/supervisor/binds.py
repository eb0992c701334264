"""A reload that adds and removes binds: new ones are bound first, and those that nobody wants any more drain."""

import logging
from collections.abc import Callable, Iterable, Sequence

from corehttp.config import Config
from corehttp.errors import StartupError
from corehttp.moments import NEVER
from corehttp.sockets.endpoint import Endpoint, endpoints
from corehttp.supervisor.world import Rescuer, SlotSockets

logger = logging.getLogger("corehttp.supervisor")

SETTLE = 1.0  # seconds for handshakes under way, in which workers accept who has reached a bind that is removed


class Binds:
    """The endpoints of a service while reloads change them.

    In a reload the slots have those of both generations. When it is over the other ones are removed: they refuse new
    connections at once and are closed after SETTLE seconds; workers go on to serve who is connected.
    """

    def __init__(self, slots: SlotSockets, rescuer: Rescuer, rescued: Callable[[], frozenset[int]]) -> None:
        """`rescued()` are the slots whose waiting connections are given to the workers of others."""
        self._slots = slots
        self._rescuer = rescuer
        self._rescued = rescued
        self._committed = tuple(slots.served)  # the numbers of the generation that serves, in the order of its options
        self._wanted = self._committed  # those of the generation that a reload brings in
        self._said: dict[int, Endpoint] = {}  # what the options of that generation say of each of them
        self._closing: dict[int, float] = {}  # for each endpoint that is being removed the time when it is closed

    def begin(self, config: Config) -> None:
        """Bind what `config` names and the service does not listen on yet.

        Raises StartupError; then nothing has changed.
        """
        self.close_removed()
        known = self._slots.served
        wanted = endpoints(config)
        self._check_anothers(wanted, [known[number] for number in self._committed])
        numbers: list[int] = []
        added: list[int] = []
        try:
            for endpoint in wanted:
                found = next(
                    (n for n, other in known.items() if other.place == endpoint.place and n not in numbers), None
                )
                if found is None:
                    added.append(found := self._slots.add_endpoint(endpoint))
                numbers.append(found)
        except StartupError as error:
            for number in added:
                self._slots.refuse_endpoint(number)
                self._slots.close_endpoint(number)
            if config.user is not None and isinstance(error.__cause__, PermissionError):
                raise StartupError(f"{error}; only a restart can, since root's rights are given up (user)") from error
            raise
        self._wanted = tuple(numbers)
        self._said = dict(zip(numbers, wanted, strict=True))
        if added:
            self._rescue_anew()

    def named(self, *, of_rollout: bool) -> tuple[int, ...]:
        """Return the numbers of the endpoints that the options of a generation name, in their order.

        It is the one that a reload brings in with `of_rollout`, else the one that serves.
        """
        return self._wanted if of_rollout else self._committed

    def finish(self, now: float) -> None:
        """Remove what the generation that has taken over does not name; `now` in seconds, monotonic."""
        self._committed = self._wanted
        self._slots.describe(self._said)
        self._remove(now)

    def abandon(self, now: float) -> None:
        """Remove what only the generation of a failed reload names; `now` in seconds, monotonic."""
        self._wanted = self._committed
        self._remove(now)

    def due(self) -> float:
        """When `look` is to be called (seconds, monotonic)."""
        return min(self._closing.values(), default=NEVER)

    def look(self, now: float) -> None:
        """Close the sockets of removed endpoints whose time has come; `now` in seconds, monotonic."""
        if due := [number for number, at in self._closing.items() if at <= now]:
            self._close(due)

    def close_removed(self) -> None:
        """Close the sockets of all removed endpoints now."""
        if self._closing:
            self._close(list(self._closing))

    def _remove(self, now: float) -> None:
        """Refuse new connections to every endpoint that is not of the committed ones, to close it later."""
        self._slots.arrange(self._committed)
        for number in self._slots.served:
            if number not in self._committed and number not in self._closing:
                self._slots.refuse_endpoint(number)
                self._closing[number] = now + SETTLE

    def _close(self, numbers: Iterable[int]) -> None:
        """Close the sockets of removed endpoints, and say where nobody finds the service any more."""
        before = dict(self._slots.listeners())
        for slot in self._rescued():
            self._rescuer.finish(slot)
        for number in numbers:
            del self._closing[number]
            self._slots.close_endpoint(number)
        left = dict(self._slots.listeners())
        closed = [url for url in before if url not in left]
        if closed:
            logger.info("%s: closed, since no bind names it any more", ", ".join(closed))
        self._rescuer.rescue(self._rescued())

    def _rescue_anew(self) -> None:
        """Have the connections to new sockets rescued too, where no worker accepts."""
        for slot in self._rescued():
            self._rescuer.finish(slot)
        self._rescuer.rescue(self._rescued())

    @staticmethod
    def _check_anothers(wanted: Sequence[Endpoint], committed: Sequence[Endpoint]) -> None:
        """Raise StartupError if a socket of another program is to be added or removed: it comes with the process."""
        places = {endpoint.place for endpoint in wanted} ^ {endpoint.place for endpoint in committed}
        others = {endpoint for endpoint in places if endpoint.is_anothers}
        if others:
            raise StartupError(
                "bind: only a restart adds or removes fd://N and systemd:NAME, since the program that starts the "
                "service makes these sockets"
            )
