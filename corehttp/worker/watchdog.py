"""The heartbeat of an event loop, and a thread that logs what blocks the loop."""

import asyncio
import contextlib
import faulthandler
import logging
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from types import FrameType

from corehttp.protocols.exchange import Exchange
from corehttp.protocols.websocket.session import WebSocketSession
from corehttp.worker.periodic import Periodic
from corehttp.worker.timers import make_timer

logger = logging.getLogger("corehttp.error")

BEAT = 0.25  # seconds between two heartbeats
OVERSLEPT = 1.0  # seconds: a thread that is so late was suspended with the whole process, or got no CPU


class Watchdog:
    """Calls `beat` regularly in the event loop, and logs from a thread what blocks it for more than `warn` seconds.

    `beat` is called in the loop with the time (seconds, monotonic). Each blockage is logged once, and once more when it
    ends. If `warn` is 0 there is no thread, and no blockage is logged.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, beat: Callable[[float], object], warn: float) -> None:
        self._beat = Periodic("the heartbeat", beat)
        self._warn = warn
        self._beaten_at = 0.0
        self._timer = make_timer(loop, self._tick)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop_thread = 0
        self._blocked_since: float | None = None  # last heartbeat before the logged blockage; only the thread uses it

    def start(self) -> None:
        """Start the heartbeat and the watching thread; must be called in the event loop."""
        self._loop_thread = threading.get_ident()
        self._tick()
        if self._warn:
            self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the heartbeat and the watching thread; must be called in the event loop."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(BEAT)  # the thread ends at once, unless its writing to the log blocks
        self._timer.close()

    def _tick(self) -> None:
        self._beaten_at = now = time.monotonic()
        try:
            self._beat(now)
        finally:
            self._timer.set(BEAT)

    def _watch(self) -> None:
        look = Periodic("the watch over the event loop", self._look)
        looked_at = time.monotonic()
        innocent_until = 0.0  # a heartbeat that was missed before this time proves no blockage
        while not self._stopping.wait(BEAT):
            now = time.monotonic()
            if now - looked_at > BEAT + OVERSLEPT:
                innocent_until = now
            looked_at = now
            look(innocent_until)

    def _look(self, innocent_until: float) -> None:
        # A heartbeat may be BEAT seconds old although nothing blocks the loop.
        blocked = time.monotonic() - max(self._beaten_at + BEAT, innocent_until)
        if self._blocked_since is None and blocked > self._warn:
            self._blocked_since = self._beaten_at
            self._report(blocked)
        elif self._blocked_since is not None and self._blocked_since != self._beaten_at:
            since, self._blocked_since = self._blocked_since, None
            logger.warning("the event loop runs again after %.1f s", self._beaten_at - since)

    def _report(self, blocked: float) -> None:
        frame = sys._current_frames().get(self._loop_thread)
        if frame is None:
            return
        request = _running(frame)
        whose = ""
        if request is not None:
            whose = f" by {request.name}"
        stack = "".join(traceback.format_stack(frame)).rstrip()
        logger.warning("the event loop is blocked for %.1f s%s, in\n%s", blocked, whose, stack)


@contextlib.contextmanager
def watched(loop: asyncio.AbstractEventLoop, beat: Callable[[float], object], warn: float) -> Iterator[None]:
    """Run a Watchdog over the running `loop` while the context is open; the arguments are those of Watchdog."""
    watchdog = Watchdog(loop, beat, warn)
    watchdog.start()
    try:
        yield
    finally:
        watchdog.stop()


def install_dump() -> None:
    """Make SIGUSR2 print the stacks of all threads on standard error, even if the interpreter is stuck in C."""
    faulthandler.register(signal.SIGUSR2, file=2, all_threads=True)  # sys.stderr is the application's to replace


def _running(frame: FrameType | None) -> Exchange | WebSocketSession | None:
    """Return the request whose application is running in the stack that ends with `frame`, or None."""
    while frame is not None:
        if frame.f_code is Exchange.run.__code__ or frame.f_code is WebSocketSession.run.__code__:
            request = frame.f_locals.get("self")
            return request if isinstance(request, Exchange | WebSocketSession) else None
        frame = frame.f_back
    return None
