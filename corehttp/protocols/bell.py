"""Something that a task waits on, and that runs the task at once when it rings."""

import asyncio
from collections.abc import Callable, Generator
from contextvars import Context


class Bell:
    """A future for one waiter at a time, to be used again and again.

    A Future would have the task run at the loop's next turn, which costs an epoll_wait(2) more. To be rung from the
    event loop, not from a task. It offers what a Task asks of what it waits on (asyncio/futures.py, `isfuture`).
    """

    __slots__ = ("_asyncio_future_blocking", "_cancelled", "_context", "_loop", "callback")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._asyncio_future_blocking = False
        self._loop = loop
        self.callback: Callable[[Bell], object] | None = None  # None: nobody waits
        self._context: Context | None = None
        self._cancelled = False

    def ring(self) -> None:
        """Run the task that waits, if there is one."""
        callback, context = self.callback, self._context
        if callback is not None and context is not None:
            self.callback = self._context = None
            context.run(callback, self)

    # What a task calls.

    def __await__(self) -> Generator["Bell", None, None]:
        self._cancelled = False
        self._asyncio_future_blocking = True
        yield self

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def add_done_callback(self, callback: Callable[["Bell"], object], *, context: Context) -> None:
        self.callback = callback
        self._context = context

    def cancel(self, msg: object = None) -> bool:
        if self.callback is None:
            return False
        self._cancelled = True
        self._loop.call_soon(self.ring)
        return True

    def result(self) -> None:
        if self._cancelled:
            raise asyncio.CancelledError
