"""Who takes a connection, and how many are too many in one place. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

SLACK = 2  # connections more than its share that a worker keeps, so that nothing moves to and fro
SHARE = 1.25  # of the mean, likewise
AT_ONCE = 64  # connections passed on at one look: others look too


@dataclass(frozen=True, slots=True)
class Load:
    """How a worker is doing."""

    slot: int
    connections: int
    limit: int = 0  # of its connections; 0: none
    alive: bool = True  # it serves, and its event loop runs

    @property
    def full(self) -> bool:
        return bool(self.limit) and self.connections >= self.limit


def target(others: Sequence[Load], own_slot: int) -> int | None:
    """The slot of the worker with the fewest connections that can take one more; None if there is none.

    Of equals the next one after our own slot, so that several who ask do not all choose the same.
    """
    able = [load for load in others if load.alive and not load.full]
    if not able:
        return None
    slots = 1 + max(own_slot, *(load.slot for load in able))
    return min(able, key=lambda load: (load.connections, (load.slot - own_slot - 1) % slots)).slot


def excess(others: Sequence[Load], own: int) -> int:
    """How many of its `own` connections a worker should pass on, so that all have about as many."""
    able = [load for load in others if load.alive and not load.full]
    mean = (own + sum(load.connections for load in able)) / (1 + len(able))
    if not able or own <= mean * SHARE + SLACK:
        return 0
    return min(AT_ONCE, int(own - mean))
