"""Health checks: whose event loop runs, who can be told nothing any more, and whether the supervisor itself is late."""

import logging

from corehttp.moments import NEVER
from corehttp.supervisor.blocked_loops import BlockedLoops
from corehttp.supervisor.events import Beat, RetireRequested, WasLate
from corehttp.supervisor.fleet import Stop
from corehttp.supervisor.service import Service

logger = logging.getLogger("corehttp.supervisor")

INTERVAL = 1.0  # seconds between two health checks
LATE = 2.0  # seconds that the supervisor may wake up too late before nobody is blamed for that time


class HealthChecks:
    """Looks after the workers of a service once a second, while there is something to look for."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._next = service.world.now() + INTERVAL
        self._blocked_loops = BlockedLoops(service)

    def due(self) -> float:
        """Return when the next check is to be made (seconds, monotonic); NEVER if there is nothing to look for."""
        return min(self._check_due(), self._blocked_loops.due())

    def _check_due(self) -> float:
        service = self._service
        deaf = any(member.channel.lost and member.deaf_looks < 2 for member in service.workers)
        return self._next if deaf or service.rescuer.paused or self._has_heartbeats() else NEVER

    def woke(self, deadline: float) -> None:
        """Note that the supervisor runs again, which was to wait until `deadline` at most (seconds, monotonic)."""
        late = self._service.world.now() - deadline
        if late > LATE:
            logger.warning("the supervisor was held up for %.1f s: no worker is blamed for that time", late)
            self._service.observe(WasLate(late))

    def look(self) -> None:
        """Make the checks for which it is time."""
        self._blocked_loops.look()
        service, now = self._service, self._service.world.now()
        if now < self._next:
            return
        self._next = now + INTERVAL
        for member in service.workers.newly_deaf():
            cause = "nothing can be said to it over its channel any more"
            service.observe(RetireRequested(member.worker, cause))
        if service.rescuer.paused:
            service.rescuer.look_again()
        if self._has_heartbeats():
            self._read_heartbeats(now)

    def _has_heartbeats(self) -> bool:
        """Whether a worker whose event loop is blocked would be replaced now."""
        fleet = self._service.fleet
        return fleet.stop is Stop.NO and fleet.limits.healthcheck > 0

    def _read_heartbeats(self, now: float) -> None:
        """Record when the event loop of each worker ran last. One that a debugger has stopped is not blamed."""
        service = self._service
        for member in service.workers:
            if member.serves:
                row = service.board.row(member.row)
                service.history.count(member.worker, row.requests, now, row.raw_counters)
                beat = row.beaten_by(service.world.now())
                stopped = now - beat > INTERVAL and service.world.processes.is_stopped(member.pid)
                service.observe(Beat(member.worker, now if stopped else beat))
