"""A process that is started before there is a need of it, for code under development: it has all but the application.

An interpreter and the modules of this package take most of a worker's start. A spare one has them, and waits for its
boot message as any worker does. From a save to the answer of a small application: 190 ms, without it 430; uvicorn 460
and 410 in the same runs (`python -m benchmarks.saves`, CPython 3.13 on two busy CPUs).
"""

import logging
from functools import partial

from corehttp.supervisor.children import Child, Children
from corehttp.supervisor.fleet import Fleet, Stop, WorkerPhase
from corehttp.supervisor.processes import WORKER
from corehttp.supervisor.world import ChildChannel, World

logger = logging.getLogger("corehttp.supervisor")


class Spare:
    """At most one spare process, which `take` gives away."""

    def __init__(self, world: World, fleet: Fleet, children: Children) -> None:
        self._world = world
        self._fleet = fleet
        self._children = children
        self._process: tuple[int, ChildChannel] | None = None
        self._made_for = 0  # the last generation after whose start one was made, so that one that dies makes no loop

    def look(self, title: str) -> None:
        """Start a spare process when the newest code under development serves, or cannot start.

        `title` is what `ps` shows for it. Raises OSError if there is no room for one.
        """
        fleet = self._fleet
        starting = any(worker.phase is WorkerPhase.STARTING for worker in fleet.workers.values())
        busy = starting or fleet.rollout is not None
        settled = fleet.development and fleet.stop is Stop.NO and not busy and (fleet.broken or fleet.ready())
        if not settled or self._process is not None or self._made_for == fleet.latest:
            return
        self._made_for = fleet.latest
        self._process = self._world.processes.spawn(WORKER, title)
        pid = self._process[0]
        end = partial(self._world.processes.finish, pid)
        self._children.add(pid, Child(f"a spare process (pid {pid})", self._ended, end))

    def take(self) -> tuple[int, ChildChannel] | None:
        """Return the process id and the channel of the spare process, and forget it; None if there is none."""
        taken, self._process = self._process, None
        return taken

    def _ended(self, code: int) -> None:
        """Forget a spare process that has ended; `code` is its exit code, or minus the signal."""
        if self._process is not None:
            logger.debug("a spare process (pid %d) has ended (%d)", self._process[0], code)
            self._process[1].close()
            self._process = None
