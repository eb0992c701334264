"""The real world of the supervisor: a thin composition of its modules for processes, signals, descriptors, sockets."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator

from corehttp.chance import chance
from corehttp.forks import protect
from corehttp.ipc.balance import Load
from corehttp.log_rotation import Rotation
from corehttp.supervisor import processes
from corehttp.supervisor.leftovers import end_marked, left_by
from corehttp.supervisor.poller import Poller
from corehttp.supervisor.rescuer import ConnectionRescuer
from corehttp.supervisor.signals import SignalPipe
from corehttp.supervisor.slots import Slots


class OperatingSystem:
    """Implements `world.World`.

    `owns_process`: whether the process ends with the service, so that signals are ignored at its end and not handled as
    before.
    """

    def __init__(self, slots: Slots, *, owns_process: bool) -> None:
        self.slots = slots
        self.processes = processes
        self._poller = Poller()
        self._signals = SignalPipe(owns_process=owns_process)
        self.watch = self._poller.watch
        self.watch_channel = self._poller.watch_channel
        self.forget = self._poller.forget
        self.signals = self._signals.read
        self.now = time.monotonic
        self.wall_clock = time.time
        self.jitter = chance
        self.end_leftovers = end_marked
        self.left_by = left_by
        self.rotation = Rotation

    @property
    def pid(self) -> int:
        """The process id of this process."""
        return os.getpid()

    @property
    def parent(self) -> int:
        """The process id of the parent of this process."""
        return os.getppid()

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Receive signals while the context is entered; must be entered in the main thread."""
        # A program whose main thread runs the supervisor may fork in another one.
        unprotect = protect(lambda: [*self.slots.descriptors(), *self._poller.descriptors()], signals=True)
        with self._signals:
            self._poller.watch(self._signals.fileno(), lambda: None)
            try:
                yield
            finally:
                unprotect()

    def wait(self, seconds: float | None) -> list[tuple[int, Callable[[], object]]]:
        """Wait for a watched descriptor or a signal, and return what is ready."""
        # A millisecond more, since poll(2) counts whole ones: a deadline is over when it returns.
        return self._poller.wait(None if seconds is None else seconds * 1000 + 1)

    def rescuer(self, loads: Callable[[], list[Load]], keep_alive: Callable[[], float]) -> ConnectionRescuer:
        """Return what gives waiting connections to the workers in `loads()`."""
        return ConnectionRescuer(self.slots, self._poller, loads, keep_alive)
