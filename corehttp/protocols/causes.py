"""Tells whether an application has failed because its client has left, or by a fault of its own."""

from collections.abc import Iterator

from corehttp.errors import ClientDisconnectedError

MAX_CAUSES = 1000  # how many exceptions are looked at to find out why an application has failed
MAX_DEPTH = 20  # how deep groups in groups are looked at


def stems_from_disconnect(error: BaseException) -> bool:
    """Whether `error` is a ClientDisconnectedError, or was raised because of one, as by a framework that wraps it.

    A group stems from a disconnect if all its members do. A chain of causes may have any length, cycles
    (`raise error from error`) and groups in groups; the answer is False if the first MAX_CAUSES exceptions do not tell.
    """
    return _stems(error, iter(range(MAX_CAUSES)), 0)


def _stems(error: BaseException | None, budget: Iterator[int], depth: int) -> bool:
    """Answer for `error`, at `depth` groups within the first one; each exception takes one element of `budget`."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen and next(budget, None) is not None:
        if isinstance(error, ClientDisconnectedError):
            return True
        if (
            isinstance(error, BaseExceptionGroup)
            and depth < MAX_DEPTH
            and all(_stems(member, budget, depth + 1) for member in error.exceptions)
        ):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False
