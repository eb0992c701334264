"""Which worker leads. Pure: no clock, no process, no socket.

At most one worker leads at any time: another one is appointed only when the last leader has said that it has stepped
down, or has ended.
"""

from corehttp.supervisor.actions import Action, Appoint, Depose
from corehttp.supervisor.fleet import Fleet, WorkerRecord


def appointments(fleet: Fleet, now: float) -> list[Action]:
    """Return what has the rightful worker lead; `now` in seconds, monotonic. Asking twice gives the same answer."""
    if now < fleet.appoint_from:
        return []
    rightful = _rightful(fleet)
    if fleet.leader is not None:
        stays = fleet.deposed or (rightful is not None and rightful.id == fleet.leader)
        return [] if stays else [Depose(fleet.leader)]
    if rightful is None or fleet.has_elder or fleet.handed_on:
        return []
    return [Appoint(rightful.id)]


def _rightful(fleet: Fleet) -> WorkerRecord | None:
    """Return the worker that should lead: of the newest generation that serves, the one that has served longest."""
    return min(fleet.ready(), key=lambda worker: (-worker.generation, worker.since, worker.id), default=None)
