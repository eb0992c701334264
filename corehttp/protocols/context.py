"""What all connections of one worker share: settings, the application, and which connections there are."""

import asyncio
import contextvars
import logging
from collections.abc import Callable

from corehttp.asgi import ASGIApp, State
from corehttp.protocols.admission import Admission
from corehttp.protocols.affinity import Affinity
from corehttp.protocols.application_tasks import task_starter
from corehttp.protocols.clock import Clock
from corehttp.protocols.contracts import (
    ApplicationCall,
    Connection,
    HandOver,
    RecognizeUpgrade,
    Request,
    RequestParser,
    WebSocket,
)
from corehttp.protocols.distrust import DistrustLog
from corehttp.protocols.fairness import Fairness
from corehttp.protocols.limits import UNLIMITED, Limits
from corehttp.protocols.observers import AccessSink, Ledger
from corehttp.protocols.peer import Trust
from corehttp.protocols.scope import Extensions
from corehttp.protocols.tally import Tally
from corehttp.protocols.turn_end import TurnEnd
from corehttp.trace_ids import trace_ids_of

logger = logging.getLogger("corehttp.error")

RECALL = 1.0  # seconds for which an idle connection remembers what it has read last, to read the next request faster
# Bytes of heads that the connections of a worker remember at once: 330 as browsers send them, 2,500 of a simple client.
# With what was parsed of them they take about 1.5 MB; each other request is parsed.
KNOWN_ROOM = 1 << 18


