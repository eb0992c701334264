"""Tasks that run applications: how one is started and cancelled, and whether somebody has cancelled it."""

import asyncio
import inspect
import sys
from collections.abc import Callable, Coroutine
from functools import partial

TaskStarter = Callable[[Coroutine[object, object, None]], asyncio.Task[None]]


def task_starter(loop: asyncio.AbstractEventLoop) -> TaskStarter:
    """Return a function that starts a coroutine as a task: at once from Python 3.12 on, else in `loop`'s next turn.

    The task has a copy of the context variables of the caller (see `WorkerContext.fresh`). An application that is
    started at once and does not wait ends without a turn of the loop. A partial object takes a tenth less time than a
    function that calls Task with keywords.
    """
    if sys.version_info >= (3, 12):
        return partial(asyncio.Task, loop=loop, eager_start=True)
    return partial(asyncio.Task, loop=loop)


def cancel_begun(task: asyncio.Task[None]) -> None:
    """Cancel a task of `task_starter`, once its coroutine has begun.

    Before Python 3.12 it may not have begun; then it is cancelled in the loop's next turn. If it were cancelled at
    once, its coroutine would never run, not even the part that notes its end.
    """
    coroutine = task.get_coro()
    if inspect.iscoroutine(coroutine) and inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED:
        task.get_loop().call_soon(cancel_begun, task)
    else:
        task.cancel()


def nobody_cancels() -> bool:
    """Whether nobody has cancelled the running task; a CancelledError was then raised by the application itself."""
    task = asyncio.current_task()
    return task is not None and not task.cancelling()
