"""One worker's life: load, lifespan, listen, serve, drain, exit code."""

import asyncio
import functools
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable

from corehttp import listeners
from corehttp.acceptor import Acceptor
from corehttp.access_log import AccessLog
from corehttp.app import load
from corehttp.asgi import ASGIApp
from corehttp.clock import Clock
from corehttp.config import Config
from corehttp.errors import ExitCode, StartupError
from corehttp.lifespan import Lifespan
from corehttp.logs import set_up
from corehttp.protocols.admission import Admission
from corehttp.protocols.context import WorkerContext
from corehttp.protocols.exchange import Exchange
from corehttp.protocols.http1 import HTTP1Connection
from corehttp.protocols.limits import NEVER, Limits
from corehttp.protocols.stream import RequestParser, RequestSink
from corehttp.supervisor import channel as messages
from corehttp.supervisor.channel import Channel
from corehttp.sweep import Sweep

logger = logging.getLogger("corehttp.error")

QUIET = 0.2  # seconds that an idle connection is watched for a request already on the wire, before a stop closes it
POLL = 0.02  # seconds between two looks at what is still in flight
EXIT_GRACE = 0.5  # seconds between the end of the service and that of the process
CANCEL_GRACE = 0.5  # seconds that cancelled requests get to clean up


class Worker:
    """Serves one application on some sockets in the running event loop.

    `start`, then `stop` once; both must run in the same loop. The sockets are the worker's own: it closes them.
    """

    def __init__(self, app: ASGIApp, config: Config, sockets: list[socket.socket], who: str = "worker 1") -> None:
        self._app = app
        self._config = config
        self._sockets = sockets
        self._who = who
        self._access: AccessLog | None = None

    async def start(self) -> None:
        """Run the application's start-up, then accept connections; raises StartupError."""
        config = self._config
        loop = asyncio.get_running_loop()
        clock = Clock(
            date=config.date_header, server=b"corehttp" if config.server_header else b"", fields=config.header
        )
        if config.access_log:
            self._access = AccessLog(config.log_format, self._who, loop.call_later)
        self._context = context = WorkerContext(
            self._app,
            loop,
            clock,
            parser_factory(config.http),
            limits=limits(config),
            root_path=config.root_path,
            access=self._access,
            cancel_on_disconnect=config.cancel_on_disconnect,
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
        self._acceptor = acceptor = Acceptor(
            loop,
            self._sockets,
            functools.partial(HTTP1Connection, context),
            context.connections,
            config.limit_connections,
        )
        context.on_release = acceptor.released
        self._lifespan = Lifespan(self._app, config.lifespan, context.state)
        try:
            await self._lifespan.startup()
            for sock in self._sockets:
                self._listen(sock)
            acceptor.start()
        except BaseException:
            await self._lifespan.shutdown()
            self._close()
            raise
        clock.each_tick(Sweep(loop, clock, context.connections))
        clock.start(loop)

    async def stop(
        self, on_closed: Callable[[], object] | None = None, on_drained: Callable[[], object] | None = None
    ) -> ExitCode:
        """Drain within the graceful time, then run the application's shutdown.

        Calls `on_closed` when no connection is accepted any more and `on_drained` when none is left. Answers CLEAN,
        or DRAIN if requests had to be cut.
        """
        deadline = time.monotonic() + self._config.timeout_graceful_shutdown
        self._stop_accepting(on_closed)
        code = ExitCode.CLEAN if await self._drain(deadline) else await self._cut()
        if on_drained is not None:
            on_drained()
        try:
            await asyncio.wait_for(self._lifespan.shutdown(), self._config.timeout_lifespan_shutdown)
        except TimeoutError:
            logger.error("the application's shutdown took longer than %g s", self._config.timeout_lifespan_shutdown)
        self._close()
        return code

    def _listen(self, sock: socket.socket) -> None:
        try:
            listeners.allow_rebind(sock)
            sock.listen(self._config.backlog)
        except OSError as error:
            raise StartupError(f"cannot listen on {listeners.url(sock)}: {error.strerror or error}") from error

    def _stop_accepting(self, then: Callable[[], object] | None) -> None:
        """Refuse new connections, and take in all that wait: none of them may be reset."""
        self._context.draining = True
        if self._config.fd is None:
            for sock in self._sockets:
                listeners.refuse_new(sock)
            self._acceptor.finish(then)
        else:
            self._acceptor.close(then)

    async def _drain(self, deadline: float) -> bool:
        """Wait until nothing is in flight; False if the deadline comes first."""
        context = self._context
        idle_since: dict[HTTP1Connection, float] = {}
        while context.connections or context.running or not self._acceptor.done:
            now = time.monotonic()
            if now >= deadline:
                return False
            for connection in tuple(context.connections):
                if not connection.idle:
                    idle_since.pop(connection, None)
                elif now - idle_since.setdefault(connection, now) >= QUIET:
                    connection.close()
            await asyncio.sleep(POLL)
        return True

    async def _cut(self) -> ExitCode:
        """End what is still in flight, and log each request; only unfinished ones count as a failed drain."""
        self._acceptor.close()
        context = self._context
        now = time.monotonic()
        exchanges: set[Exchange] = set(context.running)
        exchanges.update(exchange for connection in context.connections for exchange in connection.unanswered)
        for exchange in exchanges:
            scope = exchange.scope
            age = max(0.0, now - exchange.started_at)
            logger.warning(
                "cut at the end of the graceful time: %s %s after %.1f s", scope["method"], scope["path"], age
            )
            exchange.cancel()
        give_up = now + CANCEL_GRACE
        while context.running and time.monotonic() < give_up:
            await asyncio.sleep(POLL)
        for connection in tuple(context.connections):
            connection.cut()
        await asyncio.sleep(0)
        return ExitCode.DRAIN if exchanges else ExitCode.CLEAN

    def _close(self) -> None:
        self._acceptor.close()
        self._context.on_release = None
        self._context.clock.stop()
        if self._access is not None:
            self._access.close()


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


def parser_factory(name: str) -> Callable[[RequestSink, Limits], RequestParser]:
    """The parser that the option `http` names; raises StartupError if it is not installed. Imports no other."""
    if name != "h11":
        try:
            from corehttp.protocols.parser_httptools import HttptoolsParser

            return HttptoolsParser
        except ImportError as error:
            if name == "httptools":
                raise StartupError("http httptools: the package httptools is not installed") from error
    from corehttp.protocols.parser_h11 import H11Parser

    return H11Parser


def loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    """The event loop that the option `loop` names; raises StartupError if it is not installed."""
    if name != "asyncio":
        try:
            import uvloop

            return uvloop.new_event_loop
        except ImportError as error:
            if name == "uvloop":
                raise StartupError("loop uvloop: the package uvloop is not installed") from error
    return asyncio.new_event_loop


async def _serve_supervised(worker: Worker, channel: Channel, seconds: float) -> ExitCode:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def on_channel() -> None:
        _, gone = channel.receive()
        if gone:
            logger.warning("the supervisor is gone: finishing what is in flight")
            loop.remove_reader(channel.fileno())
            stop.set()

    await worker.start()
    # Until here SIGTERM ends the process at once, as it should: nothing is in flight.
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_reader(channel.fileno(), on_channel)
    channel.outlive_other_end(seconds)
    channel.send(messages.READY)
    await stop.wait()
    code = await worker.stop(
        functools.partial(channel.send, messages.CLOSED), functools.partial(channel.send, messages.DRAINED)
    )
    end_within(EXIT_GRACE, code)
    return code


def end_within(seconds: float, code: int) -> None:
    """End the process with `code` in so many seconds, if it has not ended by itself.

    A thread of the application that never returns would otherwise keep the interpreter from exiting.
    """
    timer = threading.Timer(seconds, os._exit, (code,))
    timer.daemon = True
    timer.start()


def main(channel_fd: int) -> int:
    """A worker process: what the supervisor starts, with one end of a channel; returns the exit code."""
    # Ctrl-C reaches the whole foreground group; the supervisor decides what it means. Not SIG_IGN: that would be
    # inherited by the programs that the application starts.
    signal.signal(signal.SIGINT, lambda signum, frame: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    channel = Channel.adopt(channel_fd)
    try:
        kind, boot = channel.wait_for_message()
    except (EOFError, OSError):
        return ExitCode.STARTUP
    assert kind == messages.BOOT
    assert isinstance(boot, dict)
    channel.die_with_other_end()
    sys.path[:] = boot["path"]
    config = Config(**boot["config"])
    who = f"worker {boot['slot'] + 1}"
    set_up(config.log_level, config.log_format, who)
    os.environ.update(COREHTTP_WORKER_ID=str(boot["slot"] + 1), COREHTTP_WORKER_PID=str(os.getpid()))
    sockets = [socket.socket(fileno=fd) for fd in boot["sockets"]]
    for sock in sockets:
        os.set_inheritable(sock.fileno(), False)
    try:
        app = load(config.app, factory=config.factory, app_dir=config.app_dir)
        worker = Worker(app, config, sockets, who)
        seconds = config.timeout_graceful_shutdown + config.timeout_lifespan_shutdown + 1
        with asyncio.Runner(loop_factory=loop_factory(config.loop)) as runner:
            code = runner.run(_serve_supervised(worker, channel, seconds))
    except StartupError as error:
        channel.send(messages.FAILED, str(error), error.detail)
        return ExitCode.STARTUP
    return code


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
