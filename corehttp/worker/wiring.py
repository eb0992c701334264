"""A configuration becomes what the parts of a worker take: the one module of this package that knows the options."""

import asyncio
import functools
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass

from corehttp.app import load
from corehttp.asgi import ASGIApp
from corehttp.config import Config
from corehttp.errors import StartupError
from corehttp.ipc.parcel import Parcel
from corehttp.logs import set_up
from corehttp.protocols.admission import Admission
from corehttp.protocols.clock import Clock
from corehttp.protocols.context import WorkerContext
from corehttp.protocols.contracts import RequestParser, RequestSink
from corehttp.protocols.http1.connection import HTTP1Connection
from corehttp.protocols.limits import NEVER, Limits
from corehttp.protocols.observers import AccessSink, Ledger
from corehttp.protocols.peer import Trust
from corehttp.protocols.websocket.upgrade import recognizer
from corehttp.protocols.websocket.writer import Settings
from corehttp.shortage import shortage
from corehttp.worker.access_log import AccessLog
from corehttp.worker.held_bytes import HeldBytes
from corehttp.worker.retirement import Retirement
from corehttp.worker.timers import make_timer

logger = logging.getLogger("corehttp.error")

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


@dataclass(frozen=True, slots=True)
class ShutdownTimes:
    """How long each step of a worker's end may take; all in seconds."""

    delay: float  # to serve on before it stops accepting
    graceful: float  # for what is in flight
    idle_grace: float  # that an idle connection is kept, for a request on its way
    stream_grace: float  # after which responses that never end by themselves are told to end
    reconnect_grace: float  # over which WebSockets are closed
    lifespan: float  # for the application's shutdown
    exit: float  # for the application's exit handlers and threads

    @property
    def whole(self) -> float:
        """How long the worker's end may take as a whole, from the order to leave to the end of its process."""
        return self.delay + self.graceful + self.lifespan + self.exit


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What the options say of a worker's life."""

    backlog: int  # connections that may wait to be accepted
    limit_connections: int  # open at once; 0: any number
    adopts_socket: bool  # whether its listening socket was made by another program, which may listen on it too
    lifespan: str  # "auto", "on" or "off"
    blocked_warn: float  # seconds that the event loop may be blocked before that is logged; 0: never
    retires: bool  # whether the worker is to be replaced some time
    watches_memory: bool  # whether that depends on the memory it holds
    preload_strict: bool  # whether a template refuses to start where a fork would break what it has loaded
    shutdown: ShutdownTimes


def worker_settings(config: Config) -> WorkerSettings:
    """What the options say of a worker's life."""
    return WorkerSettings(
        backlog=config.backlog,
        limit_connections=config.limit_connections,
        adopts_socket=config.fd is not None,
        lifespan=config.lifespan,
        blocked_warn=config.blocked_warn,
        retires=bool(config.limit_max_requests or config.worker_max_age or config.worker_max_rss),
        watches_memory=config.worker_max_rss > 0,
        preload_strict=config.preload_strict,
        shutdown=ShutdownTimes(
            delay=config.shutdown_delay,
            graceful=config.timeout_graceful_shutdown,
            idle_grace=config.shutdown_idle_grace,
            stream_grace=config.shutdown_stream_grace,
            reconnect_grace=config.shutdown_ws_grace,
            lifespan=config.timeout_lifespan_shutdown,
            exit=config.timeout_exit,
        ),
    )


def start_log(config: Config, who: str) -> None:
    """Log as the options say; `who` names this process in each line."""
    set_up(config.log_level, config.log_format, who)


def import_early(config: Config) -> LoopFactory:
    """Import what the server is made of, while no module of the application can be in its way.

    Answers what makes the event loop. Raises StartupError if a package that the options name is not installed.
    """
    make_loop = loop_factory(config.loop)
    parser_factory(config.http)
    return make_loop


def load_application(config: Config) -> ASGIApp:
    """Import the application; raises StartupError."""
    return load(config.app, factory=config.factory, app_dir=config.app_dir)


def access_log(config: Config, loop: asyncio.AbstractEventLoop, who: str) -> AccessLog | None:
    """The access log of a worker named `who`, or None if the options want none."""
    if not config.access_log:
        return None
    return AccessLog(config.log_format, who, functools.partial(make_timer, loop))


