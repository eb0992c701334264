"""Look after the workers about once a second: whose event loop runs, and who can be told nothing any more."""

from corehttp.supervisor.deadlines import NEVER
from corehttp.supervisor.events import Beat, RetireRequested
from corehttp.supervisor.fleet import Stop
from corehttp.supervisor.service import Service

INTERVAL = 1.0  # seconds between two health checks


class HealthChecks:
    """Health checks of the workers of a service, while there is something to look for."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._next = service.world.now() + INTERVAL

    def due(self) -> float:
        """When the next check is to be made (seconds, monotonic)."""
        service = self._service
        deaf = any(member.channel.lost and member.deaf_looks < 2 for member in service.workers)
        return self._next if deaf or service.orphans.paused or self._has_heartbeats() else NEVER

    def look(self) -> None:
        """Make a check, if it is time for one."""
        service, now = self._service, self._service.world.now()
        if now < self._next:
            return
        self._next = now + INTERVAL
        for member in service.workers.newly_deaf():
            cause = "nothing can be said to it over its channel any more"
            service.observe(RetireRequested(member.worker, cause))
        if service.orphans.paused:
            service.orphans.look_again()
        if self._has_heartbeats():
            self._read_heartbeats(now)

    def _has_heartbeats(self) -> bool:
        """Whether a worker is replaced whose event loop is blocked."""
        fleet = self._service.fleet
        return fleet.stop is Stop.NO and fleet.limits.healthcheck > 0

    def _read_heartbeats(self, now: float) -> None:
        """Record when the event loop of each worker ran last. One that a debugger has stopped is not blamed."""
        service = self._service
        for member in service.workers:
            if member.serves:
                beat = service.board.row(member.row).beaten_by(service.world.now())
                stopped = now - beat > INTERVAL and service.world.processes.is_stopped(member.pid)
                service.observe(Beat(member.worker, now if stopped else beat))
