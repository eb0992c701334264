"""One worker's life: lifespan, listen, serve, leave; in a process, a thread or a program, as others see fit."""

import asyncio
import functools
import logging
import random
import socket
import time
from collections.abc import Callable, Iterator

from corehttp.app import failed_start
from corehttp.asgi import ASGIApp
from corehttp.config import Config
from corehttp.errors import ExitCode, StartupError
from corehttp.forks import poller, protect
from corehttp.ipc.messages import LeaveReason
from corehttp.protocols.admission import Admission
from corehttp.protocols.clock import Clock
from corehttp.protocols.context import WorkerContext
from corehttp.protocols.contracts import RequestParser, RequestSink
from corehttp.protocols.http1.connection import HTTP1Connection
from corehttp.protocols.limits import NEVER, Limits
from corehttp.protocols.peer import Trust
from corehttp.protocols.websocket.upgrade import recognizer
from corehttp.protocols.websocket.writer import Settings
from corehttp.shortage import shortage
from corehttp.sockets import listening, steering
from corehttp.text import shown
from corehttp.worker.acceptor import Acceptor
from corehttp.worker.access_log import AccessLog
from corehttp.worker.deadline_sweep import Sweep
from corehttp.worker.departure import WorkerDeparture
from corehttp.worker.drain import Drain, SystemClock
from corehttp.worker.lifespan import Lifespan
from corehttp.worker.retirement import Retirement, rss
from corehttp.worker.siblings import Siblings
from corehttp.worker.ticker import Ticker
from corehttp.worker.timers import make_alarm

logger = logging.getLogger("corehttp.error")

# Seconds between the last new handshake and the end of a listening socket at a stop. A client whose SYN was answered
# takes itself for connected once it has the answer, and its request is reset if the socket is gone when it arrives.
HANDSHAKES = 0.3


