"""Give accepted connections their transports and protocols, after the PROXY header of those that have one."""

import asyncio
import functools
import logging
from collections.abc import Callable, Coroutine
from typing import Protocol

from corehttp.ipc.handed_socket import HandedSocket
from corehttp.ipc.parcel import Parcel
from corehttp.protocols.entrance import Origin
from corehttp.sockets.accept_queue import Accepted, AcceptedDescriptor

logger = logging.getLogger("corehttp.error")

# What gives a connection its transport and protocol; each time it waits it says for what.
Waiter = asyncio.Future[object] | None
Adoption = Coroutine[Waiter, None, object]
Waiting = tuple[Adoption, Accepted, Waiter]

# Gives a connection whose PROXY header was read, and which told this, its transport and protocol.
Admit = Callable[[Accepted, Origin], object]


class MakeProtocol(Protocol):
    """Makes the protocol of a connection."""

    def __call__(
        self, endpoint: int, parcel: Parcel | None = None, origin: Origin | None = None, /
    ) -> asyncio.Protocol:
        """Return the protocol of a client that has come through the endpoint with this number.

        `parcel` is what another process has told of a connection that it has handed over; None for a new one. `origin`
        is what a PROXY header has told that this process has read; None if it has read none.
        """
        ...


class Openings(Protocol):
    """Reads the PROXY headers of connections that have to begin with one; `proxy_opening.ProxyOpenings` does."""

    def await_header(self, connection: Accepted, admit: Admit, /) -> bool:
        """Take charge of a connection if its PROXY header has to be read first; answers whether that is so.

        Then `admit` is called once the header was read, now or later, unless the connection is closed instead.
        """
        ...


class Adoptions:
    """The connections of an acceptor that were accepted and have no protocol yet. To be used in the loop's thread."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        make_protocol: MakeProtocol,
        openings: Openings | None,
        show: Callable[[int], object],
        settled: Callable[[], object],
    ) -> None:
        """`show` is told how many connections have no protocol yet, and `settled` called when some have got theirs."""
        self._loop = loop
        self._make_protocol = make_protocol
        self._openings = openings
        self._show = show
        self._settled = settled
        self._begun: list[Waiting] = []  # those that were begun since the last call of `settle_soon`
        self.pending: set[Accepted] = set()  # those that have no protocol yet

    def begin(self, connection: Accepted) -> None:
        """Begin to adopt a connection; to be followed by `settle_soon`.

        One that waits for its PROXY header is not pending meanwhile, but a connection of its own kind.
        """
        if self._openings is None or not self._openings.await_header(connection, self._admit):
            self._adopt(connection, None)

    def settle_soon(self) -> None:
        """Have the adoptions that were begun go on in the next turn of the loop."""
        if self._begun:
            begun, self._begun = self._begun, []
            self._loop.call_soon(self._settle, begun)
            self._show(len(self.pending))

    def _admit(self, connection: Accepted, origin: Origin) -> None:
        """Adopt a connection whose PROXY header was read."""
        self._adopt(connection, origin)
        self.settle_soon()

    def _adopt(self, connection: Accepted, origin: Origin | None) -> None:
        self.pending.add(connection)
        make = self._maker(connection, origin)
        # The type checker asks for a socket; uvloop asks for no more than an AcceptedDescriptor has.
        adoption = self._loop.connect_accepted_socket(make, connection)  # type: ignore[arg-type]
        self._advance(adoption, connection, self._begun)

    def _maker(self, connection: Accepted, origin: Origin | None) -> Callable[[], asyncio.Protocol]:
        """Return what makes the protocol of this connection."""
        parcel: Parcel | None = None
        if isinstance(connection, HandedSocket):
            parcel, connection.parcel = connection.parcel, None
        elif origin is None:
            return functools.partial(self._make_protocol, connection.endpoint)
        return functools.partial(self._make_protocol, connection.endpoint, parcel, origin)

    def _advance(self, adoption: Adoption, connection: Accepted, waiting: list[Waiting]) -> None:
        """Let an adoption go on until it ends, or waits and joins those in `waiting`.

        A task would take twice as long, since it has a context and a turn of the loop of its own.
        """
        try:
            waiting.append((adoption, connection, adoption.send(None)))
            if type(connection) is AcceptedDescriptor:
                connection.is_ours = False  # uvloop has it from this step on, also if the adoption fails later
        except StopIteration:
            self.pending.discard(connection)
        except (Exception, asyncio.CancelledError) as error:
            self.pending.discard(connection)
            connection.close()
            logger.error("an accepted connection was lost", exc_info=error)

    def _settle(self, begun: list[Waiting]) -> None:
        """Go on with adoptions: each waits for its first turn of the loop, which is over now; with TLS for more."""
        waiting: list[Waiting] = []
        for adoption, connection, waiter in begun:
            if waiter is None or waiter.done():
                self._advance(adoption, connection, waiting)
            else:
                waiting.append((adoption, connection, waiter))
        for one in waiting:
            if one[2] is None:
                self._loop.call_soon(self._settle, [one])
            else:
                one[2].add_done_callback(functools.partial(self._awaited, one))
        self._show(len(self.pending))
        self._settled()

    def _awaited(self, one: Waiting, waiter: object) -> None:
        self._settle([one])
