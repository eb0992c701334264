"""Whether a life leaves something for the garbage collector: it must not (house rule R9)."""

import gc
import logging
from collections.abc import Awaitable, Callable


async def leaves_nothing(live: Callable[[], Awaitable[object]]) -> None:
    """Live twice; fails if the second time something is left that only the garbage collector frees."""
    logger = logging.getLogger("corehttp.error")
    logger.disabled = True  # a record that is kept would keep its exception, whose traceback holds the connection
    try:
        await live()
        gc.collect()
        gc.freeze()  # what there is already would only take time, now and in the tests that follow
        gc.disable()
        await live()
        assert gc.collect() == 0
    finally:
        gc.enable()
        logger.disabled = False
