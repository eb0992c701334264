"""One worker's life: lifespan, listen, serve, leave; in a process of its own, in a thread, or inside a program."""

import asyncio
import functools
import logging
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from corehttp import logs
from corehttp.app import failed_start
from corehttp.asgi import ASGIApp
from corehttp.errors import ExitCode, StartupError
from corehttp.forks import poller, protect
from corehttp.ipc.messages import LeaveReason
from corehttp.protocols.contracts import HandOver
from corehttp.sockets import listening, steering
from corehttp.sockets.endpoint import ListeningSocket, own_endpoints
from corehttp.text import shown
from corehttp.worker import entrances, wiring
from corehttp.worker.acceptor import Acceptor
from corehttp.worker.deadline_sweep import Sweep
from corehttp.worker.departure import WorkerDeparture
from corehttp.worker.drain import Drain, SystemClock
from corehttp.worker.lifespan import Lifespan
from corehttp.worker.on_windows import check_loop
from corehttp.worker.retirement import rss
from corehttp.worker.shutdown_times import ShutdownTimes
from corehttp.worker.ticker import Ticker
from corehttp.worker.timers import make_timer

if TYPE_CHECKING:
    from corehttp.bus.fleet import Fleet
    from corehttp.config import Config
    from corehttp.worker.siblings import Siblings

logger = logging.getLogger("corehttp.error")

# Seconds at a stop between the last new handshake and the end of a listening socket. A client whose SYN was answered
# takes itself for connected; its request is reset if the socket is gone when the request arrives.
HANDSHAKES = 0.3


