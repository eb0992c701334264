"""Timers of an event loop which cost nothing until they are due."""

import asyncio
import contextvars
import os
import sys
import time
from collections.abc import Callable
from typing import Protocol

_SOON = 1e-6  # seconds: 0 would switch the kernel's timer off


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
    """A timer of the loop's own timers."""

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
        self._loop = loop
        self._callback = callback
        self._context = contextvars.copy_context()  # not that of a request that sets it
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def set(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self._closed:
            self._timer = self._loop.call_later(seconds, self._callback, context=self._context)

    def close(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()


if sys.platform == "linux" and sys.version_info >= (3, 13):

    class KernelTimer:
        """A timer of timerfd_create(2).

        With a timer of its own a loop sleeps in epoll_wait(2) for a limited time, for which the kernel sets up a timer
        whenever it sleeps: about 1 of the 23 us that the least of servers takes for a message over one connection
        (`floor` and `floor-timer` in `benchmarks.websockets`).
        """

        def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
            self._loop = loop
            self._callback = callback
            self._timer = os.timerfd_create(time.CLOCK_MONOTONIC, flags=os.TFD_NONBLOCK | os.TFD_CLOEXEC)
            loop.add_reader(self._timer, self._fire)

        def set(self, seconds: float) -> None:
            if self._timer >= 0:
                os.timerfd_settime(self._timer, initial=max(seconds, _SOON))

        def close(self) -> None:
            if self._timer >= 0:
                self._loop.remove_reader(self._timer)
                os.close(self._timer)
                self._timer = -1

        def _fire(self) -> None:
            """Call back, unless the timer was set anew after it became due."""
            try:
                os.read(self._timer, 8)
            except BlockingIOError:  # it has been set anew
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
