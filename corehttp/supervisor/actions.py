"""Actions: what the plan wants done to the fleet. Data only. Pure."""

from dataclasses import dataclass

from corehttp.errors import ExitCode
from corehttp.ipc.messages import LeaveReason


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start a worker of the generation in the slot."""

    slot: int
    generation: int


@dataclass(frozen=True, slots=True)
class Leave:
    """Tell the worker to leave; one that is still starting ends at once."""

    worker: int
    why: LeaveReason


@dataclass(frozen=True, slots=True)
class Kill:
    """Send SIGKILL to the worker."""

    worker: int


@dataclass(frozen=True, slots=True)
class Dump:
    """Log what the worker, whose event loop is blocked, is stuck in."""

    worker: int


@dataclass(frozen=True, slots=True)
class RefuseConnections:
    """Let no new connection into the accept queues; what waits in them is still served."""


@dataclass(frozen=True, slots=True)
class Steer:
    """Let new connections reach the sockets of all slots but these."""

    away: frozenset[int]


@dataclass(frozen=True, slots=True)
class Rescue:
    """From now on give the connections that wait in these slots, which have no worker, to the workers of others."""

    slots: frozenset[int]


@dataclass(frozen=True, slots=True)
class OpenSlot:
    """Have sockets for the slot, beside those of the others."""

    slot: int


@dataclass(frozen=True, slots=True)
class CloseSlot:
    """Close the slot's sockets for good."""

    slot: int


@dataclass(frozen=True, slots=True)
class AbandonReload:
    """The generation cannot take over: the old one goes on."""

    generation: int


@dataclass(frozen=True, slots=True)
class FinishReload:
    """The generation has taken over."""

    generation: int


@dataclass(frozen=True, slots=True)
class LoadTemplate:
    """Start a process that loads the application of the generation."""

    generation: int


@dataclass(frozen=True, slots=True)
class RetireTemplate:
    """End a template that is needed no more, or does not become ready."""

    generation: int


@dataclass(frozen=True, slots=True)
class Exit:
    """End the supervisor with this exit code: nothing is left to be done."""

    code: ExitCode


Action = (
    Spawn
    | Leave
    | Kill
    | Dump
    | RefuseConnections
    | Steer
    | Rescue
    | OpenSlot
    | CloseSlot
    | AbandonReload
    | FinishReload
    | LoadTemplate
    | RetireTemplate
    | Exit
)
