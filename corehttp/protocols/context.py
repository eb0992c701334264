"""What all connections of a worker share."""

import asyncio
import contextvars
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from corehttp.asgi import ASGIApp, Scope, State, Unchecked
from corehttp.protocols.admission import Admission
from corehttp.protocols.application_tasks import task_starter
from corehttp.protocols.clock import Clock
from corehttp.protocols.contracts import RequestParser, RequestSink
from corehttp.protocols.exchange import Exchange
from corehttp.protocols.fairness import Turns
from corehttp.protocols.limits import NEVER, Limits
from corehttp.protocols.peer import Fields, Peer, Trust
from corehttp.protocols.websocket.handshake import Handshake
from corehttp.protocols.websocket.session import Request

if TYPE_CHECKING:
    from corehttp.protocols.websocket.connection import WebSocketConnection

logger = logging.getLogger("corehttp.error")

# client address, method, target, HTTP version, status, bytes of body, milliseconds: as a log line shows them
AccessRecord = tuple[str, str, str, str, int, int, float]


# Gives a connection to another worker: its descriptor, and until when it may be idle (seconds, monotonic); answers
# whether it was taken.
HandOver = Callable[[int, float], bool]

DISTRUST_SILENCE = 3600.0  # seconds between warnings about peers that say what only a trusted proxy may

# Method, HTTP version, fields, and the same as a dictionary: see `ws_handshake.examine`.
ExamineHandshake = Callable[[str, str, Fields, dict[bytes, bytes]], Handshake | None]
MakeWebSocket = Callable[[Scope, Handshake, Peer], "WebSocketConnection"]


class AccessSink(Protocol):
    """Where requests that have ended are noted."""

    records: list[AccessRecord]
    armed: bool  # it will look at `records` by itself

    def arm(self) -> None:
        """There are new `records`."""
        ...

    def websocket_closed(
        self, client: str, path: str, code: int, counts: tuple[int, int, int, int], seconds: float
    ) -> None:
        """A WebSocket has ended; `counts` are messages in and out, bytes in and out."""
        ...


class Ledger(Protocol):
    """Where it is noted what this worker is about, for others to see even if it dies."""

    connections: float  # that are open
    taken_over: float  # connections that other workers have passed on
    websockets: float  # that have not ended

    @property
    def begin(self) -> Callable[[float, bytes, bytes], None]:
        """A request begins to run: the time, its method and path."""
        ...

    @property
    def pause(self) -> Callable[[], None]:
        """It runs no more: it has ended, or waits."""
        ...

    def enter(self, now: float, method: bytes, path: bytes) -> int:
        """A request waits; answers its place in the ledger."""
        ...

    def leave(self, place: int) -> None:
        """The request in this place has ended."""
        ...


class Connection(Protocol):
    """What a worker asks of every connection, whatever it speaks."""

    deadline: float  # seconds, by the worker's clock: when to call `expire`

    @property
    def idle(self) -> bool:
        """Whether nothing is being read, answered or waited for."""
        ...

    @property
    def unanswered(self) -> list[Exchange]:
        """The requests that were read and have no whole response yet, in order."""
        ...

    def fileno(self) -> int:
        """The descriptor of its socket; -1: it has none any more."""
        ...

    def expire(self) -> None:
        """The deadline is over: look at what is late, and at what to look at next."""
        ...

    def pass_on(self, hand_over: HandOver) -> bool:
        """Give it to another worker if it is idle; answers whether it is gone."""
        ...

    def close(self) -> None:
        """Close an idle connection."""
        ...

    def suspect(self) -> None:
        """Find out soon whether the client has left, if it has ended its side or reading is paused."""
        ...

    def cut(self) -> None:
        """Cut the connection with whatever is in progress on it."""
        ...


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
        "examine_handshake",
        "extensions",
        "fresh",
        "gathers",
        "hand_over",
        "keep_alive",
        "ledger",
        "left_unanswered",
        "limits",
        "loop",
        "make_parser",
        "make_websocket",
        "on_release",
        "plain_head",
        "request_timeout",
        "root_path",
        "running",
        "scope",
        "start_task",
        "state",
        "trust",
        "turns",
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
        self.turns = Turns(loop)
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
        # What the scopes of all requests share, with every key in its place (ASGI HTTP specification 2.5).
        self.scope: dict[str, Unchecked] = {
            "type": "http",
            "asgi": {},
            "http_version": "1.1",
            "method": "",
            "scheme": "http",
            "path": "",
            "raw_path": b"",
            "query_string": b"",
            "root_path": root_path,
            "headers": [],
            "client": None,
            "server": None,
            "state": {},
            "extensions": {},
        }
        # Those that every request is offered (ASGI specification, Extensions).
        self.extensions: dict[str, dict[str, Unchecked]] = {}
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
        self.websockets: set[WebSocketConnection] = set()
        self.websocket_limit = NEVER
        self.websocket_extensions: dict[str, dict[str, Unchecked]] = {"websocket.http.response": {}}
        # How an opening handshake is recognized, and what takes over its connection; None: WebSockets are off.
        self.examine_handshake: ExamineHandshake | None = None
        self.make_websocket: MakeWebSocket | None = None
        self.on_release: Callable[[], None] | None = None  # called when a connection has left `connections`
        self.running: set[Exchange] = set()

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

    def websocket_begun(self, websocket: "WebSocketConnection") -> None:
        """A request is an opening handshake."""
        self.websockets.add(websocket)
        self._count()

    def websocket_ended(self, websocket: "WebSocketConnection") -> None:
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

    def ended(self, exchange: Exchange) -> None:
        """An exchange that ran for a while has ended."""
        self.running.discard(exchange)
        if self.ledger is not None:
            self.ledger.leave(exchange.place)
        if self.admission is not None and self.admission.waits:
            self.soon(self.admission.release)  # not within the task that ends, as a part of what it does

    def app_failed(self, request: Request, fault: BaseException | str) -> None:
        """Log a fault of the application once, with the request that met it."""
        if isinstance(fault, str):
            logger.error("%s: %s", request.name, fault)
        else:
            logger.error("exception in the application: %s", request.name, exc_info=fault)
