"""Which worker takes a connection, and how many connections a worker should pass on. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

# Where nothing else evens the workers out (`--spread kernel`), one passes connections on only if it has more than SHARE
# times the mean and SLACK more, so that none moves to and fro.
SHARE = 1.25
SLACK = 2
AT_ONCE = 64  # the most connections that a worker passes on at once, since other workers do the same meanwhile


class Load(NamedTuple):
    """How many connections a worker has and may have. A tuple, since many are made while connections come."""

    slot: int  # the number of the worker's slot
    connections: int  # how many are open
    limit: int = 0  # the most that it takes; 0: no limit
    alive: bool = True  # whether it accepts connections, and its event loop runs
    running: int = 0  # how many requests wait for something, and have not ended
    reported: float = 0.0  # what its application says of itself: 0 for idle, 1 for a worker that is to get nothing new

    @property
    def full(self) -> bool:
        """Whether the worker has stopped taking connections."""
        return bool(self.limit) and self.connections >= self.limit

    @property
    def able(self) -> bool:
        """Whether the worker can take one more connection."""
        return self.alive and not self.full and self.reported < 1

    @property
    def order(self) -> tuple[int, int, float]:
        """What sorts workers by how loaded they are: by connections, equal ones by what they have to do."""
        return self.connections, self.running, self.reported

    def plus(self, more: int) -> "Load":
        """Return the load of a worker that has `more` connections than this one."""
        return Load(self.slot, self.connections + more, self.limit, self.alive, self.running, self.reported)


def target(others: Sequence[Load], own_slot: int) -> int | None:
    """Return the slot of the worker with the fewest connections that can take one more; None if there is none.

    Of workers with as many it is the one with the fewest requests that run. Of equal ones it is the one in the next
    slot after `own_slot`, so that several workers which ask at the same time do not all choose the same.
    """
    able = [load for load in others if load.able]
    if not able:
        return None
    slots = 1 + max(own_slot, *(load.slot for load in able))
    return min(able, key=lambda load: (load.order, (load.slot - own_slot - 1) % slots)).slot


def excess(others: Sequence[Load], own: int) -> int:
    """Return how many of its `own` connections a worker should pass on, so that all workers have about as many."""
    able = [load for load in others if load.able]
    mean = (own + sum(load.connections for load in able)) / (1 + len(able))
    if not able or own <= mean * SHARE + SLACK:
        return 0
    return min(AT_ONCE, int(own - mean))


def transfers(others: Sequence[Load], own_slot: int, own: int) -> list[tuple[int, int]]:
    """Return how many of its `own` connections a worker should pass on to which slots, until none has two more.

    The answer is this worker's part of one plan for all of them, which moves as few connections as possible. Workers
    that ask at the same time, and see the same numbers, get parts of the same plan, so that they do not all give to the
    one that has the fewest. Where they see older numbers they still come to an even state, with more moves
    (`tests/ipc/test_balance.py` has the bounds).
    """
    able = sorted([*(load for load in others if load.able), Load(own_slot, own)], key=lambda load: load.slot)
    wanted = _even(able)
    if own <= wanted[own_slot]:
        return []
    # The surplus of each worker fills the gaps of the others in the order of the slots. That of slots before this one
    # fills the first gaps.
    filled = sum(max(0, load.connections - wanted[load.slot]) for load in able if load.slot < own_slot)
    surplus = min(AT_ONCE, own - wanted[own_slot])
    parts: list[tuple[int, int]] = []
    for load in able:
        gap = _gap(load, wanted[load.slot])
        passed = min(filled, gap)
        part = min(gap - passed, surplus)
        filled, surplus = filled - passed, surplus - part
        if part:
            parts.append((load.slot, part))
    return parts


def _even(loads: Sequence[Load]) -> dict[int, int]:
    """Return how many connections each slot has when all have as many; those with the most now have one more if any."""
    each, rest = divmod(sum(load.connections for load in loads), len(loads))
    order = sorted(loads, key=lambda load: (-load.connections, load.slot))
    return {load.slot: each + (place < rest) for place, load in enumerate(order)}


def _gap(load: Load, wanted: int) -> int:
    """Return how many connections a worker lacks that is to have so many, as far as its limit allows."""
    most = min(wanted, load.limit) if load.limit else wanted
    return max(0, most - load.connections)
