"""The end of a worker's work: connections are passed on or closed, streams told, requests finished, the rest cut."""

import asyncio
import logging
import math
import time
from collections.abc import Callable
from functools import partial

from corehttp.protocols.context import WorkerContext
from corehttp.protocols.contracts import Application, Connection, Request, WebSocket
from corehttp.protocols.websocket.session import Stage
from corehttp.worker.acceptor import Acceptor
from corehttp.worker.periodic import Faults

logger = logging.getLogger("corehttp.error")

NOBODY = 2.0  # seconds after which an idle connection is closed that no other worker takes
POLL = 0.02  # seconds between two looks at what is still in flight
LOOK = 0.25  # seconds between two looks for clients that have left unnoticed
LAST = 1.0  # seconds that an application may go on of which nobody awaits the end, before it is cancelled
CANCEL_GRACE = 0.5  # seconds that cancelled requests get to clean up


class Drain:
    """The end of the work in one worker, which accepts no more, or is about to.

    While `context.hand_over` is set, connections are passed on as soon as they are idle; else they are closed.
    `idle_grace`: seconds that an idle connection is watched before it is closed, for a request that its client may
    just send; then the response ends the connection. `stream_grace`: seconds after which responses without an end are
    told that it has come. `websocket_grace`: seconds over which WebSockets are closed, so that not all clients come
    back at once.
    """

    def __init__(
        self,
        context: WorkerContext,
        acceptor: Acceptor,
        *,
        idle_grace: float,
        stream_grace: float,
        websocket_grace: float,
    ) -> None:
        self._context = context
        self._acceptor = acceptor
        self._idle_grace = idle_grace
        self._tell_at = time.monotonic() + stream_grace
        self._websockets_until = time.monotonic() + websocket_grace
        self._idle_since: dict[Connection, float] = {}
        self._unawaited: dict[Application, float] = {}  # since when
        self._cancelled: set[Application] = set()
        self._look_at = 0.0
        self._faults = Faults("the end of a connection")

    async def finish(self, deadline: float) -> bool:
        """Wait until nothing is in flight; False if the deadline (seconds, monotonic) comes first."""
        context = self._context
        while self._waits_for_applications(time.monotonic()) or context.connections or not self._acceptor.done:
            now = time.monotonic()
            if now >= deadline:
                return False
            if now >= self._look_at:
                self._look_at = now + LOOK
                for connection in tuple(context.connections):
                    self._attempt(connection.suspect, connection.cut)
            self._end_idle(now)
            self._end_websockets(now)
            if now >= self._tell_at:
                for exchange in tuple(context.running):
                    self._attempt(exchange.tell, exchange.cancel)
            await asyncio.sleep(POLL)
        return True

    async def cut(self) -> int:
        """End what is still in flight, and log each request that is cut; answers how many requests and WebSockets."""
        self._acceptor.close()
        context = self._context
        now = time.monotonic()
        requests = self._cut_requests(now)
        sessions = self._cut_websockets(now)
        give_up = now + CANCEL_GRACE
        while (context.running or any(not websocket.ended for websocket in sessions)) and time.monotonic() < give_up:
            await asyncio.sleep(POLL)
        for connection in tuple(context.connections):
            self._faults.attempt(connection.cut)
        await asyncio.sleep(0)
        return requests + len(sessions)

    def _cut_requests(self, now: float) -> int:
        """Cancel all requests; answers how many are cut, which a stream without an end is not."""
        context = self._context
        exchanges: set[Request] = set(context.running)
        exchanges.update(exchange for connection in context.connections for exchange in connection.unanswered)
        cut = 0
        for exchange in exchanges:
            self._faults.attempt(exchange.tell)  # so that one without a response is answered for with 503
            if not exchange.unawaited:
                cut += 1
                age = max(0.0, now - exchange.started_at)
                logger.warning("cut at the end of the graceful time: %s after %.1f s", exchange.name, age)
            self._faults.attempt(exchange.cancel)
        return cut

    def _attempt(self, act: Callable[[], object], otherwise: Callable[[], object]) -> None:
        """Do something with one of many; what fails must not keep the others, or the stop, from coming to an end."""
        if not self._faults.attempt(act):
            self._faults.attempt(otherwise)

    def _cut_websockets(self, now: float) -> list[WebSocket]:
        """Close and cancel the WebSockets of which the end is awaited; answers which."""
        sessions = [websocket for websocket in self._context.websockets if not (websocket.ended or websocket.unawaited)]
        for websocket in sessions:
            age = max(0.0, now - websocket.opened_at)
            logger.warning("cut at the end of the graceful time: %s after %.1f s", websocket.name, age)
            self._faults.attempt(websocket.leave)
            self._faults.attempt(websocket.cancel)
        return list(sessions)

    def _waits_for_applications(self, now: float) -> bool:
        """Whether an application goes on that has to be waited for; one of which nobody awaits the end is cancelled.

        It has a moment before that, for it was told that its client has left and may have something to put in order.
        """
        waits = False
        applications: list[Application] = [*self._context.running, *self._context.websockets]
        for one in applications:
            if not one.unawaited:
                waits = True
                continue
            since = self._unawaited.setdefault(one, now)
            if now - since >= LAST and one not in self._cancelled:
                self._cancelled.add(one)
                self._faults.attempt(one.cancel)
            waits = waits or now - since < LAST + CANCEL_GRACE
        return waits

    def _end_websockets(self, now: float) -> None:
        """Begin to close as many WebSockets as are due by now."""
        live = [websocket for websocket in self._context.websockets if websocket.stage is Stage.OPEN]
        left = self._websockets_until - now
        for websocket in live if left <= POLL else live[: math.ceil(len(live) * POLL / left)]:
            self._attempt(websocket.leave, websocket.cut)

    def _end_idle(self, now: float) -> None:
        """Pass on the connections that are idle, or close those that have been so for a moment."""
        for connection in tuple(self._context.connections):
            if connection.idle:
                self._attempt(partial(self._end_one, connection, now), connection.cut)
            else:
                self._idle_since.pop(connection, None)

    def _end_one(self, connection: Connection, now: float) -> None:
        context = self._context
        since = self._idle_since.setdefault(connection, now)
        if context.hand_over is not None and connection.pass_on(context.hand_over):
            del self._idle_since[connection]
        elif now - since >= (self._idle_grace if context.hand_over is None else NOBODY):
            connection.close()
