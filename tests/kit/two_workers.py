"""One client whose requests are served by two workers in one process: the connection moves between them as bytes."""

import asyncio
import functools
import socket
from collections.abc import Callable

from corehttp.asgi import ASGIApp, Scope
from corehttp.ipc.parcel import Parcel
from corehttp.protocols.affinity import ClientConnection
from corehttp.protocols.context import WorkerContext
from corehttp.protocols.http1.connection import HTTP1Connection
from corehttp.protocols.limits import Limits
from tests.kit.fakes import LIMITS, TURNS, FakeTransport, MakeParser, make_context


@functools.cache
def any_socket() -> socket.socket:
    """Return a socket that transports can name as theirs; nothing is sent over it."""
    return socket.socket()


Choose = Callable[[Scope], int | None]  # returns which worker is to serve a request, 0 or 1; None: any


def by_query(scope: Scope) -> int | None:
    """Return the number that is the query of a request, if it is 0 or 1."""
    query = scope["query_string"]
    return int(query) if query in (b"0", b"1") else None


class Placed:
    """The affinity of one of the workers."""

    def __init__(self, slot: int, choose: Choose) -> None:
        self.slot = slot
        self._choose = choose
        self.takes = True  # whether the other worker takes what is passed on
        self.asked = 0  # how often it was asked where a request belongs
        self.offered = 0  # how often a connection was offered to the other worker
        self.given: list[Parcel] = []

    def elsewhere(self, scope: Scope, connection: ClientConnection | None = None) -> int | None:
        self.asked += 1
        wanted = self._choose(scope)
        return None if wanted == self.slot else wanted

    def put(self, slot: int, parcel: Parcel) -> bool:
        self.offered += 1
        if self.takes:
            self.given.append(parcel)
        return self.takes


class TwoWorkers:
    """Two workers, of which the first has a new connection of one client."""

    def __init__(self, app: ASGIApp, parser: MakeParser, *, limits: Limits = LIMITS, choose: Choose = by_query) -> None:
        self.affinities = [Placed(0, choose), Placed(1, choose)]
        self.contexts = [make_context(app, parser, limits=limits, trust="*") for _ in self.affinities]
        for context, affinity in zip(self.contexts, self.affinities, strict=True):
            context.affinity = affinity
        self.at = 0  # which worker has the connection
        self.moves = 0
        self.earlier: list[bytes] = []  # what the workers wrote that had the connection before
        self.transport = FakeTransport(sock=any_socket())
        self._open(settled=False)

    @property
    def context(self) -> WorkerContext:
        """The context of the worker that has the connection."""
        return self.contexts[self.at]

    @property
    def received(self) -> bytes:
        return b"".join((*self.earlier, *self.transport.writes))

    @property
    def closed(self) -> bool:
        return self.transport.is_closing() or "write_eof" in self.transport.calls

    async def send(self, *pieces: bytes) -> None:
        """Send the pieces, each one in its own turn of the event loop."""
        for piece in pieces:
            self.transport.deliver(piece)
            await self.wait()

    async def wait(self) -> None:
        """Run the event loop until nothing is written and nothing moves any more."""
        before: object = None
        while before != (before := (len(self.received), self.moves)):
            for _ in range(TURNS):
                self._move()
                self.transport.deliver_held()
                await asyncio.sleep(0)

    async def lose(self) -> None:
        """Let the connection be lost."""
        self.transport.lose()
        await self.wait()

    def _open(self, *, settled: bool) -> None:
        self.connection = HTTP1Connection(self.context, settled=settled)
        self.transport.set_protocol(self.connection)
        self.connection.connection_made(self.transport)

    def _move(self) -> None:
        """Carry out what the worker has asked for that has the connection."""
        given = self.affinities[self.at].given
        if not given:
            return
        parcel = given.pop()
        assert "abort" in self.transport.calls, "the worker keeps what it has given away"
        left, self.transport = self.transport, FakeTransport(sock=any_socket())
        self.transport.unread = left.unread
        left.lose()
        assert not self.context.connections
        self.earlier += left.writes
        self.at, self.moves = 1 - self.at, self.moves + 1
        self._open(settled=bool(parcel.held))
        self.connection.data_received(parcel.held)
