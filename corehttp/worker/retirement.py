"""Why a worker should be replaced: the requests it has served, its age, the memory it holds."""

import mmap
from collections.abc import Callable

from corehttp.errors import StartupError

SAMPLES = 3  # how often in a row the memory must be over its limit, since a peak is no leak


class Retirement:
    """Decides when one worker should be replaced; a limit of 0 means that there is none.

    Each worker draws a jitter of its own, so that not all are due at once: `chance` returns a random number in [0, 1).
    Ages are in seconds, `max_rss` is in bytes.
    """

    def __init__(
        self,
        *,
        max_requests: int = 0,
        max_requests_jitter: int = 0,
        max_age: float = 0.0,
        max_age_jitter: float = 0.0,
        max_rss: int = 0,
        chance: Callable[[], float],
    ) -> None:
        self._requests = max_requests and max_requests + int(chance() * (max_requests_jitter + 1))
        self._age = max_age and max_age + chance() * max_age_jitter
        self._rss = max_rss
        self._over = 0
        self._said = False

    def cause(self, requests: int, age: float, rss: int) -> str | None:
        """Return why the worker should be replaced, the first time that it should; else None.

        To be called about once a second, with the requests that the worker has begun, its `age` in seconds, and its
        resident memory `rss` in bytes.
        """
        self._over = self._over + 1 if self._rss and rss > self._rss else 0
        if self._said:
            return None
        found = None
        if self._requests and requests >= self._requests:
            found = f"it has begun {requests} requests (--limit-max-requests)"
        elif self._age and age >= self._age:
            found = f"it is {age:.0f} s old (--worker-max-age)"
        elif self._over >= SAMPLES:
            found = f"it holds {rss / 2**20:.0f} MiB of memory (--worker-max-rss)"
        self._said = found is not None
        return found


def check_rss() -> None:
    """Raise StartupError if the memory of this process cannot be seen."""
    if rss() == 0:
        raise StartupError("worker-max-rss: the memory of a process cannot be seen here; pip install psutil")


def rss() -> int:
    """Return the resident memory of this process in bytes (proc(5), /proc/pid/statm); 0 if it is not known."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * mmap.PAGESIZE
    except OSError:
        pass
    try:
        import psutil  # type: ignore[import-untyped]
    except ImportError:
        return 0
    size: int = psutil.Process().memory_info().rss
    return size
