"""A context whose body runs only while this worker leads."""

import asyncio
import contextlib
from types import TracebackType
from typing import Self

from corehttp import membership


class Leadership:
    """See `corehttp.worker.leadership`. It can be entered once."""

    def __init__(self) -> None:
        self._membership = membership.current
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0  # how often the task had been cancelled when the context was entered
        self._left = False  # whether the body has ended
        self._lost = False  # whether the task was cancelled because the lead was lost

    async def __aenter__(self) -> Self:
        """Wait until this worker leads. Raises RuntimeError outside a task, and if it was entered before."""
        if self._task is not None:
            raise RuntimeError("worker.leadership() returns a context for one use: call it again")
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("worker.leadership() is for a task")
        self._task, self._loop = task, asyncio.get_running_loop()
        while not self._membership.enter(self):
            await self._change()
        self._cancelling = task.cancelling()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self._membership.leave(self)
        self._left, task = True, self._task
        if not self._lost or task is None:
            return False
        return task.uncancel() <= self._cancelling and kind is asyncio.CancelledError

    def end(self) -> None:
        """Cancel the body, since the lead is lost. Any thread may call it."""
        try:
            self._loop.call_soon_threadsafe(self._cancel)
        except RuntimeError:  # the loop is closed, and with it the body has ended
            self._membership.leave(self)

    def _cancel(self) -> None:
        if not self._left and self._task is not None:
            self._lost = True
            self._task.cancel("this worker leads no more")

    async def _change(self) -> None:
        """Wait until this worker has begun to lead, or has ceased to."""
        changed = asyncio.Event()

        def tell() -> None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(changed.set)

        end_watch = self._membership.watch(tell)
        try:
            if not self._membership.leads:
                await changed.wait()
        finally:
            end_watch()
