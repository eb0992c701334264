"""Actions: what the plan wants done to the fleet, and for each the event that is recorded of it. Pure.

An action that makes something returns its event when it is performed (see `perform`), and `failed` is what is recorded
otherwise: it is tried again, with back-off. For any other action `done` is recorded, even if it has failed: what did
not come of it has a deadline of its own, as a worker has that could not be told to leave.
"""

from corehttp.errors import ExitCode
from corehttp.ipc.messages import LeaveReason
from corehttp.records import record
from corehttp.supervisor.events import (
    Appointed,
    Deposed,
    FleetEvent,
    LeadUntold,
    Refusing,
    ReloadAbandoned,
    ReloadFinished,
    Rescued,
    SlotClosed,
    SlotFailed,
    SpawnFailed,
    Steered,
    TemplateGone,
    TemplateRetired,
    ToldToLeave,
    WasDumped,
    WasKilled,
)


@record
class Spawn:
    """Start a worker of the generation in the slot."""

    slot: int
    generation: int

    def failed(self, jitter: float) -> SpawnFailed:
        """Return what is recorded if it has failed; `jitter` is a random number in [0, 1)."""
        return SpawnFailed(self.slot, self.generation, jitter)


@record
class Terminate:
    """Tell the worker to leave; one that is still starting ends at once."""

    worker: int
    why: LeaveReason

    def done(self) -> ToldToLeave:
        """Return what is recorded of it."""
        return ToldToLeave(self.worker, self.why)


@record
class Kill:
    """Send SIGKILL to the worker."""

    worker: int

    def done(self) -> WasKilled:
        """Return what is recorded of it."""
        return WasKilled(self.worker)


@record
class Dump:
    """Log what the worker, whose event loop is blocked, is stuck in."""

    worker: int

    def done(self) -> WasDumped:
        """Return what is recorded of it."""
        return WasDumped(self.worker)


@record
class RefuseConnections:
    """Let no new connection into the accept queues of the slots; connections that wait in them are still served."""

    def done(self) -> Refusing:
        """Return what is recorded of it."""
        return Refusing()


@record
class Steer:
    """Keep new connections away from the sockets of these slots; those of all others get them."""

    away: frozenset[int]

    def done(self) -> Steered:
        """Return what is recorded of it."""
        return Steered(self.away)


@record
class Rescue:
    """From now on give connections that wait in these slots, which have no worker, to the workers of other slots."""

    slots: frozenset[int]

    def done(self) -> Rescued:
        """Return what is recorded of it."""
        return Rescued(self.slots)


@record
class OpenSlot:
    """Bind listening sockets for the slot, beside those of the other slots."""

    slot: int

    def failed(self, jitter: float) -> SlotFailed:
        """Return what is recorded if it has failed; `jitter` is a random number in [0, 1)."""
        return SlotFailed(self.slot, jitter)


@record
class CloseSlot:
    """Close the listening sockets of the slot for good."""

    slot: int

    def done(self) -> SlotClosed:
        """Return what is recorded of it."""
        return SlotClosed(self.slot)


@record
class AbandonReload:
    """Give up a reload whose generation cannot take over: the one before serves on."""

    generation: int

    def done(self) -> ReloadAbandoned:
        """Return what is recorded of it."""
        return ReloadAbandoned(self.generation)


@record
class FinishReload:
    """Complete a reload: its generation has taken over."""

    generation: int

    def done(self) -> ReloadFinished:
        """Return what is recorded of it."""
        return ReloadFinished(self.generation)


@record
class LoadTemplate:
    """Start a process that loads the application of the generation."""

    generation: int

    def failed(self, jitter: float) -> TemplateGone:
        """Return what is recorded if it has failed; `jitter` is a random number in [0, 1)."""
        return TemplateGone(self.generation, jitter)


@record
class RetireTemplate:
    """End the template of the generation: it is not needed any more, or does not become ready."""

    generation: int

    def done(self) -> TemplateRetired:
        """Return what is recorded of it."""
        return TemplateRetired(self.generation)


@record
class Appoint:
    """Tell the worker that it leads."""

    worker: int

    def done(self) -> Appointed:
        """Return what is recorded of it."""
        return Appointed(self.worker)

    def failed(self, jitter: float) -> LeadUntold:
        """Return what is recorded if it has failed."""
        return LeadUntold(self.worker)


@record
class Depose:
    """Tell the worker, which leads, to step down."""

    worker: int

    def done(self) -> Deposed:
        """Return what is recorded of it."""
        return Deposed(self.worker)

    def failed(self, jitter: float) -> LeadUntold:
        """Return what is recorded if it has failed."""
        return LeadUntold(self.worker)


@record
class Exit:
    """End the supervisor with this exit code. The loop does so itself when it meets this action."""

    code: ExitCode


Making = Spawn | OpenSlot | LoadTemplate
Doing = (
    Terminate
    | Kill
    | Dump
    | RefuseConnections
    | Steer
    | Rescue
    | CloseSlot
    | AbandonReload
    | FinishReload
    | RetireTemplate
    | Appoint
    | Depose
)
Performable = Making | Doing
Action = Performable | Exit


def failed(action: Action, jitter: float) -> FleetEvent:
    """Return what is recorded of an action that has failed; `jitter` is a random number in [0, 1)."""
    match action:
        case Spawn() | OpenSlot() | LoadTemplate() | Appoint() | Depose():
            return action.failed(jitter)
        case Exit():
            raise AssertionError("the loop ends at Exit, which is not performed")
        case _:
            return action.done()
