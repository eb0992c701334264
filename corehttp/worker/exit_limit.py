"""The end of a process of the server: what the application registered for it runs, within a limit.

After the service has ended, the interpreter cancels the tasks that are left, joins the threads that are no daemons and
calls the exit handlers (`asyncio.Runner`, `threading`, `atexit` in the library reference). None of that has a limit of
its own.
"""

import asyncio
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Collection
from types import FrameType

from corehttp.errors import ExitCode
from corehttp.logs import flush
from corehttp.text import printable

logger = logging.getLogger("corehttp.error")

LAST_WORDS = 5.0  # seconds that the log line, what is done last and the flush of the standard streams may take
NAMED = 5  # threads whose stack is logged


def limit_exit(seconds: float, code: int, last: Callable[[], object] = flush) -> None:
    """From now on the process has so many seconds to end by itself; then it ends with `code`, and says what still ran.

    `last` is called before that, and must not take longer than LAST_WORDS.
    Both threads are made now: at the end of the interpreter no thread can be started any more (Python 3.12).
    """
    for delay, act, arguments in (
        (seconds, _cut, (seconds, code, last)),
        # Where nobody reads the log, the thread that writes it never returns.
        (seconds + LAST_WORDS, os._exit, (code,)),
    ):
        timer = threading.Timer(delay, act, arguments)
        timer.daemon = True
        timer.start()


def hold_signals(
    loop: asyncio.AbstractEventLoop, numbers: Collection[signal.Signals], forced: Collection[signal.Signals] = ()
) -> None:
    """Let these signals, of which one was obeyed, end nothing any more, but for the `forced`: they end it all at once.

    To be called in the loop that has handled them, which would give them back their default action when it is closed.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    for number in numbers:
        loop.remove_signal_handler(number)
        if signal.getsignal(number) is signal.SIG_IGN:
            continue  # SIGHUP, by nohup(1)
        signal.signal(number, _leave_at_once if number in forced else _carry_on)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def still_running() -> str:
    """The threads that keep the process from ending, each with its stack, for a log line."""
    frames = sys._current_frames()
    main = threading.main_thread()
    others = [t for t in threading.enumerate() if t is not main and not t.daemon and t.ident in frames]
    # The main thread waits for the others; only without any is it itself what takes so long.
    named = [f"the thread {printable(t.name)!r} in\n{_stack(frames[t.ident or 0])}" for t in others[:NAMED]]
    if len(others) > NAMED:
        named.append(f"{len(others) - NAMED} more threads")
    if not others and main.ident in frames:
        named.append(f"the main thread in\n{_stack(frames[main.ident])}")
    return "\nand ".join(named)


def _cut(seconds: float, code: int, last: Callable[[], object]) -> None:
    try:
        logger.warning("cut at the end of --timeout-exit (%g s): %s", seconds, still_running())
        last()
        flush()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    finally:
        os._exit(code)


def _stack(frame: FrameType) -> str:
    return "".join(traceback.format_stack(frame)).rstrip()


def _carry_on(signum: int, frame: FrameType | None) -> None:
    """Not SIG_IGN, which the programs that the application starts would inherit."""


def _leave_at_once(signum: int, frame: FrameType | None) -> None:
    logger.warning("%s: leaving at once", "interrupted again" if signum == signal.SIGINT else "SIGQUIT")
    flush()
    os._exit(ExitCode.FORCED)