class WorkerContext:
    """The application, event loop, settings and live connections of one worker; read for every request."""

    __slots__ = (
        "access",
        "admission",
        "affinity",
        "app",
        "begun",
        "cancel_on_disconnect",
        "clock",
        "connections",
        "cutting",
        "distrust",
        "draining",
        "early_hints",
        "extensions",
        "fairness",
        "fresh",
        "gathers",
        "hand_over",
        "keep_alive",
        "known_room",
        "ledger",
        "left_unanswered",
        "limits",
        "loop",
        "on_release",
        "parser",
        "plain_head",
        "recall",
        "recognize_upgrade",
        "request_timeout",
        "root_path",
        "running",
        "start_task",
        "state",
        "tally",
        "times_requests",
        "trust",
        "turn_end",
        "websocket_extensions",
        "websocket_limit",
        "websockets",
    )

    def __init__(
        self,
        app: ASGIApp,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        make_parser: Callable[[Limits], RequestParser],
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
        self.turn_end = TurnEnd(loop)
        # Whether writelines() of the loop's transports takes several buffers without joining them, and pauses the
        # protocol if they are too many. That of asyncio joins them before Python 3.12; later, until some patch release,
        # it does not pause (gh-127655), and never ends if the last buffer is empty (gh-155888).
        self.gathers = not isinstance(loop, asyncio.BaseEventLoop)
        self.clock = clock
        self.parser = make_parser(limits)
        self.limits = limits
        # Copies of the limits that are read for every request.
        self.keep_alive = limits.keep_alive
        self.recall = min(RECALL, limits.keep_alive)
        self.request_timeout = limits.request
        # A head of at most so many bytes is neither too long nor has too long a request line.
        self.plain_head = min(limits.request_line, limits.request_head)
        self.known_room = KNOWN_ROOM  # bytes of heads that connections may still remember
        self.cancel_on_disconnect = cancel_on_disconnect
        self.root_path = root_path
        self.trust = trust  # whose proxy fields count; None: such fields are passed on unread
        self.distrust = DistrustLog(clock)  # names the peers that send what only a trusted proxy may
        # What every request over HTTP is offered (ASGI specification, Extensions).
        self.extensions: Extensions = {}
        self.early_hints = False  # whether early hints are sent
        self.access = access  # where requests are noted for the access log; None: nowhere
        self.admission: Admission | None = None  # decides which requests run; None: all do
        self.affinity: Affinity | None = None  # says which worker is to serve a request; None: the one that reads it
        self.state: State = {}  # what the application's lifespan has put into its scope
        self.begun = 0  # how many requests have begun to run
        self.left_unanswered = 0  # how many requests have ended without a whole response
        self.tally: Tally | None = None  # counts what connections do; None: nobody can look at it
        self.times_requests = access is not None  # whether somebody wants to know how long each request takes
        self.ledger = ledger  # where other processes see what the worker does; None: nobody looks
        self.draining = False  # whether every response is to end its connection
        self.cutting = False  # whether the worker cuts what is in progress, since its graceful time is over
        # Gives idle connections to other workers; None unless this worker leaves and others go on.
        self.hand_over: HandOver | None = None
        self.connections: set[Connection] = set()  # those that are open
        # WebSockets whose connection is open or whose application has not returned.
        self.websockets: set[WebSocket] = set()
        self.websocket_limit = UNLIMITED  # how many WebSockets there may be
        self.websocket_extensions: Extensions = {"websocket.http.response": {}}
        self.recognize_upgrade: RecognizeUpgrade | None = None  # None: no request changes the protocol
        self.on_release: Callable[[], None] | None = None  # called when a connection was removed
        self.running: set[Request] = set()  # requests whose application has not returned, and has waited

    @property
    def answered(self) -> int:
        """How many requests have had a whole response."""
        current = (exchange for connection in self.connections for exchange in connection.unanswered)
        return self.begun - self.left_unanswered - sum(exchange in self.running for exchange in current)

    def count_in(self, tally: Tally) -> None:
        """Count from now on what connections do."""
        self.tally = tally
        self.times_requests = True

    def connection_begun(self, connection: Connection) -> None:
        """Add a connection that has been opened."""
        self.connections.add(connection)
        if self.ledger is not None:
            self.ledger.connections = len(self.connections)

    def connection_ended(self, connection: Connection) -> None:
        """Remove a connection that was closed or given away; there may be room for another."""
        self.connections.discard(connection)
        if self.ledger is not None:
            self.ledger.connections = len(self.connections)
        if self.on_release is not None:
            self.on_release()

    def websocket_begun(self, websocket: WebSocket) -> None:
        """Add a WebSocket whose opening handshake has come."""
        self.websockets.add(websocket)
        if self.ledger is not None:
            self.ledger.websockets = len(self.websockets)

    def websocket_ended(self, websocket: WebSocket) -> None:
        """Remove a WebSocket whose connection is lost and whose application has returned."""
        self.websockets.discard(websocket)
        if self.ledger is not None:
            self.ledger.websockets = len(self.websockets)

    def soon(self, callback: Callable[[], object]) -> None:
        """Call `callback` in the loop's next turn, with the worker's own context variables, not a request's."""
        self.loop.call_soon(callback, context=self.fresh())

    def resume_reading(self, transport: asyncio.Transport) -> None:
        """Resume reading with the worker's own context variables.

        On asyncio's loop, whatever comes in is read with the context variables of the caller of `resume_reading`.
        """
        self.fresh().run(transport.resume_reading)

    def app_returned(self, request: Request) -> None:
        """Remove a request of `running`, for which the application has returned; another one may run now."""
        self.running.discard(request)
        if self.ledger is not None:
            self.ledger.leave(request.place)
        if self.admission is not None and self.admission.waits:
            self.soon(self.admission.admit_waiting)  # not now: within the task that ends, with its context variables

    def lost(self, reason: str | None) -> None:
        """Note that a request has ended without a whole response, for one of `counters.ABORTS`; None: it is refused."""
        self.left_unanswered += 1
        if reason is not None:
            self.count_abort(reason)

    def count_abort(self, reason: str) -> None:
        """Count a request or handshake that has had no whole response, for one of `counters.ABORTS`."""
        if self.tally is not None:
            self.tally.count_abort("cut" if self.cutting else reason)

    def app_failed(self, request: ApplicationCall, fault: BaseException | str) -> None:
        """Log a fault of the application with the request that met it: an exception, or what it did wrong."""
        if self.tally is not None:
            self.tally.exceptions += 1
        ids = {"request_ids": trace_ids_of(request.scope)}
        if isinstance(fault, str):
            logger.error("%s: %s", request.name, fault, extra=ids)
        else:
            logger.error("exception in the application: %s", request.name, exc_info=fault, extra=ids)
