"""Something that tasks wait on, and that runs them at once when it rings."""

import asyncio
import types
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context

Callback = Callable[["Wakeup"], object]
Outcome = tuple[object, BaseException | None]  # what a coroutine waits for, or how it has ended


class Wakeup:
    """Like a future, but to be used again and again, and who waits runs on at once; it may ring for nothing.

    A Future would have its task run at the loop's next turn, which costs an epoll_wait(2) more. And what is carried is
    run on in the name of its task, but past it, which does not notice: 0.34 us for each ring instead of 0.88 (CPython
    3.13, `benchmarks.micro`). Offers what a Task asks of what it waits on (asyncio/futures.py, `isfuture`).
    """

    __slots__ = (
        "_asyncio_future_blocking",
        "_cancelled",
        "_carrier",
        "_carries",
        "_context",
        "_loop",
        "_others",
        "_outcome",
        "_send",
        "_task",
    )

    _task: asyncio.Task[object]  # that runs what is carried; and what that takes
    _context: Context
    _send: Callable[[None], object]

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._asyncio_future_blocking = False
        self._loop = loop
        self._carries = False  # the next task that waits is that of what is carried
        self._carrier: Callback | None = None  # runs it, while what is carried waits
        self._others: tuple[tuple[Callback, Context], ...] = ()  # run the other tasks that wait
        self._cancelled = False  # one of them, since the last step
        self._outcome: Outcome | None = None  # of a step, for the task to see

    def wake(self) -> None:
        """Run all that wait; at the loop's next turn if a task is running now."""
        if self._others:
            self._run_others()
        if self._carrier is not None:
            try:
                self._context.run(self._step)
            except RuntimeError:  # another task runs now, and in this same context
                self._loop.call_soon(self.wake)

    @types.coroutine
    def carry(self, coroutine: Coroutine[object, None, None]) -> Generator[object, None, None]:
        """Run a coroutine; to be awaited by a task. Whenever it waits for this bell, `wake` runs it on."""
        task = asyncio.current_task(self._loop)
        assert task is not None
        self._task, self._send = task, coroutine.send
        step: Callable[..., object] = coroutine.send
        argument: BaseException | None = None
        unseen: Outcome | None = None
        while True:
            if unseen is None:
                try:
                    awaited = step(argument)
                except StopIteration:
                    return
                finally:
                    argument = None  # its traceback refers to this frame
            else:
                awaited, failure = unseen
                if isinstance(failure, StopIteration):
                    return
                if failure is not None:
                    try:
                        raise failure
                    finally:
                        del failure, unseen  # which its traceback refers to
            self._carries = awaited is self
            step, argument = coroutine.send, None
            try:
                yield awaited
            except BaseException as error:  # the task is cancelled; it may have done so itself, in a step
                step, argument = coroutine.throw, error
            unseen, self._outcome = self._outcome, None
            if unseen is not None and argument is not None and not _cancelled(unseen, argument):
                unseen = None

    def _step(self) -> None:
        """Run what is carried in the place of its task, which is left alone if it waits for this bell again."""
        try:
            _enter_task(self._loop, self._task)
        except RuntimeError:  # another is running
            self._loop.call_soon(self.wake)
            return
        carrier, self._carrier = self._carrier, None
        self._cancelled = False
        try:
            awaited = self._send(None)
            if awaited is self and not self._cancelled:
                self._carrier = carrier
                return
            self._outcome = awaited, None
        except BaseException as error:
            self._outcome = None, error
        finally:
            _leave_task(self._loop, self._task)
        assert carrier is not None
        carrier(self)

    def _run_others(self) -> None:
        if asyncio.current_task(self._loop) is None:
            others, self._others = self._others, ()
            for callback, context in others:
                context.run(callback, self)
        else:
            self._loop.call_soon(self._run_others)

    # What a task asks; its loop it takes from `_loop`.

    def __await__(self) -> Generator["Wakeup", None, None]:
        self._asyncio_future_blocking = True
        return iter((self,))  # type: ignore[return-value]  # any iterator will do (PEP 492)

    def add_done_callback(self, callback: Callback, *, context: Context) -> None:
        if self._carries:
            self._carries = False
            self._carrier, self._context = callback, context
        else:
            self._others = (*self._others, (callback, context))

    def cancel(self, msg: object = None) -> bool:
        """False: whichever task it is, it throws a CancelledError by itself as soon as it runs."""
        self._cancelled = True
        if self._carrier is not None:  # no step past the task
            self._others = (*self._others, (self._carrier, self._context))
            self._carrier = None
        self._loop.call_soon(self._run_others)
        return False

    result = staticmethod([].clear)  # None, without a frame


def _cancelled(outcome: Outcome, error: BaseException) -> bool:
    """Cancel what is awaited; answers whether there is nothing more to do but to see how it ends."""
    awaited, failure = outcome
    cancel = getattr(awaited, "cancel", None)
    return failure is not None or (cancel is not None and cancel(*error.args))
