"""The state of a service as operators see it: what `corehttp status --json` shows, but for what the kernel tells."""

from datetime import UTC, datetime

from corehttp.ipc.counters import Counters
from corehttp.ipc.scoreboard import Row
from corehttp.ipc.tls_area import read_ends
from corehttp.supervisor.fleet import Fleet, Stop, WorkerPhase, WorkerRecord
from corehttp.supervisor.operator import JSONObject
from corehttp.supervisor.service import Service
from corehttp.supervisor.workers import Member
from corehttp.version import __version__

BLOCKED_AFTER = 1.5  # seconds without a heartbeat, after which a worker counts as blocked; it has four a second


def status(service: Service, name: str) -> JSONObject:
    """Return everything about the service; figures that nobody counts are None."""
    fleet, history = service.fleet, service.history
    members = sorted(service.workers, key=lambda member: (member.slot, member.generation))
    listeners = service.slots.listeners()
    reload = history.reload
    ended = reload is not None and reload.ended_at is not None
    return {
        "name": name,
        "pid": service.world.pid,
        "version": __version__,
        "state": state_of(fleet),
        "started_at": moment(history.started_at),
        "generation": fleet.generation,
        "target": fleet.size,
        "listeners": [{"address": address, "backlog": waiting} for address, waiting in listeners],
        "admin": service.admin_urls or None,
        "certificates": _certificates(service) or None,
        "reloads": sum(history.reloads.values()),
        "last_reload": {
            "at": moment(reload.ended_at or reload.began_at),
            "ok": reload.ok if ended else None,
            "reason": reload.reason,
        }
        if reload is not None
        else None,
        "workers": [_worker(service, member) for member in members],
    }


def _certificates(service: Service) -> list[JSONObject]:
    """Return when the certificates end that workers serve, by the paths of their files; of old and new, the old one."""
    ends = dict[str, int]()
    for member in service.workers:
        paths = service.generations.config(member.generation).ssl_certfile
        if paths and service.fleet.workers[member.worker].phase is WorkerPhase.READY:
            claim = int(service.board.row(member.row).claim)
            for path, end in zip(paths, read_ends(service.board.fd, member.row, claim), strict=False):
                ends[path] = min(end, ends.get(path, end))
    now = service.world.wall_clock()
    return [{"path": path, "not_after": moment(end), "days": int((end - now) // 86400)} for path, end in ends.items()]


def summary(service: Service, name: str) -> JSONObject:
    """Return the little that tells this service from others."""
    listeners = service.slots.listeners()
    return {
        "name": name,
        "pid": service.world.pid,
        "version": __version__,
        "state": state_of(service.fleet),
        "addresses": [address for address, _ in listeners],
    }


def requests(service: Service, slot: int | None) -> list[JSONObject]:
    """Return the requests that have not ended, of one slot or of all; times in seconds."""
    now = service.world.now()
    return [
        {
            "slot": member.slot + 1,
            "pid": member.pid or None,
            "method": request.method,
            "path": request.path,
            "age": round(request.age, 3),
            "state": "running" if request.running else "waiting",
        }
        for member in sorted(service.workers, key=lambda member: member.slot)
        if slot in (None, member.slot)
        for request in service.board.row(member.row).in_flight(now)
    ]


def state_of(fleet: Fleet) -> str:
    """Return the state of the whole service in a word."""
    if fleet.stop is not Stop.NO:
        return "stopping"
    if not fleet.booted:
        return "starting"
    return "serving" if fleet.rollout is None else "reloading"


def _worker(service: Service, member: Member) -> JSONObject:
    """Return everything about a worker; figures that nobody counts are None."""
    history, row, now = service.history, service.board.row(member.row), service.world.now()
    record = service.fleet.workers[member.worker]
    rate, ended = history.requests_per_second(member.worker), history.exits.get(member.slot)
    recent, seconds = history.recent(member.worker) or (Counters(), 0.0)
    return {
        "slot": member.slot + 1,
        "pid": member.pid or None,
        "generation": member.generation,
        "state": _worker_state(service, record, member, row),
        "leader": service.fleet.leader == member.worker,
        "started_at": moment(history.began_at(member.worker)),
        "cpu_percent": None,
        "rss_bytes": None,
        "connections": int(row.connections),
        "websockets": int(row.websockets),
        "in_flight": len(row.in_flight(now)),
        "requests": int(row.requests),
        "requests_per_second": None if rate is None else round(rate, 1),
        "errors": row.counters.errors,
        "errors_per_second": round(recent.errors / seconds, 1) if seconds else None,
        "p50_ms": _milliseconds(recent.duration.quantile(0.5)),
        "p99_ms": _milliseconds(recent.duration.quantile(0.99)),
        "lag_ms": _milliseconds(row.late(now)),
        "starts": history.starts[member.slot],
        "last_exit": ended and {"cause": ended.cause, "status": ended.status, "at": moment(ended.at)},
    }


def _worker_state(service: Service, record: WorkerRecord, member: Member, row: Row) -> str:
    """Return the state of a worker in a word."""
    match record.phase:
        case WorkerPhase.STARTING:
            return "starting"
        case WorkerPhase.DRAINING | WorkerPhase.CLOSING | WorkerPhase.KILLED:
            return "leaving"
        case WorkerPhase.READY:
            now = service.world.now()
            late = now - max(row.beaten_by(now), record.since) > BLOCKED_AFTER
            if late and service.world.processes.is_stopped(member.pid):
                return "paused"
            return "blocked" if late or record.hung_at is not None else "serving"


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 2)


def moment(at: float | None) -> str | None:
    """Return a wall-clock time as in RFC 3339."""
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
