"""Timers for an event loop; on Linux with Python 3.13 they cost the loop nothing until they are due."""

import asyncio
import contextvars
import os
import sys
import time
from collections.abc import Callable
from typing import Protocol

_SOON = 1e-6  # the least seconds for which a kernel timer is set: 0 would switch it off


class Timer(Protocol):
    """A timer: it calls something once in the event loop, at the time that was set last."""

    def set(self, seconds: float) -> None:
        """Have the callback called in so many `seconds`, and not at the time that was set before."""
        ...

    def close(self) -> None:
        """Have the callback never called again, even if a time is set."""
        ...


MakeTimer = Callable[[Callable[[], object]], Timer]


class LoopTimer:
    """A timer that uses those of the event loop (`loop.call_later`)."""

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
        self._loop = loop
        self._callback = callback
        # Without this the callback would run in the context of the request that happens to set the timer.
        self._context = contextvars.copy_context()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def set(self, seconds: float) -> None:
        """Have the callback called in so many `seconds`, and not at the time that was set before."""
        if self._timer is not None:
            self._timer.cancel()
        if not self._closed:
            self._timer = self._loop.call_later(seconds, self._callback, context=self._context)

    def close(self) -> None:
        """Have the callback never called again, even if a time is set."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()


if sys.platform == "linux" and sys.version_info >= (3, 13):

    class KernelTimer:
        """A timer of timerfd_create(2).

        A loop that has a timer of its own sleeps in epoll_wait(2) for a limited time, and the kernel sets up a timer
        for each such sleep. That takes about 1 of the 23 us that a minimal server needs for a message over one
        connection (`floor` and `floor-timer` in `benchmarks.websockets`).
        """

        def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
            self._loop = loop
            self._callback = callback
            self._timer = os.timerfd_create(time.CLOCK_MONOTONIC, flags=os.TFD_NONBLOCK | os.TFD_CLOEXEC)
            loop.add_reader(self._timer, self._fire)

        def set(self, seconds: float) -> None:
            """Have the callback called in so many `seconds`, and not at the time that was set before."""
            if self._timer >= 0:
                os.timerfd_settime(self._timer, initial=max(seconds, _SOON))

        def close(self) -> None:
            """Have the callback never called again, even if a time is set; closes the descriptor."""
            if self._timer >= 0:
                self._loop.remove_reader(self._timer)
                os.close(self._timer)
                self._timer = -1

        def _fire(self) -> None:
            """Call the callback, unless the timer was set anew after it became due."""
            try:
                os.read(self._timer, 8)
            except BlockingIOError:  # the timer was set anew
                return
            self._callback()

    def make_timer(loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> Timer:
        """Make the cheapest timer: one of the kernel, or of the loop where no descriptor is left."""
        try:
            return KernelTimer(loop, callback)
        except OSError:
            return LoopTimer(loop, callback)

else:
    make_timer = LoopTimer
