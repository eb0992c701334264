"""What it costs to pass a connection on to another worker: the CPU time of both workers, in one process.

A connection is accepted and kept, or accepted, passed on and taken out of the other worker's inbox: by the code that
workers run, on real sockets, without an event loop. What follows, the transport and the protocol, is the same for both.
"""

import socket
import time
from collections.abc import Callable

from corehttp.ipc import handover
from corehttp.ipc.handover import InboxQueue
from corehttp.ipc.scoreboard import RowState, Scoreboard
from corehttp.protocols.clock import Clock
from corehttp.protocols.context import WorkerContext
from corehttp.protocols.limits import Limits
from corehttp.sockets.accept_queue import AcceptQueue
from corehttp.worker import wiring
from corehttp.worker.siblings import Siblings
from corehttp.worker.spreading import Spreading
from corehttp.worker.timers import make_timer

_BATCH = 100  # connections: no more than a worker passes on at once


class PassingOn:
    """A worker with so many siblings, which have no connections. To be made, used and closed in an event loop."""

    def __init__(self, loop: object, siblings: int) -> None:
        limits = Limits(keep_alive=60.0)
        self._context = WorkerContext(_unused, loop, Clock(), wiring.parser_factory("auto"), limits=limits)  # type: ignore[arg-type]
        self._board = Scoreboard.create()
        self._boxes = [handover.pair() for _ in range(siblings + 1)]
        rows = [self._board.row(self._board.claim(slot)) for slot in range(siblings + 1)]
        self._siblings = Siblings(self._board, 0, 0, self._boxes[0][0])
        self._siblings.meet(range(siblings + 1), [writer.detach() for _, writer in self._boxes])
        self._inboxes = [InboxQueue(reader) for reader, _ in self._boxes[1:]]
        for row in rows:
            row.state, row.beat = RowState.SERVING, time.monotonic() + 3600
        listener = socket.create_server(("127.0.0.1", 0), backlog=_BATCH)
        self._address = listener.getsockname()
        self._queue = AcceptQueue(listener)

    def seconds(self) -> tuple[float, float]:
        """Return the CPU time (seconds) to accept and keep a connection, and to accept one for another worker."""
        spreading = Spreading(self._siblings, self._context, 7200.0, lambda act: make_timer(self._context.loop, act))
        spreading.close()
        return self._timed(self._keep_all), self._timed(lambda: self._pass_on_all(spreading))

    def close(self) -> None:
        """Close all sockets."""
        self._queue.close()
        for inbox in self._inboxes:
            inbox.close()
        self._siblings.close()
        self._board.close()

    def _keep_all(self) -> None:
        """Accept the connections of a batch."""
        while self._queue.waits():
            self._queue.take().close()

    def _pass_on_all(self, spreading: Spreading) -> None:
        """Accept the connections of a batch, pass them on, and take them out of the inboxes."""
        while self._queue.waits():
            if not spreading.divert(self._queue.take(), 1000):
                raise RuntimeError("a connection was not passed on")
        for inbox in self._inboxes:
            take = inbox.taking()
            while inbox.waits():
                take().close()

    def _timed(self, act: Callable[[], None]) -> float:
        """Return the CPU time of `act` for one of a batch of connections that wait to be accepted."""
        clients = [socket.create_connection(self._address) for _ in range(_BATCH)]
        before = time.process_time()
        act()
        used = time.process_time() - before
        for client in clients:
            client.close()
        return used / _BATCH


async def _unused(scope: object, receive: object, send: object) -> None:
    raise AssertionError("no request is read")
