"""Which CPUs the server and the load generator run on: apart, so that neither takes the other's time."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Placement:
    """The CPUs of the servers and those of the load generator."""

    server: frozenset[int]
    load: frozenset[int]

    @property
    def is_shared(self) -> bool:
        """Whether the load generator takes its time from CPUs of the servers."""
        return not self.load.isdisjoint(self.server)

    def __str__(self) -> str:
        return f"servers on CPU {_numbers(self.server)}, load generator on CPU {_numbers(self.load)}"


def place(workers: int) -> Placement:
    """Give each worker a CPU and the load generator the rest, or all of them where there is no rest."""
    cpus = sorted(os.sched_getaffinity(0))
    return Placement(frozenset(cpus[:workers]), frozenset(cpus[workers:] or cpus))


@contextmanager
def pinned(cpus: frozenset[int]) -> Iterator[None]:
    """Let what this thread starts inside run on `cpus`, since a child inherits the affinity of its parent."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _numbers(cpus: frozenset[int]) -> str:
    return ",".join(map(str, sorted(cpus)))
