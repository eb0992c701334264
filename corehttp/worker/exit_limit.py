"""The end of a process of the server: what the application registered for its exit runs, within a limit.

After the service has ended, the interpreter cancels the tasks that are left, joins the threads that are not daemons and
calls the exit handlers (`asyncio.Runner`, `threading`, `atexit` in the library reference). None of these steps has a
time limit of its own.
"""

import asyncio
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Collection
from types import FrameType

from corehttp.asgi import Unchecked
from corehttp.errors import ExitCode
from corehttp.logs import flush
from corehttp.text import printable
from corehttp.worker import on_windows

logger = logging.getLogger("corehttp.error")

LAST_WORDS = 5.0  # seconds that the log line, `last` and the flush of the standard streams may take
NAMED = 5  # the most threads whose stacks are logged
CHILDREN = 1.0  # seconds that children of multiprocessing have to end, once they were told to at the cut


def begin_exit(
    loop: asyncio.AbstractEventLoop,
    seconds: float,
    code: int,
    last: Callable[[], object],
    *,
    obeyed: Collection[signal.Signals],
    forced: Collection[signal.Signals] = (),
) -> None:
    """Let this process end by itself with `code`, now that its service has ended; to be called in its event loop.

    The `obeyed` signals, which the loop has handled so far, end nothing any more, except the `forced` ones among them:
    they end the process at once. `seconds` and `last` are those of `limit_exit`.
    """
    _hold_signals(loop, obeyed, forced)
    limit_exit(seconds, code, last)


def limit_exit(seconds: float, code: int, last: Callable[[], object] = flush) -> None:
    """End this process with `code` after `seconds`, unless it has ended by itself; a log line says what still ran.

    `last` is called before that end, and must take no longer than LAST_WORDS.
    """
    # Both threads are made now: while the interpreter ends, none can be started any more (Python 3.12).
    for delay, act, arguments in (
        (seconds, _cut, (seconds, code, last)),
        # The first thread never returns from writing its log line if nobody reads the log.
        (seconds + LAST_WORDS, os._exit, (code,)),
    ):
        timer = threading.Timer(delay, act, arguments)
        timer.daemon = True
        timer.start()


def _hold_signals(
    loop: asyncio.AbstractEventLoop, numbers: Collection[signal.Signals], forced: Collection[signal.Signals]
) -> None:
    """Let these signals do nothing, except the `forced` ones, which end the process at once.

    Without this, the `loop` that has handled them would give them back their default action when it is closed.
    """
    with on_windows.blocked(numbers):
        for number in numbers:
            on_windows.unheed(loop, number)
            if signal.getsignal(number) is signal.SIG_IGN:
                continue  # SIGHUP under nohup(1)
            signal.signal(number, _leave_at_once if number in forced else _carry_on)


def still_running() -> str:
    """Return the threads that keep the process from ending, each with its stack, for a log line."""
    frames = sys._current_frames()
    main = threading.main_thread()
    others = [t for t in threading.enumerate() if t is not main and not t.daemon and t.ident in frames]
    # The main thread waits for the others. Only where there are none is it the one that takes so long.
    named = [f"the thread {printable(t.name)!r} in\n{_stack(frames[t.ident or 0])}" for t in others[:NAMED]]
    if len(others) > NAMED:
        named.append(f"{len(others) - NAMED} more threads")
    if not others and main.ident in frames:
        named.append(f"the main thread in\n{_stack(frames[main.ident])}")
    return "\nand ".join(named)


def _cut(seconds: float, code: int, last: Callable[[], object]) -> None:
    try:
        logger.warning("cut at the end of --timeout-exit (%g s): %s", seconds, still_running())
        _end_children()
        last()
        flush()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    finally:
        os._exit(code)


def _end_children() -> None:
    """End the processes that multiprocessing runs for this one: with SIGTERM, and SIGKILL after CHILDREN seconds.

    The processes of a pool would wait for work for ever once this one has ended.
    """
    module = sys.modules.get("multiprocessing.process")
    children: list[Unchecked] = [] if module is None else module.active_children()
    for child in children:
        child.terminate()
    deadline = time.monotonic() + CHILDREN
    for child in children:
        child.join(max(0.0, deadline - time.monotonic()))
    for child in children:
        child.kill()


def _stack(frame: FrameType) -> str:
    return "".join(traceback.format_stack(frame)).rstrip()


def _carry_on(signum: int, frame: FrameType | None) -> None:
    """Do nothing, as SIG_IGN would; but that would be inherited by the programs that the application starts."""


def _leave_at_once(signum: int, frame: FrameType | None) -> None:
    logger.warning("%s: leaving at once", "interrupted again" if signum == signal.SIGINT else "SIGQUIT")
    flush()
    os._exit(ExitCode.FORCED)
