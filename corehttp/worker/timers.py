"""Timers of an event loop which cost nothing until they are due."""

import asyncio
import contextvars
import os
import sys
import time
from collections.abc import Callable
from typing import Protocol

_SOON = 1e-6  # seconds: 0 would switch the kernel's timer off


class Alarm(Protocol):
    """Calls something once in the event loop, at the time that was set last."""

    def set(self, seconds: float) -> None:
        """Call it in so many seconds, and not when it would have been called."""
        ...

    def close(self) -> None:
        """Do not call it, even if it is set again."""
        ...


MakeAlarm = Callable[[Callable[[], object]], Alarm]


class LoopAlarm:
    """An alarm of the loop's own timers."""

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

    class KernelAlarm:
        """An alarm of timerfd_create(2).

        With a timer of its own a loop sleeps in epoll_wait(2) for a limited time, for which the kernel sets up a timer
        whenever it sleeps: about 1 of the 23 us that the least of servers takes for a message over one connection
        (`floor` and `floor-timer` in `benchmarks.websockets`).
        """

        def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
            self._loop = loop
            self._callback = callback
            self._timer = os.timerfd_create(time.CLOCK_MONOTONIC, flags=os.TFD_NONBLOCK | os.TFD_CLOEXEC)
            loop.add_reader(self._timer, self._ring)

        def set(self, seconds: float) -> None:
            if self._timer >= 0:
                os.timerfd_settime(self._timer, initial=max(seconds, _SOON))

        def close(self) -> None:
            if self._timer >= 0:
                self._loop.remove_reader(self._timer)
                os.close(self._timer)
                self._timer = -1

        def _ring(self) -> None:
            try:
                os.read(self._timer, 8)
            except BlockingIOError:  # it has been set anew
                return
            self._callback()

    def make_alarm(loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> Alarm:
        """The cheapest alarm there is: one of the loop's own where no descriptor is left for one of the kernel."""
        try:
            return KernelAlarm(loop, callback)
        except OSError:
            return LoopAlarm(loop, callback)

else:
    make_alarm = LoopAlarm
