"""What the admin child is told of its service: the status, and what probes and the dashboard need beside it."""

from corehttp.records import values
from corehttp.supervisor import status
from corehttp.supervisor.fleet import WorkerPhase
from corehttp.supervisor.operator import JSONObject
from corehttp.supervisor.service import Service

LONGEST_TEXT = 500  # characters of what is told of an event


def overview(service: Service, name: str) -> JSONObject:
    """Return the status of a service, the seconds that its event loops are blocked, limits, and the last events."""
    fleet = service.fleet
    config = service.generations.config(fleet.generation)
    return {
        "status": status.status(service, name),
        "complete": fleet.booted,
        "silent": _silent(service),
        "ready_min_workers": config.ready_min_workers,
        "healthcheck": fleet.limits.healthcheck,
        "events": [
            {**values(event), "at": status.moment(event.at), "text": event.text[:LONGEST_TEXT]}
            for event in service.history.events
        ],
    }


def _silent(service: Service) -> list[float]:
    """Return for each worker that serves, or hangs, how long its event loop has not run (seconds).

    A worker that a signal or a debugger has stopped is left out.
    """
    now, found = service.world.now(), list[float]()
    for member in service.workers:
        record = service.fleet.workers[member.worker]
        if record.phase is WorkerPhase.READY or record.hung_at is not None:
            seconds = now - max(service.board.row(member.row).beaten_by(now), record.beat, record.since)
            if seconds < status.BLOCKED_AFTER or not service.world.processes.is_stopped(member.pid):
                found.append(round(max(0.0, seconds), 3))
    return found