def make_context(
    config: Config,
    app: ASGIApp,
    loop: asyncio.AbstractEventLoop,
    access: AccessSink | None,
    ledger: Ledger | None,
    shutdown: asyncio.Event,
) -> WorkerContext:
    """What all connections of a worker share; `shutdown` is the event that tells applications that the worker leaves.

    Raises StartupError if the package of the parser is not installed.
    """
    server = b"corehttp" if config.server_header else b""
    context = WorkerContext(
        app,
        loop,
        Clock(date=config.date_header, server=server, fields=config.header),
        parser_factory(config.http),
        limits=limits(config),
        root_path=config.root_path,
        trust=Trust(config.forwarded_allow_ips, config.forwarded_fields) if config.proxy_headers else None,
        access=access,
        cancel_on_disconnect=config.cancel_on_disconnect,
        ledger=ledger,
    )
    context.admission = admission(config, context)
    if config.ws == "on":
        context.recognize_upgrade = recognizer(context, websocket_settings(config), config.ws_compression)
        context.websocket_limit = config.limit_websockets or NEVER
    if config.pathsend:
        context.extensions.update({"http.response.pathsend": {}, "http.response.zerocopysend": {}})
    if config.early_hints:
        context.early_hints = True
        context.extensions["http.response.early_hint"] = {}
    context.extensions["corehttp.shutdown"] = {"event": shutdown}
    context.websocket_extensions["corehttp.shutdown"] = {"event": shutdown}
    return context


def admission(config: Config, context: WorkerContext) -> Admission | None:
    """What decides which requests of a worker may run at once; None if the options set no limit."""
    if not config.limit_concurrency:
        return None
    return Admission(
        context.running,
        context.loop,
        limit=config.limit_concurrency,
        queue=config.limit_queue,
        queue_timeout=config.limit_queue_timeout,
        exempt=config.limit_exempt,
    )


def connect(context: WorkerContext, parcel: Parcel | None = None) -> asyncio.Protocol:
    """The protocol of a new connection, or of one that another worker has handed over in a parcel."""
    if parcel is None:
        return HTTP1Connection(context)
    if context.ledger is not None:
        context.ledger.taken_over += 1
        logger.debug("a connection was taken over")
    connection = HTTP1Connection(context, parcel.keep_until)
    return HeldBytes(connection, parcel.held) if parcel.held else connection


def retirement(config: Config) -> Retirement:
    """What decides when a worker should be replaced."""
    return Retirement(
        max_requests=config.limit_max_requests,
        max_requests_jitter=config.limit_max_requests_jitter,
        max_age=config.worker_max_age,
        max_age_jitter=config.worker_max_age_jitter,
        max_rss=config.worker_max_rss,
        chance=random.Random(),
    )


def limits(config: Config) -> Limits:
    """The sizes and times of what clients send; an option of 0 means that there is no limit."""
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
    """The sizes and times of WebSockets; an option of 0 means that there are no pings, or no limit."""
    return Settings(
        max_size=config.ws_max_size,
        compress_from=config.ws_compression_min_size,
        max_queue=config.ws_max_queue,
        write_high_water=config.ws_write_high_water,
        ping_interval=config.ws_ping_interval or NEVER,
        ping_timeout=config.ws_ping_timeout or NEVER,
    )


def parser_factory(name: str) -> Callable[[RequestSink, Limits], RequestParser]:
    """What makes the parser that the option `http` names, of which no other is imported.

    Raises StartupError if its package is not installed.
    """
    if name != "h11":
        try:
            from corehttp.protocols.http1.parser_httptools import HttptoolsParser

            return HttptoolsParser
        except ImportError as error:
            if name == "httptools":
                raise StartupError("http httptools: the package httptools is not installed") from error
    from corehttp.protocols.http1.parser_h11 import H11Parser

    return H11Parser


def loop_factory(name: str) -> LoopFactory:
    """What makes the event loop that the option `loop` names.

    Raises StartupError if its package is not installed; what it answers raises that where descriptors have run out.
    """
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
