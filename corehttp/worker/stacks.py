"""Writes the stacks of a worker's threads and tasks where the supervisor reads them, when SIGNAL comes."""

import asyncio
import contextlib
import faulthandler
import functools
import os
import signal
from collections.abc import Iterator
from types import FrameType

from corehttp.asgi import Unchecked
from corehttp.ipc.stack_area import SIGNAL, StackArea
from corehttp.text import printable

MOST_TASKS = 200  # how many tasks are told
DEEPEST = 50  # how many frames of each


def install(fd: int) -> None:
    """From now on write the stacks into the area of the scoreboard `fd` when SIGNAL comes; in the main thread only.

    The threads are told by faulthandler, even where the event loop is blocked or the interpreter is stuck in C. The
    tasks follow when the interpreter gets to it.
    """
    signal.signal(SIGNAL, functools.partial(_tell_tasks, StackArea(fd)))
    faulthandler.register(SIGNAL, file=fd, all_threads=True, chain=True)


def _tell_tasks(area: StackArea, signum: int, frame: FrameType | None) -> None:
    """Write the stacks of the tasks, and that this is all. Nothing is raised, since that would hit the application."""
    with contextlib.suppress(Exception):
        if area.is_asked(os.getpid()):
            with contextlib.suppress(Exception):
                area.write(tasks())
            area.finish(os.getpid())


def tasks() -> str:
    """Return the stacks of all tasks of the event loop that runs in this thread, the most recent call first."""
    try:
        found = sorted(asyncio.all_tasks(), key=lambda task: task.get_name())
    except RuntimeError:
        return "\nNo event loop runs.\n"
    told = [f"\nTasks: {len(found)}\n"]
    for task in found[:MOST_TASKS]:
        told.append(f"\nTask {printable(task.get_name())} (most recent call first):\n")
        told += [f"  {_line(frame)}\n" for frame in reversed(list(_frames(task.get_coro())))]
    return "".join(told)


def _frames(awaited: Unchecked) -> Iterator[FrameType]:
    """Yield the frames of a coroutine and of all that it waits for, the outermost first."""
    for _ in range(DEEPEST):
        frame = next((found for name in _FRAMES if (found := getattr(awaited, name, None)) is not None), None)
        if frame is None:
            return
        yield frame
        awaited = next((found for name in _AWAITED if (found := getattr(awaited, name, None)) is not None), None)


_FRAMES = ("cr_frame", "gi_frame", "ag_frame")
_AWAITED = ("cr_await", "gi_yieldfrom", "ag_await")


def _line(frame: FrameType) -> str:
    code = frame.f_code
    return printable(f'File "{code.co_filename}", line {frame.f_lineno} in {code.co_name}')
