"""Events: what has happened to the fleet, as the supervisor's loop tells it. Data only. Pure."""

from dataclasses import dataclass

from corehttp.ipc.messages import LeaveReason


@dataclass(frozen=True, slots=True)
class Spawned:
    worker: int
    slot: int
    generation: int


@dataclass(frozen=True, slots=True)
class SpawnFailed:
    """No process could be had; `worker` is the one that was to be forked, if that was under way."""

    slot: int
    generation: int
    jitter: float
    worker: int | None = None


@dataclass(frozen=True, slots=True)
class BecameReady:
    worker: int


@dataclass(frozen=True, slots=True)
class StoppedAccepting:
    """The worker has emptied its accept queue and closed its copy of the sockets."""

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
    worker: int


@dataclass(frozen=True, slots=True)
class Exited:
    """The worker has ended; `code` is its exit code, or minus the signal. `jitter` is a random number in [0, 1)."""

    worker: int
    code: int
    jitter: float


@dataclass(frozen=True, slots=True)
class StopRequested:
    pass


@dataclass(frozen=True, slots=True)
class ForceRequested:
    pass


@dataclass(frozen=True, slots=True)
class Refusing:
    """New connections are refused from now on."""


@dataclass(frozen=True, slots=True)
class SlotClosed:
    slot: int


@dataclass(frozen=True, slots=True)
class SlotOpened:
    slot: int


@dataclass(frozen=True, slots=True)
class SlotFailed:
    """The sockets of a slot could not be had."""

    slot: int
    jitter: float


@dataclass(frozen=True, slots=True)
class Steered:
    """New connections do not reach the sockets of these slots, as far as that can be had."""

    away: frozenset[int]


@dataclass(frozen=True, slots=True)
class Rescued:
    """What waits in these slots is given to the workers of others."""

    slots: frozenset[int]


@dataclass(frozen=True, slots=True)
class ReloadRequested:
    """There is a new configuration, or new code: the next generation is to take over."""


@dataclass(frozen=True, slots=True)
class ReloadAbandoned:
    generation: int


@dataclass(frozen=True, slots=True)
class ReloadFinished:
    generation: int


@dataclass(frozen=True, slots=True)
class UpgradeRequested:
    """A new supervisor is to be started that takes over. Nothing follows for this fleet until it has: see HandedOn."""


@dataclass(frozen=True, slots=True)
class Resized:
    """So many workers are wanted; never fewer than one."""

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
    """We did not run ourselves for so many seconds, so nobody else can be blamed for them."""

    seconds: float


@dataclass(frozen=True, slots=True)
class WasDumped:
    """What the worker was stuck in has been logged."""

    worker: int


@dataclass(frozen=True, slots=True)
class HandedOn:
    """Another supervisor has taken over the sockets: we are to end, and nobody is to notice."""


@dataclass(frozen=True, slots=True)
class TemplateStarted:
    generation: int


@dataclass(frozen=True, slots=True)
class TemplateReady:
    generation: int


@dataclass(frozen=True, slots=True)
class TemplateRetired:
    """The template was told to end."""

    generation: int


@dataclass(frozen=True, slots=True)
class TemplateGone:
    """It has ended, or could not be started."""

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
