"""Turn a configuration into what the parts of a worker take: the one module of this package that knows the options."""

import asyncio
import functools
import logging
import socket
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from corehttp.app import load
from corehttp.asgi import ASGIApp
from corehttp.bind_option import endpoint_versions
from corehttp.chance import chance
from corehttp.errors import StartupError
from corehttp.logs import set_up
from corehttp.protocols.admission import Admission
from corehttp.protocols.clock import Clock
from corehttp.protocols.context import WorkerContext
from corehttp.protocols.contracts import RequestParser
from corehttp.protocols.exchange import Exchange
from corehttp.protocols.limits import UNLIMITED, Limits
from corehttp.protocols.observers import AccessSink, Ledger
from corehttp.protocols.peer import Trust
from corehttp.protocols.websocket.session import WebSocketSession
from corehttp.protocols.websocket.upgrade import recognizer
from corehttp.protocols.websocket.writer import Settings
from corehttp.records import record
from corehttp.sockets.endpoint import numbered
from corehttp.sticky_option import is_tied_by_address
from corehttp.tls.settings import tls_settings
from corehttp.windows import MOST_CONNECTIONS
from corehttp.worker import surroundings
from corehttp.worker.access_log import AccessLog
from corehttp.worker.event_loop import LoopFactory, loop_factory
from corehttp.worker.retirement import Retirement
from corehttp.worker.shutdown_times import ShutdownTimes
from corehttp.worker.sticky_warning import log_hint
from corehttp.worker.timers import make_timer

if TYPE_CHECKING:
    from corehttp.bus.fleet import Fleet
    from corehttp.config import Config
    from corehttp.ipc.scoreboard import Row
    from corehttp.log_rotation import Rotation
    from corehttp.worker.counting import Counting
    from corehttp.worker.proxy_opening import ProxyOpenings
    from corehttp.worker.siblings import Siblings
    from corehttp.worker.spreading import Spreading

logger = logging.getLogger("corehttp.error")

# The code of the methods that run applications, by which a watchdog finds an application in a stack.
RUNS = frozenset({Exchange.run.__code__, WebSocketSession.run.__code__})


@record
class WorkerSettings:
    """What the options say about the life of a worker."""

    backlog: int  # how many connections may wait to be accepted
    limit_connections: int  # how many connections may be open at once; 0 for any number
    lifespan: str  # whether the application takes part in the lifespan: "auto", "on" or "off"
    blocked_warn: float  # seconds that the event loop may be blocked before that is logged; 0 for no such log line
    retires: bool  # whether the worker is to be replaced because of its requests, its age or its memory
    watches_memory: bool  # whether the worker is to be replaced because of its memory
    preload_strict: bool  # whether a template refuses to start where a fork would break what it has loaded
    shutdown: ShutdownTimes
    replaced: ShutdownTimes  # those that count when another worker takes the place of this one


def worker_settings(config: "Config") -> WorkerSettings:
    """Return what the options say about the life of a worker."""
    shutdown = ShutdownTimes(
        delay=config.shutdown_delay,
        graceful=config.timeout_graceful_shutdown,
        idle_grace=config.shutdown_idle_grace,
        stream_grace=config.shutdown_stream_grace,
        reconnect_grace=config.shutdown_ws_grace,
        lifespan=config.timeout_lifespan_shutdown,
        exit=config.timeout_exit,
    )
    return WorkerSettings(
        backlog=config.backlog,
        limit_connections=min(filter(None, (config.limit_connections, MOST_CONNECTIONS)), default=0),
        lifespan=config.lifespan,
        blocked_warn=config.blocked_warn,
        retires=bool(config.limit_max_requests or config.worker_max_age or config.worker_max_rss),
        watches_memory=config.worker_max_rss > 0,
        preload_strict=config.preload_strict,
        shutdown=shutdown,
        replaced=shutdown.hurried(config.graceful_replaced) if config.reload else shutdown.patient(),
    )


def start_log(config: "Config", who: str) -> None:
    """Begin to log as the options say; each line names this process as `who`."""
    set_up(config.log_level, config.log_format, who, config.log_file, config.use_colors)


