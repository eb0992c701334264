"""One worker's life: lifespan, listen, serve, leave; in a process, a thread or a program, as others see fit."""

import asyncio
import functools
import logging
import socket
import time
from collections.abc import Callable, Iterator, Sequence

from corehttp.app import failed_start
from corehttp.asgi import ASGIApp
from corehttp.config import Config
from corehttp.errors import ExitCode, StartupError
from corehttp.forks import poller, protect
from corehttp.ipc.messages import LeaveReason
from corehttp.sockets import listening, steering
from corehttp.text import shown
from corehttp.worker import wiring
from corehttp.worker.acceptor import Acceptor
from corehttp.worker.deadline_sweep import Sweep
from corehttp.worker.departure import WorkerDeparture
from corehttp.worker.drain import Drain, SystemClock
from corehttp.worker.lifespan import Lifespan
from corehttp.worker.retirement import rss
from corehttp.worker.siblings import Siblings
from corehttp.worker.ticker import Ticker
from corehttp.worker.timers import make_timer

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
        sockets: Sequence[socket.socket],
        who: str = "worker 1",
        siblings: Siblings | None = None,
        on_retire: Callable[[str], object] | None = None,
    ) -> None:
        self._app = app
        self._config = config
        self._settings = wiring.worker_settings(config)
        self._sockets = sockets
        self._who = who
        self._siblings = siblings
        self._on_retire = on_retire  # called with the cause when the worker should be replaced
        self.answered = self.cut = 0  # requests, while it stopped
        self._prepared = False  # whether the application's start-up has succeeded

    async def start(self) -> None:
        """Run the application's start-up, then listen and accept connections; raises StartupError."""
        await self.prepare()
        try:
            for sock in self._sockets:
                listening.listen(sock, self._settings.backlog)
        except BaseException:
            await self._lifespan.shutdown()
            self._close()
            raise
        self.accept()

    async def prepare(self) -> None:
        """Run the application's start-up; raises StartupError."""
        settings, siblings = self._settings, self._siblings
        loop = asyncio.get_running_loop()
        self._access = wiring.access_log(self._config, loop, self._who)
        self._shutdown = asyncio.Event()
        ledger = None if siblings is None else siblings.row
        self._context = context = wiring.make_context(
            self._config, self._app, loop, self._access, ledger, self._shutdown
        )
        self._ticker = Ticker(context.clock)
        self._acceptor = acceptor = Acceptor(
            loop,
            self._sockets,
            functools.partial(wiring.connect, context),
            context.connections,
            settings.limit_connections,
            None if siblings is None else siblings.inbox,
        )
        context.on_release = acceptor.released
        self._unprotect = protect(self.descriptors)
        self._lifespan = Lifespan(self._app, settings.lifespan, context.state)
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
            self._retirement = wiring.retirement(self._config)
            self._ticker.each_tick("the check of this worker's age and memory", self._look_at_age)
        self._ticker.start(functools.partial(make_timer, loop))
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
        times = self._settings.shutdown
        before = self._context.answered
        self._shutdown.set()
        if why in (LeaveReason.STOP, LeaveReason.ORPHANED) and times.delay:
            self._context.draining = True
            await asyncio.sleep(times.delay)
        deadline = time.monotonic() + times.graceful
        self._stop_accepting(why, on_closed)
        drain = self._make_drain(time.monotonic())
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
            await asyncio.wait_for(self._lifespan.shutdown(), times.lifespan)
        except TimeoutError:
            logger.error("the application's shutdown took longer than %g s", times.lifespan)
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

    def _make_drain(self, now: float) -> Drain:
        """The drain of this worker, which leaves `now` (seconds, monotonic)."""
        times = self._settings.shutdown
        departure = WorkerDeparture(
            now,
            hand_over=self._context.hand_over,
            idle_grace=times.idle_grace,
            reconnect_grace=times.reconnect_grace,
        )
        return Drain(self._context, self._acceptor, departure, tell_at=now + times.stream_grace, clock=SystemClock())

    def _stop_accepting(self, why: LeaveReason, then: Callable[[], object] | None) -> None:
        """Accept no more. Nobody who waits is reset: they are taken in, or left to a worker that accepts there too."""
        context = self._context
        siblings = self._siblings
        if siblings is not None:
            siblings.leaving()
        match why:
            case LeaveReason.STOP:
                context.draining = True
                if self._settings.adopts_socket:
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
        context = self._context
        if self._siblings is not None and not context.draining and context.hand_over is None:
            self._siblings.even_out(context.connections)

    def _look_at_age(self, now: float) -> None:
        """Call `on_retire`, once, when this worker should be replaced."""
        memory = rss() if self._settings.watches_memory else 0
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
