"""What an event loop has caught: exceptions of callbacks, and of tasks that nobody has asked for their result."""

import asyncio
import logging
from typing import Any

from corehttp.text import shown

logger = logging.getLogger("corehttp.error")

_TRACEBACKS = ("source_traceback", "handle_traceback")  # where it was made, in asyncio's debug mode: lists of frames


def report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """An exception handler (`loop.set_exception_handler`) that leaves it to asyncio, unless nobody would hear of it.

    The logger `asyncio` writes to standard error by itself where nobody configures logging, and waits for its reader;
    an application that configures logging has most often disabled it. In both cases the server says it. A task that
    wants to exit is not reported: SystemExit comes out of the loop, and is told where it arrives.
    """
    if "future" in context and isinstance(context.get("exception"), SystemExit | KeyboardInterrupt):
        return
    theirs = logging.getLogger("asyncio")
    if theirs.hasHandlers() and not theirs.disabled and theirs.isEnabledFor(logging.ERROR):
        loop.default_exception_handler(context)
        return
    about = [str(context.get("message") or "unhandled exception in the event loop")]
    about += [
        f"{key}: {shown(value)}"
        for key, value in sorted(context.items())
        if key not in ("message", "exception", *_TRACEBACKS)
    ]
    logger.error("%s", "\n".join(about), exc_info=context.get("exception"))
