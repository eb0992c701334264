"""Work that is done again and again: a fault ends one run of it and nothing else, and is reported once."""

import logging
from collections.abc import Callable

logger = logging.getLogger("corehttp.error")

MOST_REPORTS = 16  # different faults of one task that are reported in the life of a worker


class Faults:
    """Reports the faults of one task: each with its traceback the first time, by where it was raised."""

    __slots__ = ("_known", "_what")

    def __init__(self, what: str) -> None:
        """`what` names the task in the log line, in the middle of a sentence."""
        self._what = what
        self._known: set[tuple[type, str, int]] = set()

    def attempt(self, act: Callable[..., object], *arguments: object) -> bool:
        """Call `act`; answers whether it has raised nothing. What it raises is reported, and raised no further."""
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
    """Calls `work`, and reports what it raises instead of raising it: whoever calls it goes on calling."""

    __slots__ = ("_faults", "_work")

    def __init__(self, what: str, work: Callable[..., object]) -> None:
        """`what` names the task in the log line, in the middle of a sentence."""
        self._faults = Faults(what)
        self._work = work

    def __call__(self, *arguments: object) -> None:
        self._faults.attempt(self._work, *arguments)


def _place(error: Exception) -> tuple[str, int]:
    """File and line in which `error` was raised."""
    link = error.__traceback__
    if link is None:
        return "", 0
    while link.tb_next is not None:
        link = link.tb_next
    return link.tb_frame.f_code.co_filename, link.tb_lineno
