"""What all connections of a worker share."""

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
    """One worker's application, loop, settings and live connections. Everything here is read per request."""

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
        # A new copy of the worker's own context variables (PEP 567): those of whoever made this object. Every request
        # begins in one, whoever made room for it; and so does what an application causes that outlives its request.
        self.fresh = contextvars.copy_context().copy
        self.start_task = task_starter(loop)  # to be called in `fresh()`
        self.fairness = Fairness(loop)
        # Whether writelines() of its transports takes several buffers without joining them, and says when they are too
        # many. That of asyncio joins before Python 3.12, then does not say so (gh-127655), nor ends if the last buffer
        # is empty (gh-155888), until some patch release.
        self.gathers = not isinstance(loop, asyncio.BaseEventLoop)
        self.clock = clock
        self.make_parser = make_parser
        self.limits = limits
        # Those of the limits that are looked at per request.
        self.keep_alive = limits.keep_alive
        self.request_timeout = limits.request
        self.plain_head = min(limits.request_line, limits.request_head)  # a head of so many bytes breaks neither
        self.cancel_on_disconnect = cancel_on_disconnect
        self.root_path = root_path
        self.trust = trust  # None: what proxies say in fields is passed on, and nothing is made of it
        self._distrust_silent_until = -NEVER  # seconds, by the clock
        # Those that every request is offered (ASGI specification, Extensions).
        self.extensions: Extensions = {}
        self.early_hints = False  # they are sent
        self.access = access  # None: no access log
        self.admission: Admission | None = None  # None: any number of requests run at once
        self.state: State = {}
        self.begun = 0  # requests
        self.left_unanswered = 0  # those of them that have ended without a whole response
        self.ledger = ledger  # None: nobody looks
        self.draining = False  # every response ends its connection
        self.hand_over: HandOver | None = None  # while the worker leaves and others go on: for connections left idle
        self.connections: set[Connection] = set()
        # Those of them that are WebSockets, each until its application has returned too.
        self.websockets: set[WebSocket] = set()
        self.websocket_limit = NEVER
        self.websocket_extensions: Extensions = {"websocket.http.response": {}}
        self.recognize_upgrade: RecognizeUpgrade | None = None  # None: no request changes the protocol
        self.on_release: Callable[[], None] | None = None  # called when a connection has left `connections`
        self.running: set[Request] = set()

    @property
    def answered(self) -> int:
        """How many requests have had a whole response."""
        current = (exchange for connection in self.connections for exchange in connection.unanswered)
        return self.begun - self.left_unanswered - sum(exchange in self.running for exchange in current)

    def joined(self, connection: Connection) -> None:
        """A connection is open."""
        self.connections.add(connection)
        self._count()

    def left(self, connection: Connection) -> None:
        """It is no more: there may be room for another."""
        self.connections.discard(connection)
        self._count()
        if self.on_release is not None:
            self.on_release()

    def websocket_begun(self, websocket: WebSocket) -> None:
        """A request is an opening handshake."""
        self.websockets.add(websocket)
        self._count()

    def websocket_ended(self, websocket: WebSocket) -> None:
        """The connection is lost, and the application has returned."""
        self.websockets.discard(websocket)
        self._count()

    def _count(self) -> None:
        if self.ledger is not None:
            self.ledger.connections = len(self.connections)
            self.ledger.websockets = len(self.websockets)

    def soon(self, callback: Callable[[], object]) -> None:
        """Call it at the event loop's next turn, in the worker's own context and not in that of a request."""
        self.loop.call_soon(callback, context=self.fresh())

    def resume_reading(self, transport: asyncio.Transport) -> None:
        """Read on in the worker's own context: on asyncio's loop all that comes in is read in that of the caller."""
        self.fresh().run(transport.resume_reading)

    def distrust(self, peer: Peer, names: list[bytes]) -> None:
        """Say that a peer sends fields of these names, as only a trusted proxy may: once an hour, as anybody can."""
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
