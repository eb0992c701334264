"""The child that watches files for --reload: a process without the application, which says what has changed.

Each change leads to a reload, as if an operator had asked for it. If the child ends, another one is started, which also
tells what has changed in the meantime.
"""

import logging
from collections.abc import Callable
from functools import partial

from corehttp.ipc.message_stream import GarbledError
from corehttp.ipc.messages import Changed, WatchSince
from corehttp.moments import NEVER
from corehttp.records import record
from corehttp.shortage import shortage
from corehttp.supervisor.children import Child
from corehttp.supervisor.commands import Asked, Command
from corehttp.supervisor.deadlines import backoff
from corehttp.supervisor.fleet import Stop
from corehttp.supervisor.processes import WATCHER, describe_exit
from corehttp.supervisor.service import Service
from corehttp.supervisor.world import ChildChannel

logger = logging.getLogger("corehttp.supervisor")

# How many changes the child may tell before the supervisor has heard the first one, as while it is stopped (SIGSTOP).
UNHEARD = 64


@record
class _Watcher:
    """A child that runs."""

    pid: int
    channel: ChildChannel
    since: float  # when it was started (seconds, monotonic)

    def __str__(self) -> str:
        return f"the watcher (pid {self.pid})"


class FileWatch:
    """Keeps a watcher running from `begin` on, if the code is under development, and has a reload follow each change.

    `obey` carries out a command; its second argument says in the log how the command came in.
    """

    def __init__(self, service: Service, obey: Callable[[Asked, str], object]) -> None:
        self._service = service
        self._world = service.world
        self._obey = obey
        self._start_at = NEVER  # when to start a watcher (seconds, monotonic)
        self._failures = 0  # how many in a row have ended
        # The end of what is known (nanoseconds since the epoch): when the first watcher was started, then when the last
        # change was heard. What has changed later has not been told.
        self._known_until = 0

    def begin(self) -> None:
        """Have a watcher from the next `look` on."""
        if self._service.fleet.development:
            self._start_at = self._world.now()
            self._know()

    def due(self) -> float:
        """When `look` is to be called although nothing happens (seconds, monotonic)."""
        return self._start_at

    def look(self) -> None:
        """Start a watcher if it is time, unless the service ends."""
        if self._service.fleet.stop is not Stop.NO:
            self._start_at = NEVER
        if self._start_at <= self._world.now():
            self._start()

    def _start(self) -> None:
        """Start a watcher now; if there is no room for a process, have another attempt follow later."""
        service, processes = self._service, self._world.processes
        self._start_at = NEVER
        boot = service.generations.boot(service.fleet.generation)
        try:
            pid, channel = processes.spawn(WATCHER, "watcher")
        except OSError as error:
            self._start_later(f"files cannot be watched: {shortage(error)}")
            return
        watcher = _Watcher(pid, channel, self._world.now())
        for _ in range(UNHEARD):
            channel.expect(Changed)
        service.children.add(pid, Child(str(watcher), partial(self._ended, watcher), partial(processes.finish, pid)))
        self._world.watch_channel(channel, partial(self._hear, watcher))
        channel.send(boot)
        channel.send(WatchSince(self._known_until))
        logger.debug("%s started", watcher)

    def _start_later(self, why: str) -> None:
        """Say why there is no watcher, and start one after a while that grows with each failure in a row."""
        self._failures += 1
        seconds = backoff(self._failures + 1, self._service.fleet.limits, self._world.jitter())
        self._start_at = self._world.now() + seconds
        logger.warning("%s; another attempt follows in %.1f s", why, seconds)

    def _hear(self, watcher: _Watcher) -> None:
        """Obey what a watcher has sent, unless the service ends; kill one that has sent anything but changes."""
        try:
            received, gone = watcher.channel.receive()
        except GarbledError as error:
            self._service.kill_child(watcher.pid)
            self._service.distrust(str(watcher), watcher.channel, error)
            return
        for message in received:
            if isinstance(message, Changed):
                watcher.channel.expect(Changed)
                self._know()
                if self._service.fleet.stop is Stop.NO:
                    self._obey(Command.RELOAD, message.what)
        if gone:
            self._world.forget(watcher.channel.fileno())

    def _know(self) -> None:
        """Note that all changes until now are known."""
        self._known_until = int(self._world.wall_clock() * 1e9)

    def _ended(self, watcher: _Watcher, code: int) -> None:
        """Have another watcher follow one that has ended; `code` is its exit code, or minus the signal."""
        self._hear(watcher)  # its last words
        self._service.hang_up(watcher.channel)
        if self._service.fleet.stop is not Stop.NO:
            return
        if self._world.now() - watcher.since >= self._service.fleet.limits.good_life:
            self._failures = 0
        why = "so that no change is noticed until another one looks for what has changed since"
        self._start_later(f"{watcher} {describe_exit(code)}, {why}")
