"""Report what an event loop has caught: exceptions of callbacks, and of tasks whose result was never retrieved."""

import asyncio
import logging
from typing import Any

from corehttp.text import shown

logger = logging.getLogger("corehttp.error")

# Entries of the context that only asyncio's debug mode makes, and that are lists of frames.
_TRACEBACKS = ("source_traceback", "handle_traceback")


def report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Report a fault, as an exception handler of the loop (`loop.set_exception_handler`).

    The logger `asyncio` gets it if it has a handler and is enabled. Otherwise the server's own logger does: without a
    handler the logger `asyncio` would wait for the reader of standard error, and most applications that configure
    logging disable it. SystemExit and KeyboardInterrupt of a task are not reported here, because they come out of the
    loop, and are told there.
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