class Worker:
    """Serves one application on some sockets in the running event loop.

    Call `start`, or `prepare` and then `accept`; later `stop`, once; all in the same loop. The sockets become the
    worker's own, which closes them. `siblings` are the other workers of a supervisor, to which connections can be
    passed. `on_retire` is called once, with the cause for the operator, when the worker should be replaced.
    """

    def __init__(
        self,
        app: ASGIApp,
        config: "Config",
        sockets: Sequence[socket.socket],
        who: str = "worker 1",
        siblings: "Siblings | None" = None,
        on_retire: Callable[[str], object] | None = None,
    ) -> None:
        self._app = app
        self._config = config
        self._settings = wiring.worker_settings(config)
        self._sockets = sockets
        self._who = who
        self._siblings = siblings
        if siblings is not None:
            siblings.own_endpoints = own_endpoints(config, sockets)
        self._on_retire = on_retire
        self.answered = self.cut = 0  # how many requests were answered, and cut, while the worker stopped
        self._fleet: Fleet | None = None
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
        check_loop(loop)
        self._access = wiring.access_log(self._config, loop, self._who)
        self._shutdown = asyncio.Event()
        ledger = None if siblings is None else siblings.row
        self._context = context = wiring.make_context(
            self._config, self._app, loop, self._access, ledger, self._shutdown
        )
        self._tls = entrances.worker_tls(self._config, context, siblings)
        self._counting = None if siblings is None else wiring.counting(self._config, context, siblings.row)
        self._spreading = None if siblings is None else wiring.spreading(self._config, context, siblings)
        wiring.stick(self._config, context, siblings)
        self._ticker = Ticker(context.clock)
        self._acceptor = acceptor = Acceptor(
            loop,
            self._sockets,
            entrances.protocol_maker(self._config, context, self._tls, self._sockets),
            context.connections,
            settings.limit_connections,
            None if siblings is None else siblings.inbox,
            self._spreading,
            wiring.proxy_openings(self._config, context, self._sockets),
        )
        context.on_release = acceptor.released
        self._unprotect = protect(self.descriptors)
        self._lifespan = Lifespan(self._app, settings.lifespan, context.state)
        try:
            self._fleet = wiring.fleet(self._config)
            if self._fleet is not None:
                await self._fleet.begin()
            await self._lifespan.startup()
        except BaseException:
            await self._lifespan.shutdown()
            self._close()
            raise
        self._prepared = True

    def failed_start(self, error: BaseException) -> StartupError:
        """Return the failed start to raise where `error`, such as SystemExit, has ended the event loop.

        If the start-up had succeeded already, `error` is logged and raised again instead.
        """
        if self._prepared:
            logger.error("the application has ended its worker: %s", shown(error), exc_info=error)
            raise error
        return failed_start("the application ended its start-up", error)

    def accept(self) -> None:
        """Begin to accept connections from the sockets, which must listen by now."""
        clock = self._context.clock
        loop = asyncio.get_running_loop()
        self._ticker.each_tick("the search for late connections", Sweep(loop, clock, self._context.connections))
        siblings = self._siblings
        if siblings is not None:
            siblings.serving()
            self._ticker.each_tick("the counters", self._show_counters)
            self._ticker.each_tick("the balance of idle connections", self._even_out)
        elif rotation := wiring.rotation(self._config):
            self._ticker.each_tick("the rotation of log files", lambda now: rotation.look() and self.reopen_logs())
        if self._tls is not None:
            self._ticker.each_tick("the look after certificates", self._tls.look)
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

        Calls `on_closed` when no connection is accepted any more and `on_drained` when none is left. Returns CLEAN,
        or DRAIN if requests had to be cut; `answered` and `cut` say how many.
        """
        answered_before = self._context.answered
        self._shutdown.set()
        if why in (LeaveReason.STOP, LeaveReason.ORPHANED):
            await self._serve_on()
        now = time.monotonic()
        self._stop_accepting(why, on_closed)
        await self._drain(now, answered_before, self.times(why))
        if on_drained is not None:
            on_drained()
        await self._shut_down()
        return ExitCode.DRAIN if self.cut else ExitCode.CLEAN

    def times(self, why: LeaveReason) -> ShutdownTimes:
        """Return how long each step of the worker's end may take if it leaves for this reason."""
        if why is LeaveReason.REPLACED:
            return self._settings.replaced
        shutdown = self._settings.shutdown
        return shutdown.patient() if why is LeaveReason.SLOT_CLOSES else shutdown

    def reopen_logs(self) -> str:
        """Open the log files anew if they were renamed or removed.

        Returns why that is not possible, in words for the operator; empty text if all is well.
        """
        faults = [logs.reopen(), "" if self._access is None else self._access.reopen()]
        return "; ".join(filter(None, faults))

    def beat(self, now: float) -> None:
        """Record that the event loop runs at `now` (seconds, monotonic), as it is to do every `moments.BEAT`."""
        if self._siblings is not None:
            self._siblings.beat(now)
        if self._counting is not None:
            self._counting.beat(now)

    def descriptors(self) -> Iterator[int]:
        """Yield the descriptors that this process has open for its clients and for other workers."""
        yield poller(self._context.loop)
        yield from self._acceptor.descriptors()
        for connection in self._context.connections:
            yield connection.fileno()
        if self._siblings is not None:
            yield from self._siblings.descriptors()
        if self._fleet is not None:
            yield from self._fleet.descriptors()

    def abandon(self) -> None:
        """Close everything at once, in the middle of requests too, because a stop is to last no longer."""
        for connection in tuple(self._context.connections):
            connection.cut()
        self._close()

    async def _serve_on(self) -> None:
        """Serve for the time of --shutdown-delay, but let each connection end with its next response."""
        delay = self._settings.shutdown.delay
        if delay:
            self._context.draining = True
            await asyncio.sleep(delay)

    def _stop_accepting(self, why: LeaveReason, then: Callable[[], object] | None) -> None:
        """Stop accepting, and call `then` when that is done; what is idle is passed on from now on, or closed.

        No client that waits to be accepted is reset: it is taken in, or left to others that accept there too.
        """
        context = self._context
        if self._siblings is not None:
            self._siblings.leaving()
        context.hand_over = self._way_out(why)
        context.draining = context.hand_over is None
        if self._is_accepted_by_others(why):
            self._acceptor.close(then)
        elif why is LeaveReason.STOP:
            ours = [sock for sock in self._sockets if sock.fileno() >= 0 and not _is_anothers(sock)]
            for sock in ours:
                steering.refuse_new(sock)
            if any(map(listening.is_remote, ours)):
                context.loop.call_later(HANDSHAKES, self._acceptor.finish, then)
            else:
                self._acceptor.finish(then)
        else:
            # New clients are not refused: that takes a filter, which would stay on the sockets for all who have them.
            self._acceptor.finish(then)

    def _way_out(self, why: LeaveReason) -> HandOver | None:
        """Return what passes idle connections to other workers while this one leaves; None if none of them goes on.

        Over TLS there is nothing: the keys of a connection are in this process alone.
        """
        if self._siblings is None or self._tls is not None:
            return None
        match why:
            case LeaveReason.STOP | LeaveReason.ORPHANED:
                return None
            case LeaveReason.REPLACED:
                return self._siblings.hand_over_or_leave
            case LeaveReason.SLOT_CLOSES:
                return self._siblings.hand_over

    def _is_accepted_by_others(self, why: LeaveReason) -> bool:
        """Whether others go on to accept from these sockets, so that the clients that wait can be left to them."""
        match why:
            case LeaveReason.STOP:
                return all(map(_is_anothers, self._sockets))
            case LeaveReason.ORPHANED:
                return False
            case LeaveReason.REPLACED:
                return True
            case LeaveReason.SLOT_CLOSES:
                return self._siblings is None or self._siblings.share_sockets

    async def _drain(self, now: float, answered_before: int, times: ShutdownTimes) -> None:
        """Finish what is in flight within the graceful time from `now` (seconds, monotonic), cut the rest; count both.

        `answered_before` is how many requests the worker had answered before it was told to leave.
        """
        context = self._context
        departure = WorkerDeparture(
            now, hand_over=context.hand_over, idle_grace=times.idle_grace, reconnect_grace=times.reconnect_grace
        )
        drain = Drain(context, self._acceptor, departure, tell_at=now + times.stream_grace, clock=SystemClock())
        finished = await drain.finish(now + times.graceful)
        self.answered = context.answered - answered_before
        if not finished:
            self.cut = await drain.cut()
        if self._siblings is not None:
            self._siblings.account(self.answered, self.cut)

    async def _shut_down(self) -> None:
        """Run the application's shutdown within its time, then close everything."""
        limit = self._settings.shutdown.lifespan
        try:
            await asyncio.wait_for(self._lifespan.shutdown(), limit)
        except TimeoutError:
            logger.error("the application's shutdown took longer than %g s", limit)
        if self._fleet is not None:
            await self._fleet.close()
        self._close()

    def _even_out(self, now: float) -> None:
        """Pass on some idle connections if other workers have fewer, as one that has just started has."""
        context = self._context
        if context.affinity is not None:
            return  # the next request of such a connection would bring it back
        if self._spreading is not None:
            self._spreading.even_out()
        elif self._siblings is not None and not context.draining and context.hand_over is None:
            self._siblings.even_out(context.connections)

    def _show_counters(self, now: float = 0.0) -> None:
        """Show other processes what this worker does, whatever the time `now` is."""
        if self._siblings is not None:
            self._siblings.note(self._context.begun, len(self._context.running))
        if self._counting is not None:
            self._counting.write()

    def _look_at_age(self, now: float) -> None:
        """Call `on_retire`, once, when this worker should be replaced."""
        memory = rss() if self._settings.watches_memory else 0
        cause = self._retirement.cause(self._context.begun, time.monotonic() - self._born, memory)
        if cause is not None and self._on_retire is not None:
            self._on_retire(cause)
            self._on_retire = None

    def _close(self) -> None:
        """Close what the worker has open and break its reference cycles; a second call does nothing."""
        self._unprotect()
        self._acceptor.close()
        self._context.on_release = None
        self._context.hand_over = None
        self._ticker.stop()
        if self._fleet is not None:
            self._fleet.abandon()
        if self._spreading is not None:
            self._spreading.close()
        self._show_counters()
        if self._access is not None:
            self._access.close()


def _is_anothers(sock: socket.socket) -> bool:
    """Whether a listening socket belongs to the program that has started the service, which may listen on it too."""
    return isinstance(sock, ListeningSocket) and sock.is_anothers
