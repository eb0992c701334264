"""Which CPUs the server and the load generator run on: apart, so that neither takes the other's time."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Placement:
    server: frozenset[int]
    load: frozenset[int]

    def __str__(self) -> str:
        return f"servers on CPU {_numbers(self.server)}, load generator on CPU {_numbers(self.load)}"


def place(workers: int) -> Placement:
    """One CPU for each worker, the rest for the load generator; if there is no rest, it shares all of them."""
    cpus = sorted(os.sched_getaffinity(0))
    return Placement(frozenset(cpus[:workers]), frozenset(cpus[workers:] or cpus))


@contextmanager
def pinned(cpus: frozenset[int]) -> Iterator[None]:
    """Whatever is started inside runs on `cpus`: a child inherits the affinity of its parent."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _numbers(cpus: frozenset[int]) -> str:
    return ",".join(map(str, sorted(cpus)))
