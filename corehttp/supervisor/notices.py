"""What a service manager is told of a service, and when (sd_notify(3)). Pure: no clock, no socket."""

from enum import Enum

from corehttp.moments import NEVER
from corehttp.records import record
from corehttp.supervisor.fleet import Fleet, Stop
from corehttp.text import counted

STATUS_EVERY = 10.0  # seconds between two status lines that differ in numbers alone
EXTEND_EVERY = 5.0  # seconds of a stop between two requests for more time
EXTENSION = 15  # seconds that each of them asks for; the manager ends a service that asks no more


class ServiceState(Enum):
    """Where a service is in its life, as a service manager sees it."""

    STARTING = "starting"
    SERVING = "serving"
    RELOADING = "reloading"
    STOPPING = "stopping"
    LEFT = "left"  # a new supervisor serves in its place, and speaks for the service


@record
class ServiceFigures:
    """What a status line tells beside the fleet."""

    connections: int  # open connections of all workers
    successor: int  # the process id of the supervisor that has taken over from this one; 0 if none has


class Notices:
    """Decides what is told. `pid` is the supervisor's process id, `watchdog` the seconds between two signs of life.

    Each text has a line for each assignment of sd_notify(3); an empty one is not to be sent. All times are in seconds,
    monotonic.
    """

    def __init__(self, pid: int, watchdog: float = NEVER) -> None:
        self._pid = pid
        self._watchdog = watchdog
        self._state: ServiceState | None = None  # what was told last; None if nothing was
        self._status = ""  # the status line that was told last
        self._ping_at = self._status_at = 0.0
        self._extend_at = NEVER

    def reload_asked(self, now: float) -> str:
        """Return what to tell when a reload is asked for, also one that is going to be refused.

        systemd waits for it after it has sent SIGHUP (systemd.service(5), Type=notify-reload).
        """
        if self._state not in (ServiceState.SERVING, ServiceState.RELOADING):
            return ""
        self._state = ServiceState.RELOADING
        return f"RELOADING=1\nMONOTONIC_USEC={int(now * 1e6)}"

    def next(self, fleet: Fleet, figures: ServiceFigures, now: float) -> str:
        """Return what to tell now, and record that it is told."""
        if self._state is ServiceState.LEFT:
            return ""
        state = _state(fleet, figures)
        lines = [] if state is self._state else self._announced(state, figures, now)
        if state is not ServiceState.LEFT:
            lines += self._signs_of_life(now)
            lines += self._told_status(_status(state, fleet, figures), now, at_once=state is not self._state)
        self._state = state
        return "\n".join(lines)

    def due(self) -> float:
        """When `next` is to be asked again if nothing happens."""
        return NEVER if self._state is ServiceState.LEFT else min(self._ping_at, self._status_at, self._extend_at)

    def _announced(self, state: ServiceState, figures: ServiceFigures, now: float) -> list[str]:
        """Return what tells that the service has come to another state."""
        match state:
            case ServiceState.STARTING:
                return []
            case ServiceState.SERVING:
                return ["READY=1", f"MAINPID={self._pid}"]
            case ServiceState.RELOADING:
                return self.reload_asked(now).splitlines()
            case ServiceState.STOPPING:
                self._extend_at = now
                return ["STOPPING=1"]
            case ServiceState.LEFT:
                # Only the main process may name another one, unless NotifyAccess= allows more.
                return [f"MAINPID={figures.successor}"]

    def _signs_of_life(self, now: float) -> list[str]:
        """Return what tells that the supervisor runs, if it is time for that."""
        lines: list[str] = []
        if self._watchdog != NEVER and self._ping_at <= now:
            lines.append("WATCHDOG=1")
        if self._ping_at <= now:
            self._ping_at = now + self._watchdog
        if self._extend_at <= now:
            self._extend_at = now + EXTEND_EVERY
            lines.append(f"EXTEND_TIMEOUT_USEC={EXTENSION * 1_000_000}")
        return lines

    def _told_status(self, status: str, now: float, *, at_once: bool) -> list[str]:
        """Return the status line, if it is time for that and it is another one."""
        if not at_once and now < self._status_at:
            return []
        self._status_at = now + STATUS_EVERY
        if status == self._status:
            return []
        self._status = status
        return [f"STATUS={status}"]


def _state(fleet: Fleet, figures: ServiceFigures) -> ServiceState:
    if figures.successor:
        return ServiceState.LEFT
    if fleet.stop is not Stop.NO:
        return ServiceState.STOPPING
    if not fleet.booted:
        return ServiceState.STARTING
    return ServiceState.SERVING if fleet.rollout is None else ServiceState.RELOADING


def _status(state: ServiceState, fleet: Fleet, figures: ServiceFigures) -> str:
    """Return a line with numbers for `systemctl status`."""
    connections = counted(figures.connections, "open connection")
    ready = len(fleet.ready())
    match state:
        case ServiceState.STARTING:
            return f"Starting: {ready} of {fleet.size} workers ready"
        case ServiceState.RELOADING:
            new = sum(worker.generation == fleet.wanted_generation for worker in fleet.ready())
            return f"Reloading: {new} of {fleet.size} workers are new, {connections}"
        case ServiceState.STOPPING:
            return f"Stopping: {counted(len(fleet.workers), 'worker')} left, {connections}"
        case ServiceState.SERVING | ServiceState.LEFT:
            return f"Serving: {ready} of {fleet.size} workers ready, {connections}"