class Worker:
    """Serves one application on some sockets in the running event loop.

    `start`, or `prepare` and `accept`, then `stop` once; all in the same loop. The sockets are the worker's own: it
    closes them. `siblings` are the other workers of a supervisor, to whom connections can be passed.
    """

    def __init__(
        self,
        app: ASGIApp,
        config: Config,
        sockets: list[socket.socket],
        who: str = "worker 1",
        siblings: Siblings | None = None,
        on_retire: Callable[[str], object] | None = None,
    ) -> None:
        self._app = app
        self._config = config
        self._sockets = sockets
        self._who = who
        self._siblings = siblings
        self._on_retire = on_retire  # called with the cause when the worker should be replaced
        self._access: AccessLog | None = None
        self.answered = self.cut = 0  # requests, while it stopped
        self._prepared = False  # whether the application's start-up has succeeded

    async def start(self) -> None:
        """Run the application's start-up, then listen and accept connections; raises StartupError."""
        await self.prepare()
        try:
            for sock in self._sockets:
                listening.listen(sock, self._config.backlog)
        except BaseException:
            await self._lifespan.shutdown()
            self._close()
            raise
        self.accept()

    async def prepare(self) -> None:
        """Run the application's start-up; raises StartupError."""
        config = self._config
        loop = asyncio.get_running_loop()
        self._context = context = self._make_context(loop)
        self._ticker = Ticker(context.clock)
        siblings = self._siblings
        self._acceptor = acceptor = Acceptor(
            loop,
            self._sockets,
            functools.partial(_connect, context),
            context.connections,
            config.limit_connections,
            None if siblings is None else siblings.inbox,
        )
        context.on_release = acceptor.released
        self._unprotect = protect(self.descriptors)
        self._lifespan = Lifespan(self._app, config.lifespan, context.state)
        try:
            await self._lifespan.startup()
        except BaseException:
            await self._lifespan.shutdown()
            self._close()
            raise
        self._prepared = True

    def failed_start(self, error: BaseException) -> StartupError:
        """The failed start to raise where SystemExit has ended the event loop; raises it again afterwards."""
        if self._prepared:
            logger.error("the application has ended its worker: %s", shown(error), exc_info=error)
            raise error
        return failed_start("the application ended its start-up", error)

    def accept(self) -> None:
        """Accept connections: the sockets listen."""
        clock = self._context.clock
        loop = asyncio.get_running_loop()
        self._ticker.each_tick("the search for late connections", Sweep(loop, clock, self._context.connections))
        siblings = self._siblings
        if siblings is not None:
            siblings.serving()
            self._ticker.each_tick("the count of requests", lambda now: siblings.note(self._context.begun))
            self._ticker.each_tick("the balance of idle connections", self._even_out)
        if self._on_retire is not None:
            self._born = time.monotonic()
            self._retirement = retirement(self._config)
            self._ticker.each_tick("the check of this worker's age and memory", self._look_at_age)
        self._ticker.start(functools.partial(make_alarm, loop))
        self._acceptor.start()

    async def stop(
        self,
        why: LeaveReason = LeaveReason.STOP,
        on_closed: Callable[[], object] | None = None,
        on_drained: Callable[[], object] | None = None,
    ) -> ExitCode:
        """Drain within the graceful time, then run the application's shutdown.

        Calls `on_closed` when no connection is accepted any more and `on_drained` when none is left. Answers CLEAN,
        or DRAIN if requests had to be cut; `answered` and `cut` say how many.
        """
        config = self._config
        before = self._context.answered
        self._shutdown.set()
        if why in (LeaveReason.STOP, LeaveReason.ORPHANED) and config.shutdown_delay:
            self._context.draining = True
            await asyncio.sleep(config.shutdown_delay)
        deadline = time.monotonic() + config.timeout_graceful_shutdown
        self._stop_accepting(why, on_closed)
        now = time.monotonic()
        departure = WorkerDeparture(
            now,
            hand_over=self._context.hand_over,
            idle_grace=config.shutdown_idle_grace,
            reconnect_grace=config.shutdown_ws_grace,
        )
        tell_at = now + config.shutdown_stream_grace
        drain = Drain(self._context, self._acceptor, departure, tell_at=tell_at, clock=SystemClock())
        finished = await drain.finish(deadline)
        self.answered = self._context.answered - before
        if not finished:
            self.cut = await drain.cut()
        if self._siblings is not None:
            self._siblings.account(self.answered, self.cut)
        code = ExitCode.DRAIN if self.cut else ExitCode.CLEAN
        if on_drained is not None:
            on_drained()
        try:
            await asyncio.wait_for(self._lifespan.shutdown(), config.timeout_lifespan_shutdown)
        except TimeoutError:
            logger.error("the application's shutdown took longer than %g s", config.timeout_lifespan_shutdown)
        self._close()
        return code

    def descriptors(self) -> Iterator[int]:
        """All that this process has open for its clients and for other workers."""
        yield poller(self._context.loop)
        yield from self._acceptor.descriptors()
        for connection in self._context.connections:
            yield connection.fileno()
        if self._siblings is not None:
            yield from self._siblings.descriptors()

    def abandon(self) -> None:
        """Let go of everything at once, also of requests in flight, where a stop is to last no longer."""
        for connection in tuple(self._context.connections):
            connection.cut()
        self._close()

    def _make_context(self, loop: asyncio.AbstractEventLoop) -> WorkerContext:
        config = self._config
        clock = Clock(
            date=config.date_header, server=b"corehttp" if config.server_header else b"", fields=config.header
        )
        if config.access_log:
            self._access = AccessLog(config.log_format, self._who, functools.partial(make_alarm, loop))
        context = WorkerContext(
            self._app,
            loop,
            clock,
            parser_factory(config.http),
            limits=limits(config),
            root_path=config.root_path,
            trust=Trust(config.forwarded_allow_ips, config.forwarded_fields) if config.proxy_headers else None,
            access=self._access,
            cancel_on_disconnect=config.cancel_on_disconnect,
            ledger=None if self._siblings is None else self._siblings.row,
        )
        if config.limit_concurrency:
            context.admission = Admission(
                context.running,
                loop,
                limit=config.limit_concurrency,
                queue=config.limit_queue,
                queue_timeout=config.limit_queue_timeout,
                exempt=config.limit_exempt,
            )
        if config.ws == "on":
            context.recognize_upgrade = recognizer(context, websocket_settings(config), config.ws_compression)
            context.websocket_limit = config.limit_websockets or NEVER
        if config.pathsend:
            context.extensions.update({"http.response.pathsend": {}, "http.response.zerocopysend": {}})
        if config.early_hints:
            context.early_hints = True
            context.extensions["http.response.early_hint"] = {}
        self._shutdown = asyncio.Event()
        context.extensions["corehttp.shutdown"] = {"event": self._shutdown}
        context.websocket_extensions["corehttp.shutdown"] = {"event": self._shutdown}
        return context

    def _stop_accepting(self, why: LeaveReason, then: Callable[[], object] | None) -> None:
        """Accept no more. Nobody who waits is reset: they are taken in, or left to a worker that accepts there too."""
        context = self._context
        siblings = self._siblings
        if siblings is not None:
            siblings.leaving()
        match why:
            case LeaveReason.STOP:
                context.draining = True
                if self._config.fd is not None:
                    self._acceptor.close(then)
                else:
                    for sock in self._sockets:
                        steering.refuse_new(sock)
                    if any(listening.is_remote(sock) for sock in self._sockets):
                        context.loop.call_later(HANDSHAKES, self._acceptor.finish, then)
                    else:
                        self._acceptor.finish(then)
            case LeaveReason.ORPHANED:
                # No filter: it would stay on the sockets for whoever else has them.
                context.draining = True
                self._acceptor.finish(then)
            case LeaveReason.REPLACED:
                context.hand_over = None if siblings is None else siblings.hand_over_or_leave
                context.draining = context.hand_over is None
                self._acceptor.close(then)
            case LeaveReason.SLOT_CLOSES:
                context.hand_over = None if siblings is None else siblings.hand_over
                context.draining = context.hand_over is None
                if siblings is None or siblings.share_sockets:
                    self._acceptor.close(then)
                else:
                    self._acceptor.finish(then)

    def _even_out(self, now: float) -> None:
        """Pass on some idle connections if others have clearly fewer: those that have come up since, say."""
        siblings = self._siblings
        context = self._context
        if siblings is None or context.draining or context.hand_over is not None:
            return
        surplus = siblings.excess()
        for connection in tuple(context.connections) if surplus > 0 else ():
            surplus -= connection.pass_on(siblings.hand_over)
            if surplus <= 0:
                return

    def _look_at_age(self, now: float) -> None:
        memory = rss() if self._config.worker_max_rss else 0
        cause = self._retirement.cause(self._context.begun, time.monotonic() - self._born, memory)
        if cause is not None and self._on_retire is not None:
            self._on_retire(cause)
            self._on_retire = None

    def _close(self) -> None:
        self._unprotect()
        self._acceptor.close()
        self._context.on_release = None
        self._context.hand_over = None
        self._ticker.stop()
        if self._access is not None:
            self._access.close()


