"""The state that all connections of a worker share."""

import asyncio
import contextvars
import logging
from collections.abc import Callable

from corehttp.asgi import ASGIApp, State
from corehttp.protocols.admission import Admission
from corehttp.protocols.application_tasks import task_starter
from corehttp.protocols.clock import Clock
from corehttp.protocols.contracts import (
    Connection,
    HandOver,
    Named,
    RecognizeUpgrade,
    Request,
    RequestParser,
    RequestSink,
    WebSocket,
)
from corehttp.protocols.fairness import Fairness
from corehttp.protocols.limits import NEVER, Limits
from corehttp.protocols.observers import AccessSink, Ledger
from corehttp.protocols.peer import Peer, Trust
from corehttp.protocols.scope import Extensions

logger = logging.getLogger("corehttp.error")

DISTRUST_SILENCE = 3600.0  # seconds between warnings about peers that say what only a trusted proxy may


class WorkerContext:
    """The application, event loop, settings and live connections of one worker; read for every request."""

    __slots__ = (
        "_distrust_silent_until",
        "access",
        "admission",
        "app",
        "begun",
        "cancel_on_disconnect",
        "clock",
        "connections",
        "draining",
        "early_hints",
        "extensions",
        "fairness",
        "fresh",
        "gathers",
        "hand_over",
        "keep_alive",
        "ledger",
        "left_unanswered",
        "limits",
        "loop",
        "make_parser",
        "on_release",
        "plain_head",
        "recognize_upgrade",
        "request_timeout",
        "root_path",
        "running",
        "start_task",
        "state",
        "trust",
        "websocket_extensions",
        "websocket_limit",
        "websockets",
    )

    def __init__(
        self,
        app: ASGIApp,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        make_parser: Callable[[RequestSink, Limits], RequestParser],
        *,
        limits: Limits,
        root_path: str = "",
        trust: Trust | None = None,
        access: AccessSink | None = None,
        cancel_on_disconnect: bool = False,
        ledger: Ledger | None = None,
    ) -> None:
        self.app = app
        self.loop = loop
        # Makes a new copy of the worker's own context variables (PEP 567): those in which this object was made.
        # Every request runs in a copy of its own, and so does what an application causes that outlives its request.
        self.fresh = contextvars.copy_context().copy
        self.start_task = task_starter(loop)  # starts an application; to be called in a copy of `fresh`
        self.fairness = Fairness(loop)
        # Whether writelines() of the loop's transports takes several buffers without joining them, and pauses the
        # protocol if they are too many. That of asyncio joins them before Python 3.12; later, until some patch release,
        # it does not pause (gh-127655), and never ends if the last buffer is empty (gh-155888).
        self.gathers = not isinstance(loop, asyncio.BaseEventLoop)
        self.clock = clock
        self.make_parser = make_parser
        self.limits = limits
        # Copies of the limits that are read for every request.
        self.keep_alive = limits.keep_alive
        self.request_timeout = limits.request
        self.plain_head = min(limits.request_line, limits.request_head)  # bytes of a head that breaks neither
        self.cancel_on_disconnect = cancel_on_disconnect
        self.root_path = root_path
        self.trust = trust  # None: fields of proxies are passed on unread
        self._distrust_silent_until = -NEVER  # until when `distrust` logs nothing (seconds, by the clock)
        # What every request over HTTP is offered (ASGI specification, Extensions).
        self.extensions: Extensions = {}
        self.early_hints = False  # whether early hints are sent
        self.access = access  # None: no access log
        self.admission: Admission | None = None  # None: any number of requests run at once
        self.state: State = {}
        self.begun = 0  # requests that have begun to run
        self.left_unanswered = 0  # how many of them have ended without a whole response
        self.ledger = ledger  # None: no other process looks
        self.draining = False  # whether every response ends its connection
        self.hand_over: HandOver | None = None  # set while the worker leaves and others go on
        self.connections: set[Connection] = set()
        # The WebSockets among them; each stays until its application has returned, too.
        self.websockets: set[WebSocket] = set()
        self.websocket_limit = NEVER
        self.websocket_extensions: Extensions = {"websocket.http.response": {}}
        self.recognize_upgrade: RecognizeUpgrade | None = None  # None: no request changes the protocol
        self.on_release: Callable[[], None] | None = None  # called when a connection was removed
        self.running: set[Request] = set()

    @property
    def answered(self) -> int:
        """How many requests have had a whole response."""
        current = (exchange for connection in self.connections for exchange in connection.unanswered)
        return self.begun - self.left_unanswered - sum(exchange in self.running for exchange in current)

    def joined(self, connection: Connection) -> None:
        """Add a connection, which is open now."""
        self.connections.add(connection)
        self._count()

    def left(self, connection: Connection) -> None:
        """Remove a connection, which is closed or was given away: there may be room for another."""
        self.connections.discard(connection)
        self._count()
        if self.on_release is not None:
            self.on_release()

    def websocket_begun(self, websocket: WebSocket) -> None:
        """Add a WebSocket, whose opening handshake has come."""
        self.websockets.add(websocket)
        self._count()

    def websocket_ended(self, websocket: WebSocket) -> None:
        """Remove a WebSocket: its connection is lost, and its application has returned."""
        self.websockets.discard(websocket)
        self._count()

    def _count(self) -> None:
        if self.ledger is not None:
            self.ledger.connections = len(self.connections)
            self.ledger.websockets = len(self.websockets)

    def soon(self, callback: Callable[[], object]) -> None:
        """Call `callback` in the loop's next turn, with the worker's own context variables, not a request's."""
        self.loop.call_soon(callback, context=self.fresh())

    def resume_reading(self, transport: asyncio.Transport) -> None:
        """Resume reading with the worker's own context variables.

        On asyncio's loop, whatever comes in is read with the context variables of the caller of `resume_reading`.
        """
        self.fresh().run(transport.resume_reading)

    def distrust(self, peer: Peer, names: list[bytes]) -> None:
        """Log that a peer sends fields with these names, which only a trusted proxy may.

        Only once in DISTRUST_SILENCE seconds, since anybody can send such fields.
        """
        now = self.clock.now
        if now < self._distrust_silent_until:
            return
        if peer.client is not None:
            who, entry = peer.name, peer.client[0].partition("%")[0]
        elif peer.is_local:
            who, entry = "a peer on the unix socket", "unix"
        else:
            return  # it has left before anybody could tell who it is
        self._distrust_silent_until = now + DISTRUST_SILENCE
        logger.warning(
            "%s is no trusted proxy, so what it says in %.100s is removed; if it is yours, add %s to "
            "--forwarded-allow-ips (said once an hour)",
            *(who, b", ".join(sorted(names)).decode("latin-1"), entry),
        )

    def ended(self, request: Request) -> None:
        """Note that the application has returned for a request of `running`."""
        self.running.discard(request)
        if self.ledger is not None:
            self.ledger.leave(request.place)
        if self.admission is not None and self.admission.waits:
            self.soon(self.admission.release)  # not within the task that ends, as a part of what it does

    def app_failed(self, request: Named, fault: BaseException | str) -> None:
        """Log a fault of the application once, with the request that met it."""
        if isinstance(fault, str):
            logger.error("%s: %s", request.name, fault)
        else:
            logger.error("exception in the application: %s", request.name, exc_info=fault)
