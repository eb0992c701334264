"""What all connections of a worker share."""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from corehttp.asgi import HTTP_VERSIONS, ASGIApp, State, Unchecked
from corehttp.clock import Clock
from corehttp.protocols.exchange import Exchange, task_starter
from corehttp.protocols.stream import RequestParser, RequestSink

if TYPE_CHECKING:
    from corehttp.protocols.http1 import HTTP1Connection

logger = logging.getLogger("corehttp.error")

# client address, method, target, HTTP version, status, bytes of body, milliseconds: as a log line shows them
AccessRecord = tuple[str, str, str, str, int, int, float]


class AccessSink(Protocol):
    """Where requests that have ended are noted."""

    records: list[AccessRecord]
    armed: bool  # it will look at `records` by itself

    def arm(self) -> None:
        """There are new `records`."""
        ...


class WorkerContext:
    """One worker's application, loop, settings and live connections. Everything here is read per request."""

    __slots__ = (
        "access",
        "app",
        "clock",
        "connections",
        "draining",
        "keep_alive",
        "loop",
        "make_parser",
        "root_path",
        "running",
        "scope",
        "start_task",
        "state",
    )

    def __init__(
        self,
        app: ASGIApp,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        make_parser: Callable[[RequestSink], RequestParser],
        *,
        keep_alive: float,
        root_path: str = "",
        access: AccessSink | None = None,
    ) -> None:
        self.app = app
        self.loop = loop
        self.start_task = task_starter(loop)
        self.clock = clock
        self.make_parser = make_parser
        self.keep_alive = keep_alive  # seconds
        self.root_path = root_path
        # What the scopes of all requests share, with every key in its place (ASGI HTTP specification 2.5).
        self.scope: dict[str, Unchecked] = {
            "type": "http",
            "asgi": HTTP_VERSIONS,
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
        }
        self.access = access  # None: no access log
        self.state: State = {}
        self.draining = False
        self.connections: set[HTTP1Connection] = set()
        self.running: set[Exchange] = set()

    def app_failed(self, exchange: Exchange, fault: BaseException | str) -> None:
        """Log a fault of the application once, with the request that met it."""
        where = f"{exchange.scope['method']} {exchange.scope['path']}"
        if isinstance(fault, str):
            logger.error("%s: %s", where, fault)
        else:
            logger.error("exception in the application: %s", where, exc_info=fault)
