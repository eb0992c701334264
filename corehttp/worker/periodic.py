"""Work that is done again and again: a fault ends one run of it and nothing else, and is logged once."""

import logging
from collections.abc import Callable

logger = logging.getLogger("corehttp.error")

MOST_REPORTS = 16  # the most faults of one task that are logged in the life of a worker


class Faults:
    """Logs the faults of one task, with a traceback; faults of one type from one line of code are logged once."""

    __slots__ = ("_known", "_what")

    def __init__(self, what: str) -> None:
        """`what` names the task in the log line, in the middle of a sentence."""
        self._what = what
        self._known: set[tuple[type, str, int]] = set()

    def attempt(self, act: Callable[..., object], *arguments: object) -> bool:
        """Call `act` and return True; if it raises an Exception, report that and return False."""
        try:
            act(*arguments)
        except Exception as error:
            self.report(error)
            return False
        return True

    def report(self, error: Exception) -> None:
        """Log `error` unless one like it was logged before."""
        kind = (type(error), *_place(error))
        if kind not in self._known and len(self._known) < MOST_REPORTS:
            self._known.add(kind)
            logger.error("%s failed; it goes on, and this fault is not reported again", self._what, exc_info=error)


class Periodic:
    """Calls `work` when it is called itself, and reports what `work` raises instead of raising it."""

    __slots__ = ("_faults", "_work")

    def __init__(self, what: str, work: Callable[..., object]) -> None:
        """`what` names the task in the log line, in the middle of a sentence."""
        self._faults = Faults(what)
        self._work = work

    def __call__(self, *arguments: object) -> None:
        """Do the work once; what it raises is logged, and not raised."""
        self._faults.attempt(self._work, *arguments)


def _place(error: Exception) -> tuple[str, int]:
    """Return the file and line in which `error` was raised."""
    link = error.__traceback__
    if link is None:
        return "", 0
    while link.tb_next is not None:
        link = link.tb_next
    return link.tb_frame.f_code.co_filename, link.tb_lineno
