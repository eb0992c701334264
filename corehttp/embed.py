"""Serving inside a program that has its own event loop, or in a thread: no signals, no exit, errors are exceptions."""

import asyncio
import contextlib
import contextvars
import socket
from collections.abc import AsyncIterator, Iterator, Sequence

from anyio.from_thread import start_blocking_portal

from corehttp.asgi import ASGIApp, Unchecked
from corehttp.config import Config
from corehttp.errors import ExitCode
from corehttp.sockets import listening, unix_path
from corehttp.sockets.endpoint import endpoints
from corehttp.worker.wiring import load_application, loop_factory
from corehttp.worker.worker import Worker


class Server:
    """An application that is being served: where it listens, and how to stop it."""

    def __init__(self, worker: Worker, sockets: Sequence[socket.socket]) -> None:
        name = sockets[0].getsockname()
        self.url: str = listening.url(sockets[0])  # the address for clients, such as http://127.0.0.1:8000
        self.port: int | None = name[1] if isinstance(name, tuple) else None  # None on a unix socket
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

    `options` are those of `Config`; unless asked for, there is no access log, and at the end idle connections are
    closed soon, since the clients are most often in the same program. Signals, root logger and event loop policy are
    not touched. Raises ConfigError or StartupError, never SystemExit.
    """
    config = Config.of({"access_log": False, "shutdown_idle_grace": 0.2, **options, "app": app, "supervise": False})
    loaded = load_application(config)
    [sockets] = listening.bind(endpoints(config), 1, reuseport=False)
    worker = Worker(loaded, config, sockets)
    server = Server(worker, sockets)
    try:
        await worker.start()
        try:
            yield server
        finally:
            await server.stop()
    finally:
        for sock in sockets:  # those that the worker has not taken over
            sock.close()
        if config.uds is not None:
            unix_path.forget(config.uds)


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
