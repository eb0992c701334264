"""Serving inside a program that has its own event loop, or in a thread: no signals, no exit, errors are exceptions."""

import asyncio
import contextlib
import contextvars
import os
import socket
from collections.abc import AsyncIterator, Iterator, Sequence

from anyio.from_thread import start_blocking_portal

from corehttp.asgi import ASGIApp, Unchecked
from corehttp.config import Config
from corehttp.errors import ConfigError, ExitCode
from corehttp.log_paths import check_log_files, located
from corehttp.sockets import listening, unix_path
from corehttp.sockets.endpoint import endpoints
from corehttp.worker.event_loop import loop_factory
from corehttp.worker.wiring import load_application
from corehttp.worker.worker import Worker


class Server:
    """An application that is being served: where clients find it, and how to stop it."""

    def __init__(self, worker: Worker, sockets: Sequence[socket.socket], scheme: str) -> None:
        name = sockets[0].getsockname()
        self.url: str = listening.url(sockets[0], scheme)  # the address for clients, such as http://127.0.0.1:8000
        self.port: int | None = name[1] if isinstance(name, tuple) else None  # None for a unix socket
        self._worker = worker
        self._context = contextvars.copy_context()
        self._stopped: asyncio.Task[ExitCode] | None = None

    async def stop(self) -> ExitCode:
        """Drain the connections and run the application's shutdown; a further call waits for the same end.

        Returns CLEAN, or DRAIN if requests were cut at the end of the graceful time.
        """
        if self._stopped is None:
            self._stopped = asyncio.get_running_loop().create_task(self._worker.stop(), context=self._context)
        return await asyncio.shield(self._stopped)


@contextlib.asynccontextmanager
async def serve(app: str | ASGIApp, **options: Unchecked) -> AsyncIterator[Server]:
    """Serve `app` in the running event loop while the context is open.

    `options` are those of `Config`; unless asked for, as by `access_log_file`, there is no access log, and at the end
    idle connections are closed soon, since the clients are most often in the same program. Of the environment only
    FORWARDED_ALLOW_IPS counts, where `forwarded_allow_ips` is not given. Signals, root logger and event loop policy are
    not touched. Raises ConfigError or StartupError, never SystemExit.
    """
    wants_access_log = "access_log_file" in options
    given = {"access_log": wants_access_log, "shutdown_idle_grace": 0.2, **options, "app": app, "supervise": False}
    config = located(Config.of(given, os.environ))
    if config.log_file is not None:
        raise ConfigError("log_file: serve() leaves logging to the program: give the logger 'corehttp' a handler")
    for name in ("user", "group", "umask", "chdir"):
        if getattr(config, name) is not None:
            raise ConfigError(f"{name}: serve() is a part of the program, whose process only the program changes")
    if config.pid is not None:
        raise ConfigError("pid: serve() is a part of the program, whose process id only the program writes to a file")
    check_log_files(config)
    loaded = load_application(config)
    served = endpoints(config)
    [sockets] = listening.bind(served, 1, reuseport=False)
    worker = Worker(loaded, config, sockets)
    server = Server(worker, sockets, served[0].scheme)
    try:
        await worker.start()
        try:
            yield server
        finally:
            await server.stop()
    finally:
        for sock in sockets:  # closes those that the worker has not taken over
            sock.close()
        for each in served:
            unix_path.forget(each.path)


@contextlib.contextmanager
def run_in_thread(app: str | ASGIApp, **options: Unchecked) -> Iterator[Server]:
    """Serve `app` in an event loop in a thread of its own while the context is open: for tests.

    Raises what `serve` raises, in the caller's thread.
    """
    make_loop = loop_factory(Config.of({**options, "app": app}).loop)
    with (
        start_blocking_portal("asyncio", {"loop_factory": make_loop}) as portal,
        portal.wrap_async_context_manager(serve(app, **options)) as server,
    ):
        yield server
