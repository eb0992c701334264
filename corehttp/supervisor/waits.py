"""What an operator waits for after a change was begun: how far it has come, and how it has ended. Pure."""

from collections.abc import Mapping
from typing import Protocol

from corehttp.records import record
from corehttp.supervisor.fleet import Fleet, Stop, WorkerPhase
from corehttp.supervisor.history import History
from corehttp.text import counted


@record
class Progress:
    """How many workers are as they are to be, out of how many."""

    ready: int
    of: int
    text: str


@record
class Done:
    """What was waited for has come."""

    text: str


@record
class Failed:
    """What was waited for does not come."""

    reason: str


class Wait(Protocol):
    """One change that goes on. Neither method changes anything."""

    def progress(self, fleet: Fleet) -> Progress:
        """How far it has come."""

    def outcome(self, fleet: Fleet, history: History) -> Done | Failed | None:
        """How it has ended; None while it goes on."""


@record
class ReloadWait:
    """A reload that is to bring in this generation."""

    generation: int

    def progress(self, fleet: Fleet) -> Progress:
        """Count the slots with a worker of the generation that serves."""
        ready = {w.slot for w in fleet.ready() if w.generation == self.generation and w.slot < fleet.size}
        text = f"{len(ready)} of {fleet.size} are of generation {self.generation}"
        return Progress(len(ready), fleet.size, text)

    def outcome(self, fleet: Fleet, history: History) -> Done | Failed | None:
        """Say what the history says of the generation."""
        reload = history.reload
        if reload is None or reload.generation != self.generation:
            return Failed("another reload has begun")
        if reload.ended_at is None:
            return _stopping(fleet)
        return Done(f"all workers are of generation {self.generation}") if reload.ok else Failed(reload.reason)


@record
class ScaleWait:
    """A fleet that is to have this size. A failure since `since` (seconds, monotonic) ends the wait."""

    size: int
    since: float

    def progress(self, fleet: Fleet) -> Progress:
        """Count the wanted slots whose worker serves."""
        ready = sum(bool(fleet.ready(slot)) for slot in range(self.size))
        extra = len({worker.slot for worker in fleet.workers.values() if worker.slot >= self.size})
        text = f"{ready} of {self.size} serve" + (f", {extra} to leave" if extra else "")
        return Progress(ready, self.size, text)

    def outcome(self, fleet: Fleet, history: History) -> Done | Failed | None:
        """Say whether the fleet has come to the size."""
        if (stopping := _stopping(fleet)) is not None:
            return stopping
        if fleet.size != self.size:
            return Failed(f"the number of workers was changed again, to {fleet.size}")
        missing = [slot for slot in range(self.size) if not fleet.ready(slot)]
        for slot in missing:
            if (failure := _failure(fleet, history, slot, self.since)) is not None:
                return failure
        extra = any(worker.slot >= self.size for worker in fleet.workers.values())
        return None if missing or extra else Done(counted(self.size, "worker"))


@record
class RestartWait:
    """The workers with these numbers are to be replaced, each in its slot. `since` as in ScaleWait."""

    slots: Mapping[int, int]  # the slot of each worker, by the worker's number
    since: float

    def progress(self, fleet: Fleet) -> Progress:
        """Count those that are replaced."""
        ready = sum(_is_replaced(fleet, worker, slot) for worker, slot in self.slots.items())
        return Progress(ready, len(self.slots), f"{ready} of {len(self.slots)} are replaced")

    def outcome(self, fleet: Fleet, history: History) -> Done | Failed | None:
        """Say whether all are replaced, or one cannot be."""
        if (stopping := _stopping(fleet)) is not None:
            return stopping
        left = [slot for worker, slot in self.slots.items() if not _is_replaced(fleet, worker, slot)]
        for slot in left:
            if slot >= fleet.size:
                return Failed(f"worker {slot + 1} is not wanted any more")
            if (failure := _failure(fleet, history, slot, self.since)) is not None:
                return failure
        return None if left else Done(f"{counted(len(self.slots), 'worker')} replaced")


def _is_replaced(fleet: Fleet, worker: int, slot: int) -> bool:
    """Whether a worker has stopped accepting and another one of its slot accepts."""
    record = fleet.workers.get(worker)
    left = record is None or record.phase not in (WorkerPhase.STARTING, WorkerPhase.READY)
    return left and any(other.id != worker for other in fleet.ready(slot))


def _failure(fleet: Fleet, history: History, slot: int, since: float) -> Failed | None:
    """Say so if a worker of the slot, or a start there, has failed since."""
    if slot >= len(fleet.slots) or not fleet.slots[slot].failures or fleet.slots[slot].failed_at < since:
        return None
    last = history.exits.get(slot)
    how = f" ({last.status})" if last is not None else ""
    return Failed(f"worker {slot + 1} cannot be started{how}; the log says why. The service tries it again")


def _stopping(fleet: Fleet) -> Failed | None:
    return Failed("the service stops") if fleet.stop is not Stop.NO else None
