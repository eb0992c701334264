"""How a failure ends one act alone: it is logged, and the supervisor goes on."""

import logging
from collections.abc import Callable

from corehttp.shortage import shortage

logger = logging.getLogger("corehttp.supervisor")


def survived(what: str, act: Callable[[], object]) -> bool:
    """Call `act`, and log what it raises as a failure of `what`. Returns whether it raised nothing."""
    try:
        act()
    except OSError as error:
        logger.error("%s has failed: %s", what, shortage(error))
    except Exception:
        logger.exception("%s has failed", what)
    else:
        return True
    return False
