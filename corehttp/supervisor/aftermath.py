"""What is done after a worker has died: what its application has left running is ended.

A pool of processes whose worker was killed would wait for work for ever, and a program that the application runs beside
each worker would run twice once the worker has a successor.
"""

from collections.abc import Collection
from typing import Protocol

from corehttp.moments import NEVER
from corehttp.supervisor.children import Children
from corehttp.supervisor.leftovers import GRACE
from corehttp.supervisor.world import Leftovers, World

SELF = 3.0  # seconds that a process has to end by itself once its worker has died: it may finish what it does
AGAIN = 1.0  # seconds until the next look while a template has not said yet which processes it has forked


class Workers(Protocol):
    """What is asked of the workers."""

    def unforked(self) -> Collection[object]:
        """Return the workers that their template was asked to fork and has not forked yet."""


class Aftermath:
    """Ends what workers have left running that have died. Nothing waits for it."""

    def __init__(self, world: World, children: Children, workers: Workers) -> None:
        self._world = world
        self._children = children
        self._workers = workers
        self._died: dict[int, float] = {}  # by the pid of each worker: when to look for what it has left
        self._ending: list[tuple[float, Leftovers]] = []  # what was told to end, and when it is to be killed

    def due(self) -> float:
        """Return when something is to be done (seconds, monotonic); NEVER if nothing is."""
        return min((*self._died.values(), *(due for due, _ in self._ending)), default=NEVER)

    def worker_died(self, pid: int) -> None:
        """Note that a worker has ended in another way than by itself."""
        self._died[pid] = self._world.now() + SELF

    def look(self) -> None:
        """Tell what dead workers have left to end, and kill what has not done so, as far as either is due."""
        now = self._world.now()
        if now < self.due():
            return
        for pid in [pid for pid, due in self._died.items() if due <= now]:
            # What a template has forked and not told yet would be taken for something that was left.
            if self._workers.unforked():
                self._died[pid] = now + AGAIN
            else:
                del self._died[pid]
                self._terminate(pid, now)
        for ending in [ending for ending in self._ending if ending[0] <= now]:
            self._ending.remove(ending)
            ending[1].kill()
            ending[1].close()

    def end(self) -> None:
        """Forget everything: what still runs ends with the service."""
        self._died.clear()
        while self._ending:
            self._ending.pop()[1].close()

    def _terminate(self, pid: int, now: float) -> None:
        """Tell what this worker has left running to end."""
        found = self._world.left_by(pid, self._children.pids())
        if found:
            found.terminate()
            self._ending.append((now + GRACE, found))
        else:
            found.close()
