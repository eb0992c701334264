"""What this process is in its service: which worker, of which generation, and whether it leads.

Without a supervisor there is one worker, number 1, which leads.
"""

import asyncio
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from corehttp.ipc.mailbox import Mail


class Tenure(Protocol):
    """Something that runs only while this worker leads."""

    def end(self) -> None:
        """Begin to end, since the worker leads no more; `Membership.leave` follows. Any thread may call it."""


class Membership:
    """One worker's place in its service. Every thread may use it."""

    def __init__(
        self, worker: int = 1, generation: int = 1, number: int = 0, node: int = 0, *, leads: bool = True
    ) -> None:
        self.worker = worker  # the number of the worker, from 1, which its successor inherits
        self.generation = generation
        self.number = number  # the number of the process, which no other worker process of the service ever gets
        self.node = node  # tells the service from the same one on other machines; 0 without a supervisor
        self.leads = leads  # whether the worker leads
        self.process = os.getpid()  # a process that the application forks is none of the service
        self.mail: Mail | None = None  # the way to other workers; None where there are none
        self.loop: asyncio.AbstractEventLoop | None = None  # the event loop of the worker, in which `mail` is used
        self.report_load: Callable[[float], object] = lambda load: None  # makes it known how busy the application is
        self._lock = threading.Lock()
        self._tenures: set[Tenure] = set()
        self._watchers: list[Callable[[], object]] = []
        self._then: list[Callable[[], object]] = []  # what is to be called when nothing runs that needs the lead

    def watch(self, watcher: Callable[[], object]) -> Callable[[], None]:
        """Have `watcher` called, in any thread, whenever `leads` has changed; return what ends that."""
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)

    def appoint(self) -> None:
        """Record that this worker leads from now on."""
        with self._lock:
            self.leads = True
        self._tell()

    def depose(self, then: Callable[[], object] | None = None) -> None:
        """Record that this worker leads no more, end what runs because it did, and call `then` when all has ended."""
        with self._lock:
            self.leads = False
            ending = list(self._tenures)
            if then is not None:
                self._then.append(then)
        self._tell()
        for tenure in ending:
            tenure.end()
        self._see_whether_ended()

    def enter(self, tenure: Tenure) -> bool:
        """Begin something that runs only while this worker leads; returns False if it does not lead."""
        with self._lock:
            if self.leads:
                self._tenures.add(tenure)
            return self.leads

    def leave(self, tenure: Tenure) -> None:
        """Record that something has ended which `enter` has begun."""
        with self._lock:
            self._tenures.discard(tenure)
        self._see_whether_ended()

    def _see_whether_ended(self) -> None:
        """Call what waits for the end of all that needed the lead, if that has come."""
        with self._lock:
            if self.leads or self._tenures:
                return
            due, self._then = self._then, []
        for then in due:
            then()

    def _tell(self) -> None:
        for watcher in tuple(self._watchers):
            watcher()


current = Membership()


def become(worker: int, generation: int, number: int, node: int = 0) -> None:
    """Record that this process is a worker of a supervisor, which says later whether it leads."""
    global current
    current = Membership(worker, generation, number, node, leads=False)
