"""The tasks that run applications: how they are started, how one is cancelled, and whether one was."""

import asyncio
import inspect
import sys
from collections.abc import Callable, Coroutine
from functools import partial

TaskStarter = Callable[[Coroutine[object, object, None]], asyncio.Task[None]]


def task_starter(loop: asyncio.AbstractEventLoop) -> TaskStarter:
    """What starts a task in `loop`: at once where Python can (3.12), else at the loop's next turn.

    The task has a copy of the context variables of whoever starts it: see `WorkerContext.fresh`.
    Started at once, what does not wait ends without a turn of the loop. A partial with all arguments bound saves a
    tenth of the time that a call with keywords takes.
    """
    if sys.version_info >= (3, 12):
        return partial(asyncio.Task, loop=loop, eager_start=True)
    return partial(asyncio.Task, loop=loop)


def cancel_begun(task: asyncio.Task[None]) -> None:
    """Cancel a task of `task_starter`, at the loop's next turn if it has not begun (before Python 3.12).

    Cancelled before that, its coroutine would never run: neither the part of it that notes its end.
    """
    coroutine = task.get_coro()
    if inspect.iscoroutine(coroutine) and inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED:
        task.get_loop().call_soon(cancel_begun, task)
    else:
        task.cancel()


def nobody_cancels() -> bool:
    """Whether nobody has cancelled the task that runs: a CancelledError in it is then the application's own."""
    task = asyncio.current_task()
    return task is not None and not task.cancelling()
