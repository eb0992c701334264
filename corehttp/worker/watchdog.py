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
from collections.abc import Callable, Collection, Iterator
from types import CodeType, FrameType

from corehttp.moments import BEAT
from corehttp.protocols.contracts import Named
from corehttp.worker.periodic import Periodic
from corehttp.worker.timers import make_timer

logger = logging.getLogger("corehttp.error")

OVERSLEPT = 1.0  # seconds: a thread that is so late was suspended with the whole process, or got no CPU


class Watchdog:
    """Calls `beat` regularly in the event loop, and logs from a thread what blocks it for more than `warn` seconds.

    `beat` is called in the loop with the time (seconds, monotonic). Each blockage is logged once, and once more when it
    ends. If `warn` is 0 there is no thread, and no blockage is logged. The first log line names the request whose
    application runs. It is the first argument, a `Named`, of a method whose code is one of `runs`.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, beat: Callable[[float], object], warn: float, runs: Collection[CodeType]
    ) -> None:
        self._beat = Periodic("the heartbeat", beat)
        self._warn = warn
        self._runs = runs
        self._beaten_at = 0.0
        self._timer = make_timer(loop, self._tick)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop_thread = 0
        # The last heartbeat before the blockage that was logged; None if the loop runs. Only the thread uses it.
        self._blocked_since: float | None = None

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
        """Record a heartbeat, call `beat`, and set the timer for the next heartbeat."""
        self._beaten_at = now = time.monotonic()
        try:
            self._beat(now)
        finally:
            self._timer.set(BEAT)

    def _watch(self) -> None:
        """Look at the heartbeats, in the thread, until the watchdog stops."""
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
        """Log that the loop is blocked, or that it runs again.

        Heartbeats that were missed before `innocent_until` (seconds, monotonic) do not count.
        """
        # A heartbeat may be BEAT seconds old although nothing blocks the loop.
        blocked = time.monotonic() - max(self._beaten_at + BEAT, innocent_until)
        if self._blocked_since is None and blocked > self._warn:
            self._blocked_since = self._beaten_at
            self._report(blocked)
        elif self._blocked_since is not None and self._blocked_since != self._beaten_at:
            since, self._blocked_since = self._blocked_since, None
            logger.warning("the event loop runs again after %.1f s", self._beaten_at - since)

    def _report(self, blocked: float) -> None:
        """Log that the loop is blocked for so many seconds, by which request and in which stack."""
        frame = sys._current_frames().get(self._loop_thread)
        if frame is None:
            return
        request = _running(frame, self._runs)
        whose = ""
        if request is not None:
            whose = f" by {request.name}"
        stack = "".join(traceback.format_stack(frame)).rstrip()
        logger.warning("the event loop is blocked for %.1f s%s, in\n%s", blocked, whose, stack)


@contextlib.contextmanager
def watched(
    loop: asyncio.AbstractEventLoop, beat: Callable[[float], object], warn: float, runs: Collection[CodeType]
) -> Iterator[None]:
    """Run a Watchdog over the running `loop` while the context is open; the arguments are those of Watchdog."""
    watchdog = Watchdog(loop, beat, warn, runs)
    watchdog.start()
    try:
        yield
    finally:
        watchdog.stop()


def install_dump() -> None:
    """Make SIGUSR2 print the stacks of all threads on standard error, even if the interpreter is stuck in C."""
    if sys.platform == "win32":
        raise NotImplementedError
    # Descriptor 2 rather than `sys.stderr`, which the application may replace.
    faulthandler.register(signal.SIGUSR2, file=2, all_threads=True)


def _running(frame: FrameType | None, runs: Collection[CodeType]) -> Named | None:
    """Return the request whose application is running in the stack that ends with `frame`, or None."""
    while frame is not None:
        if frame.f_code in runs:
            request: Named = frame.f_locals["self"]
            return request
        frame = frame.f_back
    return None
