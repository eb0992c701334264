"""The event loop of a process."""

import asyncio
import os
from collections.abc import Callable
from contextlib import ExitStack

from corehttp.errors import StartupError
from corehttp.shortage import shortage
from corehttp.worker.on_windows import new_event_loop

LoopFactory = Callable[[], asyncio.AbstractEventLoop]

# As many files as a loop has open when it runs: 5 with asyncio, 9 with uvloop 0.23.
LOOP_FILES = 10


def loop_factory(name: str) -> LoopFactory:
    """Return what makes the event loop that the option `loop` names.

    Raises StartupError if the loop's package is not installed. What is returned raises StartupError if it is called
    when the process has no descriptor left.
    """
    make = new_event_loop
    if name != "asyncio":
        try:
            import uvloop

            make = uvloop.new_event_loop
        except ImportError as error:
            if name == "uvloop":
                raise StartupError("loop uvloop: the package uvloop is not installed") from error

    def new_loop() -> asyncio.AbstractEventLoop:
        try:
            check_room(LOOP_FILES)
            return make()
        except OSError as error:
            raise StartupError(f"there can be no event loop: {shortage(error)}") from error

    return new_loop


def check_room(files: int) -> None:
    """Raise OSError unless this process can open so many files more; `files` is even.

    A loop of uvloop opens the last of its files when it begins to run. If there is none left, it cannot even be closed,
    and all that is told is an internal error. One of asyncio that was made by half complains when it is freed.
    """
    with ExitStack() as opened:
        for _ in range(files // 2):
            for end in os.pipe():
                opened.callback(os.close, end)