def import_early(config: "Config") -> LoopFactory:
    """Import the event loop and the parser before a module of the application can take the name of one of theirs.

    Returns what makes the event loop. Raises StartupError if a package that the options name is not installed.
    """
    make_loop = loop_factory(config.loop)
    parser_factory(config.http)
    return make_loop


def import_bus(config: "Config") -> None:
    """Import early what `bus` needs, as `import_early` does; a service without it imports nothing."""
    if config.bus is not None:
        from corehttp.worker import machines  # imported here, since few services need it

        machines.import_redis()


def fleet(config: "Config") -> "Fleet | None":
    """Return the link of this worker to those of other machines, None if the options want none; see `machines.link`."""
    if config.bus is None:
        return None
    from corehttp.worker import machines  # `import_bus` has imported it

    return machines.link(config.bus, config.name or str(config.app))


def load_application(config: "Config") -> ASGIApp:
    """Import and return the application, whose events are logged if the options want that; raises StartupError."""
    app_dir = config.app_dir if isinstance(config.app, str) else None
    surroundings.prepare(config.env_file, config.log_config, config.prometheus_multiproc, app_dir)
    app = load(
        config.app, factory=config.factory, app_dir=config.app_dir, interface=config.interface, threads=config.threads
    )
    if config.log_level != "trace":
        return app
    from corehttp.worker.event_trace import EventTrace  # imported here, since few services need it

    return EventTrace(app)


def access_log(config: "Config", loop: asyncio.AbstractEventLoop, who: str) -> AccessLog | None:
    """Return the access log of a worker that its lines name `who`, or None if the options want none."""
    if not config.access_log:
        return None
    timer, path, form = functools.partial(make_timer, loop), config.access_log_file, config.access_log_format
    return AccessLog(config.log_format, who, timer, path, form, config.use_colors)


def pid_path(config: "Config") -> str | None:
    """Return the path of the file with the process id, which a worker without a supervisor removes at a forced end."""
    return config.pid


def rotation(config: "Config") -> "Rotation | None":
    """Return what rotates the log files of a worker without a supervisor, or None if the options want none rotated."""
    # Imported here, since a worker under a supervisor does without; what serves without one has imported both already.
    from corehttp.log_paths import rotation_rule
    from corehttp.log_rotation import Rotation

    rule = rotation_rule(config)
    return Rotation(rule) if rule.applies else None


def make_context(
    config: "Config",
    app: ASGIApp,
    loop: asyncio.AbstractEventLoop,
    access: AccessSink | None,
    ledger: Ledger | None,
    shutdown: asyncio.Event,
) -> WorkerContext:
    """Make what all connections of a worker share; `shutdown` is set when the worker begins to leave.

    Raises StartupError if the package of the parser is not installed.
    """
    if config.debug_exceptions:
        from corehttp.worker.debug_exceptions import DebugExceptions  # imported here, since few services need it

        app = DebugExceptions(app)
    server = b"corehttp" if config.server_header else b""
    context = WorkerContext(
        app,
        loop,
        Clock(date=config.date_header, server=server, fields=config.header),
        parser_factory(config.http),
        limits=limits(config),
        root_path=config.root_path,
        trust=Trust(config.forwarded_allow_ips, config.forwarded_fields, config.forwarded_hops)
        if config.proxy_headers
        else None,
        access=access,
        cancel_on_disconnect=config.cancel_on_disconnect,
        ledger=ledger,
    )
    context.admission = admission(config, context)
    if config.ws == "on":
        context.recognize_upgrade = recognizer(context, websocket_settings(config), config.ws_compression)
        context.websocket_limit = config.limit_websockets or UNLIMITED
    _offer_extensions(config, context, shutdown)
    return context


def counting(config: "Config", context: WorkerContext, row: "Row") -> "Counting | None":
    """Return what shows in `row` what the connections of `context` do; None if nobody can look at it."""
    from corehttp.worker.counting import Counting  # here, since a worker without a supervisor does without

    return Counting(context, row) if config.counts else None


