"""Which workers have a blocked event loop at the moment: others accept the connections that wait for these."""

from corehttp.moments import NEVER
from corehttp.supervisor.events import LoopBlocked
from corehttp.supervisor.fleet import Stop
from corehttp.supervisor.service import Service

PAUSE = 0.1  # seconds between two looks at least, and until the next look at a worker that is blocked


class BlockedLoops:
    """Looks, as often as it takes, whether the event loop of a worker has not run for `rescue_after` seconds.

    Whether a signal or a debugger has stopped the worker makes no difference: clients need not wait for that either.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._next = 0.0  # when the next look is to be (seconds, monotonic)

    def due(self) -> float:
        """Return when the next look is to be (seconds, monotonic); NEVER while no worker could take over for another.

        A loop that has run at a moment cannot have been blocked for `rescue_after` seconds before that time is over.
        """
        fleet = self._service.fleet
        if fleet.stop is not Stop.NO or not fleet.limits.rescue_after or len(fleet.ready()) < 2:
            return NEVER
        return self._next

    def look(self) -> None:
        """Record which loops are blocked, if it is time for a look."""
        service, now = self._service, self._service.world.now()
        if self.due() > now:
            return
        after, oldest = service.fleet.limits.rescue_after, now
        for member in service.workers:
            worker = service.fleet.workers[member.worker]
            if not member.serves:
                continue
            ran_at = max(service.board.row(member.row).beaten_by(now), worker.since)
            if (blocked := now - ran_at >= after) is not worker.blocked:
                service.observe(LoopBlocked(member.worker, blocked))
            oldest = min(oldest, now if blocked else ran_at)
        any_blocked = any(worker.blocked for worker in service.fleet.workers.values())
        self._next = now + (PAUSE if any_blocked else max(PAUSE, oldest + after - now))
