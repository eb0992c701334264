"""Why a worker should be replaced: the requests it has served, its age, the memory it holds."""

import random
import resource

from corehttp.errors import StartupError

SAMPLES = 3  # in a row that memory must be over its limit: a peak is no leak


class Retirement:
    """Decides when one worker should be replaced; a limit of 0 means that there is none.

    Each worker draws a jitter of its own from `chance`, so that not all are due at once. Ages are in seconds, `max_rss`
    in bytes.
    """

    def __init__(
        self,
        *,
        max_requests: int = 0,
        max_requests_jitter: int = 0,
        max_age: float = 0.0,
        max_age_jitter: float = 0.0,
        max_rss: int = 0,
        chance: random.Random,
    ) -> None:
        self._requests = max_requests and max_requests + chance.randint(0, max_requests_jitter)
        self._age = max_age and max_age + chance.uniform(0, max_age_jitter)
        self._rss = max_rss
        self._over = 0
        self._said = False

    def cause(self, requests: int, age: float, rss: int) -> str | None:
        """Why the worker should go, said once; `age` in seconds, `rss` in bytes. To be asked about once a second."""
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
    """The resident memory of this process in bytes (proc(5), /proc/pid/statm); 0 if it cannot be seen."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        pass
    try:
        import psutil  # type: ignore[import-untyped]
    except ImportError:
        return 0
    size: int = psutil.Process().memory_info().rss
    return size