def spreading(config: "Config", context: WorkerContext, siblings: "Siblings") -> "Spreading | None":
    """Return what keeps this worker and its siblings equally loaded; None if the kernel's choice is to stand."""
    from corehttp.worker.spreading import PATIENCE, Spreading  # here, since a worker without a supervisor does without

    # Over TLS a client's address decides before the handshake, and then its connection stays.
    stands = config.spread == "kernel" or bool(config.sticky and tls_settings(config))
    make, tied = functools.partial(make_timer, context.loop), is_tied_by_address(config.sticky)
    return None if stands else Spreading(siblings, context, PATIENCE, make, only_local=tied)


def stick(config: "Config", context: WorkerContext, siblings: "Siblings | None") -> None:
    """Have requests served by the workers to which `--sticky` ties them; without it, log whether they should be."""
    if config.sticky:
        from corehttp.worker.affinity import tie_clients  # here, since few services need it

        tie_clients(config.sticky, context, siblings, config.rescue_after)
    else:
        log_hint(config.workers)


def _offer_extensions(config: "Config", context: WorkerContext, shutdown: asyncio.Event) -> None:
    """Offer applications the ASGI extensions that the options allow, and `corehttp.shutdown` in every scope."""
    if config.pathsend:
        context.extensions.update({"http.response.pathsend": {}, "http.response.zerocopysend": {}})
    if config.early_hints:
        context.early_hints = True
        context.extensions["http.response.early_hint"] = {}
    context.extensions["corehttp.shutdown"] = {"event": shutdown}
    context.websocket_extensions["corehttp.shutdown"] = {"event": shutdown}


def admission(config: "Config", context: WorkerContext) -> Admission | None:
    """Return what decides which requests of a worker may run at once; None if the options set no limit."""
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


def proxy_openings(
    config: "Config", context: WorkerContext, sockets: Iterable[socket.socket] = ()
) -> "ProxyOpenings | None":
    """Return what reads the PROXY headers of new connections; None if the options expect none on any endpoint.

    The endpoints are those that the options give, of which these are the `sockets`.
    """
    served = [number for number, _ in numbered(config, sockets)]
    expected = zip(served, endpoint_versions(config.bind, config.proxy_protocol, len(served)), strict=True)
    versions = {number: allowed for number, allowed in expected if allowed}
    if not versions:
        return None
    from corehttp.worker.proxy_opening import HeaderRules, ProxyOpenings  # imported here, since few services need it

    timeout = config.proxy_protocol_timeout or UNLIMITED
    return ProxyOpenings(context, HeaderRules(versions, Trust(config.proxy_allow_from), timeout))


def retirement(config: "Config") -> Retirement:
    """Return what decides when a worker should be replaced."""
    return Retirement(
        max_requests=config.limit_max_requests,
        max_requests_jitter=config.limit_max_requests_jitter,
        max_age=config.worker_max_age,
        max_age_jitter=config.worker_max_age_jitter,
        max_rss=config.worker_max_rss,
        chance=chance,
    )


def limits(config: "Config") -> Limits:
    """Return the limits of what clients send, in bytes and seconds; an option of 0 means that there is no limit."""
    return Limits(
        request_line=config.limit_request_line,
        request_fields=config.limit_request_fields,
        request_head=config.limit_request_head,
        request_body=config.limit_request_body or UNLIMITED,
        keep_alive=config.timeout_keep_alive,
        request_header=config.timeout_request_header or UNLIMITED,
        request_body_stall=config.timeout_request_body or UNLIMITED,
        write_stall=config.timeout_write_stall or UNLIMITED,
        request=config.timeout_request or UNLIMITED,
    )


def websocket_settings(config: "Config") -> Settings:
    """Return the sizes and times of WebSockets; an option of 0 means that there are no pings, or no limit."""
    return Settings(
        max_size=config.ws_max_size,
        compress_from=config.ws_compression_min_size,
        max_queue=config.ws_max_queue,
        write_high_water=config.ws_write_high_water,
        ping_interval=config.ws_ping_interval or UNLIMITED,
        ping_timeout=config.ws_ping_timeout or UNLIMITED,
    )


def parser_factory(name: str) -> Callable[[Limits], RequestParser]:
    """Return what makes the parser that the option `http` names; no other parser is imported.

    Raises StartupError if the parser's package is not installed.
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
