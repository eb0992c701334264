"""Moments: times in seconds, by the monotonic clock; and how long to wait after failures. Pure."""

BEAT = 0.25  # seconds between two times that a worker shows that its event loop runs
NEVER = float("inf")  # the time of what does not come, such as the deadline of what may take as long as it likes


def doubling(failures: int, first: float, cap: float, jitter: float) -> float:
    """Return how many seconds to wait after so many failures in a row, 1 or more.

    It is `first`, then twice as long each time, and at most `cap`; `jitter` in [0, 1) makes it up to a quarter longer.
    """
    return min(cap, first * 2.0 ** min(failures - 1, 16)) * (1 + jitter / 4)