def _connect(context: WorkerContext, keep_until: float | None = None) -> HTTP1Connection:
    """The protocol of a new connection, or of one that another worker has passed on."""
    if keep_until is not None and context.ledger is not None:
        context.ledger.taken_over += 1
        logger.debug("a connection was taken over")
    return HTTP1Connection(context, keep_until)


def retirement(config: Config) -> Retirement:
    """When the options want a worker to be replaced."""
    return Retirement(
        max_requests=config.limit_max_requests,
        max_requests_jitter=config.limit_max_requests_jitter,
        max_age=config.worker_max_age,
        max_age_jitter=config.worker_max_age_jitter,
        max_rss=config.worker_max_rss,
        chance=random.Random(),
    )


def limits(config: Config) -> Limits:
    """What the options say of a client's sizes and times, where 0 means that there is no limit."""
    return Limits(
        request_line=config.limit_request_line,
        request_fields=config.limit_request_fields,
        request_head=config.limit_request_head,
        request_body=config.limit_request_body or NEVER,
        keep_alive=config.timeout_keep_alive,
        request_header=config.timeout_request_header or NEVER,
        request_body_stall=config.timeout_request_body or NEVER,
        write_stall=config.timeout_write_stall or NEVER,
        request=config.timeout_request or NEVER,
    )


def websocket_settings(config: Config) -> Settings:
    """What the options say of WebSockets."""
    return Settings(
        max_size=config.ws_max_size,
        compress_from=config.ws_compression_min_size,
        max_queue=config.ws_max_queue,
        write_high_water=config.ws_write_high_water,
        ping_interval=config.ws_ping_interval or NEVER,
        ping_timeout=config.ws_ping_timeout or NEVER,
    )


def parser_factory(name: str) -> Callable[[RequestSink, Limits], RequestParser]:
    """The parser that the option `http` names; raises StartupError if it is not installed. Imports no other."""
    if name != "h11":
        try:
            from corehttp.protocols.http1.parser_httptools import HttptoolsParser

            return HttptoolsParser
        except ImportError as error:
            if name == "httptools":
                raise StartupError("http httptools: the package httptools is not installed") from error
    from corehttp.protocols.http1.parser_h11 import H11Parser

    return H11Parser


def loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes the event loop that the option `loop` names; raises StartupError if it is not installed, or later."""
    make = asyncio.new_event_loop
    if name != "asyncio":
        try:
            import uvloop

            make = uvloop.new_event_loop
        except ImportError as error:
            if name == "uvloop":
                raise StartupError("loop uvloop: the package uvloop is not installed") from error

    def new_loop() -> asyncio.AbstractEventLoop:
        try:
            return make()
        except OSError as error:
            raise StartupError(f"there can be no event loop: {shortage(error)}") from error

    return new_loop
