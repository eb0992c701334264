"""Events: what has happened to the fleet, as the supervisor's loop tells it. Data only. Pure."""

from dataclasses import dataclass

from corehttp.ipc.messages import LeaveReason


@dataclass(frozen=True, slots=True)
class Spawned:
    """A process was started for a worker, or its template was asked to fork it."""

    worker: int
    slot: int
    generation: int


@dataclass(frozen=True, slots=True)
class SpawnFailed:
    """A worker could not be started. `worker` is the one that a template was to fork, None if it was not asked yet.

    `jitter` is a random number in [0, 1).
    """

    slot: int
    generation: int
    jitter: float
    worker: int | None = None


@dataclass(frozen=True, slots=True)
class BecameReady:
    """The worker serves from now on."""

    worker: int


@dataclass(frozen=True, slots=True)
class StoppedAccepting:
    """The worker has emptied its accept queue and closed its copy of the listening sockets."""

    worker: int


@dataclass(frozen=True, slots=True)
class Drained:
    """Nothing is in flight in the worker any more; its lifespan shutdown begins."""

    worker: int


@dataclass(frozen=True, slots=True)
class Told:
    """The worker was told to leave."""

    worker: int
    why: LeaveReason


@dataclass(frozen=True, slots=True)
class WasKilled:
    """SIGKILL was sent to the worker."""

    worker: int


@dataclass(frozen=True, slots=True)
class Exited:
    """The worker has ended; `code` is its exit code, or minus the signal. `jitter` is a random number in [0, 1)."""

    worker: int
    code: int
    jitter: float


@dataclass(frozen=True, slots=True)
class StopRequested:
    """Somebody wants everything to end, with what is in flight finished."""


@dataclass(frozen=True, slots=True)
class ForceRequested:
    """Somebody wants everything to end at once."""


@dataclass(frozen=True, slots=True)
class Refusing:
    """New connections are refused from now on."""


@dataclass(frozen=True, slots=True)
class SlotClosed:
    """The slot's sockets were closed."""

    slot: int


@dataclass(frozen=True, slots=True)
class SlotOpened:
    """The slot has new sockets."""

    slot: int


@dataclass(frozen=True, slots=True)
class SlotFailed:
    """The sockets of a slot could not be bound. `jitter` is a random number in [0, 1)."""

    slot: int
    jitter: float


@dataclass(frozen=True, slots=True)
class Steered:
    """New connections are kept from the sockets of these slots and no others, as far as the kernel does so."""

    away: frozenset[int]


@dataclass(frozen=True, slots=True)
class Rescued:
    """The connections that wait in these slots, and no others, are given to the workers of other slots."""

    slots: frozenset[int]


@dataclass(frozen=True, slots=True)
class ReloadRequested:
    """There is a new configuration, or new code: the next generation is to take over."""


@dataclass(frozen=True, slots=True)
class ReloadAbandoned:
    """The generation does not take over; the one before serves on."""

    generation: int


@dataclass(frozen=True, slots=True)
class ReloadFinished:
    """The generation has taken over."""

    generation: int


@dataclass(frozen=True, slots=True)
class UpgradeRequested:
    """A new supervisor is to be started that takes over. Nothing follows for this fleet until it has: see HandedOn."""


@dataclass(frozen=True, slots=True)
class Resized:
    """So many workers are wanted from now on; one, if `size` is less."""

    size: int


@dataclass(frozen=True, slots=True)
class RetireRequested:
    """The worker wants to be replaced."""

    worker: int
    cause: str


@dataclass(frozen=True, slots=True)
class Beat:
    """The worker's event loop ran at this time."""

    worker: int
    at: float


@dataclass(frozen=True, slots=True)
class WasLate:
    """The supervisor itself did not run for so many seconds, so no worker can be blamed for them."""

    seconds: float


@dataclass(frozen=True, slots=True)
class WasDumped:
    """The stacks of the worker, whose event loop is blocked, were logged."""

    worker: int


@dataclass(frozen=True, slots=True)
class HandedOn:
    """Another supervisor has taken over the sockets, so this one is to end without anybody noticing."""


@dataclass(frozen=True, slots=True)
class TemplateStarted:
    """A process was started that loads the application of the generation."""

    generation: int


@dataclass(frozen=True, slots=True)
class TemplateReady:
    """The template has loaded the application, and can fork workers."""

    generation: int


@dataclass(frozen=True, slots=True)
class TemplateRetired:
    """The template was ended, or told to end."""

    generation: int


@dataclass(frozen=True, slots=True)
class TemplateGone:
    """The template has ended, or could not be started. `jitter` is a random number in [0, 1)."""

    generation: int
    jitter: float


FleetEvent = (
    Spawned
    | SpawnFailed
    | BecameReady
    | StoppedAccepting
    | Drained
    | Told
    | WasKilled
    | Exited
    | StopRequested
    | ForceRequested
    | Refusing
    | SlotClosed
    | SlotOpened
    | SlotFailed
    | Steered
    | Rescued
    | ReloadRequested
    | ReloadAbandoned
    | ReloadFinished
    | UpgradeRequested
    | Resized
    | RetireRequested
    | Beat
    | WasLate
    | WasDumped
    | HandedOn
    | TemplateStarted
    | TemplateReady
    | TemplateRetired
    | TemplateGone
)
