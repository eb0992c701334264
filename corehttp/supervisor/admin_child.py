"""The admin child: a process without the application, which tells clients of `--admin` how the service is.

It listens on the sockets of the supervisor, which keeps them while children come and go, and asks over its channel what
operators ask over the control socket. It may change nothing. If it ends, or asks nothing any more, it is replaced.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import partial
from typing import Protocol

from corehttp.ipc import messages
from corehttp.ipc.message_stream import GarbledError
from corehttp.ipc.messages import Answer, Ask, Leave, LeaveReason, Seat
from corehttp.moments import NEVER
from corehttp.records import mutable_record, replaced
from corehttp.shortage import shortage
from corehttp.supervisor.children import Child
from corehttp.supervisor.deadlines import backoff
from corehttp.supervisor.operator import Operator
from corehttp.supervisor.processes import ADMIN, describe_exit
from corehttp.supervisor.service import Service
from corehttp.supervisor.world import ChildChannel

logger = logging.getLogger("corehttp.supervisor")

ASKS = 4  # how many answers the child may wait for at once
START_SECONDS = 60.0  # seconds in which it must be ready
SILENT_SECONDS = 30.0  # seconds after which a child that has asked nothing is replaced; it asks about once a second


class AdminPoint(Protocol):
    """The listening sockets of the admin listener, of which there is one set for all admin children."""

    @property
    def urls(self) -> str:
        """Where clients find the admin listener, for a log line."""

    def fds(self) -> Sequence[int]:
        """The descriptors."""

    def lend(self, lent: bool) -> None:
        """Record whether another supervisor has the sockets too. While it has, the path of a unix socket is its."""

    def close(self) -> None:
        """Close the sockets, and remove the path of a unix socket."""


class _Phase(Enum):
    """Where an admin child is in its life."""

    STARTING = "starting"
    SERVING = "serving"
    LEAVING = "leaving"  # a supervisor that takes over has its own


@mutable_record
class _Running:
    """An admin child that runs. Times are in seconds, monotonic."""

    pid: int
    channel: ChildChannel
    phase: _Phase
    since: float
    heard_at: float  # when it has last said something

    def __str__(self) -> str:
        return f"the admin child (pid {self.pid})"


class AdminChild:
    """Keeps an admin child running from `begin` on. `hear` answers an operator.

    `point` is None where there is to be no admin listener; then nothing ever happens.
    """

    def __init__(self, service: Service, name: str, point: AdminPoint | None, hear: Callable[[Operator], None]) -> None:
        self._service = service
        self._world = service.world
        self._name = name
        self._point = point
        self._hear_operator = hear
        self._running: _Running | None = None
        self._start_at = NEVER  # when to start one (seconds, monotonic)
        self._failures = 0  # how many in a row have ended

    def begin(self) -> None:
        """Have an admin child from the next `look` on, so that workers are started before it."""
        if self._point is not None and self._running is None:
            self._point.lend(False)
            self._start_at = self._world.now()

    def due(self) -> float:
        """When `look` is to be called although nothing happens (seconds, monotonic)."""
        return min(self._start_at, self._late_at())

    def look(self) -> None:
        """Start a child if it is time, end one that is late, and let it leave when a new supervisor has taken over."""
        now = self._world.now()
        if self._service.upgrade.succeeded:
            self._hand_on()
        if self._start_at <= now:
            self._start()
        if self._running is not None and self._late_at() <= now:
            self._look_at_late(self._running, now)

    def reopen_logs(self) -> None:
        """Have a child that serves open its log file anew, after somebody has renamed it."""
        child = self._running
        if child is not None and child.phase is _Phase.SERVING and child.channel.lost is None:
            child.channel.send(messages.Reopen())

    def end(self) -> None:
        """Close the sockets. The child itself is ended as all children are."""
        self._start_at = NEVER
        if self._point is not None:
            self._point.close()

    def _late_at(self) -> float:
        """When the child is late if it says nothing until then."""
        child = self._running
        if child is None:
            return NEVER
        match child.phase:
            case _Phase.STARTING:
                return child.since + START_SECONDS
            case _Phase.SERVING | _Phase.LEAVING:
                return child.heard_at + SILENT_SECONDS

    def _look_at_late(self, child: _Running, now: float) -> None:
        if self._world.processes.is_stopped(child.pid):
            child.since = child.heard_at = now  # a signal or a debugger has stopped it, so that it is not to blame
            return
        late = "is not ready" if child.phase is _Phase.STARTING else "has said nothing"
        logger.error("%s %s for %.0f s: it is killed", child, late, now - max(child.since, child.heard_at))
        child.heard_at = child.since = now
        self._world.processes.kill(child.pid)

    def _start(self) -> None:
        assert self._point is not None
        service, now = self._service, self._world.now()
        self._start_at = NEVER
        fds = self._point.fds()
        boot = replaced(service.generations.boot(service.fleet.generation), seat=Seat(0, 0, (0,) * len(fds), True))
        try:
            pid, channel = self._world.processes.spawn(ADMIN, f"admin of {self._name}")
        except OSError as error:
            self._start_later(f"the admin child cannot be started: {shortage(error)}")
            return
        self._running = child = _Running(pid, channel, _Phase.STARTING, now, now)
        for _ in range(ASKS):
            channel.expect(Ask)
        self._service.children.add(pid, Child(str(child), partial(self._ended, child), partial(self._finish, child)))
        self._world.watch_channel(channel, partial(self._hear, child))
        channel.send(boot, [*fds, service.board.fd])
        logger.debug("%s started", child)

    def _start_later(self, why: str) -> None:
        """Say why there is no child, and start one after a while that grows with each failure in a row."""
        self._failures += 1
        seconds = backoff(self._failures, self._service.fleet.limits, self._world.jitter())
        self._start_at = self._world.now() + seconds
        logger.error("%s: %s", why, f"another one starts in {seconds:.1f} s" if seconds else "another one starts")

    def _hear(self, child: _Running) -> None:
        try:
            received, gone = child.channel.receive()
        except GarbledError as error:
            self._service.kill_child(child.pid)
            self._service.distrust(str(child), child.channel, error)
            return
        child.heard_at = self._world.now()
        for message in received:
            match message:
                case messages.Ready() if child.phase is _Phase.STARTING:
                    self._serves(child)
                case messages.StartFailed(text, traceback):
                    logger.error("the admin child: %s%s", text, f"\n{traceback.rstrip()}" if traceback else "")
                case Ask() if not self._service.upgrade.succeeded:
                    self._hear_operator(_Inquiry(child.channel, message))
                case _:
                    pass  # what only other children have reason to say
        if gone:
            self._world.forget(child.channel.fileno())

    def _serves(self, child: _Running) -> None:
        assert self._point is not None
        child.phase, child.since = _Phase.SERVING, self._world.now()
        logger.info("the admin listener serves on %s (pid %d)", self._point.urls, child.pid)

    def _hand_on(self) -> None:
        """Let the child leave, since the supervisor that has taken over has another one on the same sockets."""
        if self._point is None:
            return
        self._start_at = NEVER
        self._point.lend(True)
        child = self._running
        if child is not None and child.phase is not _Phase.LEAVING:
            if child.phase is _Phase.STARTING or not child.channel.send(Leave(LeaveReason.REPLACED)):
                self._world.processes.kill(child.pid)
            child.phase = _Phase.LEAVING

    def _finish(self, child: _Running) -> None:
        """End the child with the supervisor. One that leaves answers those whom it has taken in, and ends by itself."""
        if child.phase is not _Phase.LEAVING:
            self._world.processes.finish(child.pid)

    def _ended(self, child: _Running, code: int) -> None:
        self._hear(child)  # its last words
        self._service.hang_up(child.channel)
        self._running = None
        if child.phase is _Phase.LEAVING:
            return
        limits = self._service.fleet.limits
        if child.phase is _Phase.SERVING and self._world.now() - child.since >= limits.good_life:
            self._failures = 0
        self._start_later(f"{child} {describe_exit(code)}")


class _Inquiry:
    """What the admin child asks. Implements `operator.Operator`."""

    def __init__(self, channel: ChildChannel, ask: Ask) -> None:
        self._channel = channel
        self._number = ask.number
        self._answered = False
        self.verb = ask.verb
        self.arguments: Mapping[str, object] = ask.arguments
        self.who = "the admin child"

    @property
    def gone(self) -> bool:
        """Whether the child has ended, or has its answer."""
        return self._answered or self._channel.fileno() < 0

    def may(self, *, change: bool) -> bool:
        """Whether it may: it looks at the service, and changes nothing."""
        return not change

    def progress(self, content: Mapping[str, object]) -> None:
        """Tell nothing, since nothing that takes a while may be asked."""

    def result(self, content: Mapping[str, object]) -> None:
        """Send the answer."""
        try:
            self._answer(content)
        except ValueError:
            self._answer({"fault": "failed", "reason": "the answer is too large"})

    def refuse(self, fault: str, reason: str) -> None:
        """Send why there is no answer."""
        self._answer({"fault": fault, "reason": reason})

    def _answer(self, content: Mapping[str, object]) -> None:
        if not self.gone:
            self._channel.send(Answer(self._number, dict(content)))
            self._answered = True
            self._channel.expect(Ask)
